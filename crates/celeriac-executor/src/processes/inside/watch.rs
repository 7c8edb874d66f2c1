//! The thread that keeps a child's promises while a task keeps the other one busy.
//!
//! It sends outcomes that would otherwise wait for the end of a long call, ends soft time limits,
//! and passes the parent's notices, announced by SIGUSR1, on to the calls they are for.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use celeriac_core::{Control, Interrupt};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::super::arena::{Arena, CallName, Notice};
use super::Inside;

/// Outcomes wait at least one and at most two of these for company.
const TICK: Duration = Duration::from_millis(1);

/// After so many ticks without anything to send it sleeps until it is woken, which costs more.
const QUIET_TICKS: u32 = 16;

/// A call that hears interrupts.
struct Listener {
    seat: u32,
    control: Arc<Control>,
    soft_at: Option<Instant>,
}

/// What the thread works on, and the bell that wakes it.
pub(super) struct Watch {
    asleep: AtomicBool,
    bell: UnixStream,
    door: UnixStream,
    listeners: Mutex<HashMap<(u32, u32), Listener>>,
}

impl Watch {
    /// From now on SIGUSR1 rings the bell.
    pub(super) fn new() -> io::Result<Self> {
        let (bell, door) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        door.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(signal_hook::consts::SIGUSR1, bell.try_clone()?)?;
        Ok(Self {
            asleep: AtomicBool::new(false),
            bell,
            door,
            listeners: Mutex::default(),
        })
    }

    /// Whether what waits in the outbox would wait until [`arm`](Self::arm) is called.
    pub(super) fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::Acquire)
    }

    /// Sees to it that what waits in the outbox is sent soon.
    pub(super) fn arm(&self) {
        if self.is_asleep() && self.asleep.swap(false, Ordering::AcqRel) {
            self.ring();
        }
    }

    fn ring(&self) {
        // A full pipe rings just as well.
        let _ = (&self.bell).write(&[0]);
    }

    /// Passes interrupts to `control` from now on, the soft limit among them.
    pub(super) fn listen(
        &self,
        arena: &Arena,
        seat: u32,
        call: CallName,
        control: &Arc<Control>,
        soft: Option<Duration>,
    ) {
        let soft_at = soft.and_then(|soft| Instant::now().checked_add(soft));
        let listener = Listener {
            seat,
            control: control.clone(),
            soft_at,
        };
        self.lock().insert((call.serial, call.index), listener);
        // A notice may have come before there was anybody to hear it.
        deliver(arena, seat, call.serial, control);
        if soft_at.is_some() {
            self.ring();
        }
    }

    /// The call has ended.
    pub(super) fn unlisten(&self, call: CallName) {
        self.lock().remove(&(call.serial, call.index));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(u32, u32), Listener>> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs for as long as the process.
    pub(super) fn run(&self, inside: &Inside) {
        let mut quiet = 0;
        loop {
            let pending = inside.outbox.tick();
            quiet = if pending { 0 } else { quiet + 1 };
            let soft = self.interrupt(inside.arena);
            let timeout = match (quiet < QUIET_TICKS, soft) {
                (false, None) => None,
                (true, None) => Some(TICK),
                (false, Some(soft)) => Some(soft),
                (true, Some(soft)) => Some(soft.min(TICK)),
            };
            if timeout.is_none() {
                self.asleep.store(true, Ordering::SeqCst);
                if inside.outbox.is_pending() {
                    self.asleep.store(false, Ordering::SeqCst);
                    continue;
                }
            }
            self.wait(timeout);
            self.asleep.store(false, Ordering::SeqCst);
            if timeout.is_none() {
                quiet = 0;
            }
        }
    }

    /// Waits for the bell.
    fn wait(&self, timeout: Option<Duration>) {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        let mut doors = [PollFd::new(&self.door, PollFlags::IN)];
        // An error is a signal: then there is a reason to look around.
        let rung = rustix::event::poll(&mut doors, timeout.as_ref());
        if rung != Ok(0) {
            let _ = (&self.door).read(&mut [0; 64]);
        }
    }

    /// Interrupts whose time has come; says how long until the next one.
    fn interrupt(&self, arena: &Arena) -> Option<Duration> {
        let now = Instant::now();
        let mut next = None;
        for ((serial, _), listener) in self.lock().iter_mut() {
            deliver(arena, listener.seat, *serial, &listener.control);
            if let Some(soft_at) = listener.soft_at {
                if soft_at <= now {
                    listener.soft_at = None;
                    listener.control.interrupt(Interrupt::SoftTimeLimit);
                } else {
                    let left = soft_at - now;
                    next = Some(next.map_or(left, |next: Duration| next.min(left)));
                }
            }
        }
        next
    }
}

fn deliver(arena: &Arena, seat: u32, serial: u32, control: &Control) {
    match arena.notice(seat, serial) {
        None | Some(Notice::SkipRest) => {}
        Some(Notice::Soft) => control.interrupt(Interrupt::SoftTimeLimit),
        Some(Notice::Cancel) => control.interrupt(Interrupt::Cancelled),
        Some(Notice::Shutdown) => control.interrupt(Interrupt::Shutdown),
    }
}
