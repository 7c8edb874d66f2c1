//! Tells when a process ends that somebody here waits for.
//!
//! One thread for all of this process, which sleeps until one of them ends. It is started when the first
//! thread has to wait.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::member::Member;
use super::segment::Segment;

/// Somebody waits for a process; until it is dropped.
#[derive(Debug)]
pub(super) struct Watch(u64);

#[derive(Debug, Default)]
struct Watched {
    last: u64,
    waits: HashMap<u64, Wait>,
}

#[derive(Debug, Clone)]
struct Wait {
    process: Arc<OwnedFd>,
    segment: Weak<Segment>,
}

/// What the thread is told by.
static BELL: LazyLock<Option<OwnedFd>> = LazyLock::new(|| {
    let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
    let thread = std::thread::Builder::new().name("celeriac-watch".to_owned());
    thread.spawn(run).ok()?;
    Some(bell)
});

fn watched() -> MutexGuard<'static, Watched> {
    static WATCHED: LazyLock<Mutex<Watched>> = LazyLock::new(Mutex::default);
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ring() {
    if let Some(bell) = &*BELL {
        // A bell that has rung as often as can be counted rings.
        let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
    }
}

impl Watch {
    /// Has `segment` swept when `member` ends, unless this is dropped before. `None` if it has ended
    /// already, or cannot be watched: whoever waits has to look by itself then.
    pub(super) fn over(member: Member, segment: &Arc<Segment>) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(member.pid()).ok()?)?;
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // It could have been given to another process before it was opened.
        if !member.lives() {
            return None;
        }
        let mut watched = watched();
        watched.last += 1;
        let number = watched.last;
        let wait = Wait {
            process: Arc::new(process),
            segment: Arc::downgrade(segment),
        };
        watched.waits.insert(number, wait);
        drop(watched);
        ring();
        Some(Self(number))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        watched().waits.remove(&self.0);
    }
}

/// Sleeps until a process ends or the bell rings, for as long as this process lives.
fn run() {
    loop {
        let waits: Vec<_> = {
            let watched = watched();
            watched
                .waits
                .iter()
                .map(|(number, wait)| (*number, wait.clone()))
                .collect()
        };
        let Some(bell) = &*BELL else {
            return;
        };
        let mut sources: Vec<_> = waits
            .iter()
            .map(|(_, wait)| PollFd::new(&*wait.process, PollFlags::IN))
            .collect();
        sources.push(PollFd::new(bell, PollFlags::IN));
        if poll(&mut sources, None).is_err() {
            continue;
        }
        let ended: Vec<_> = waits
            .iter()
            .zip(&sources)
            .filter(|(_, source)| !source.revents().is_empty())
            .map(|((number, wait), _)| (*number, wait.segment.clone()))
            .collect();
        let mut count = [0; 8];
        let _ = rustix::io::read(bell, &mut count);
        for (number, segment) in ended {
            watched().waits.remove(&number);
            if let Some(segment) = segment.upgrade() {
                segment.sweep();
            }
        }
    }
}
