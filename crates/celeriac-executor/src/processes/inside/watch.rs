//! The thread that keeps a child's promises while a task keeps the other one busy.
//!
//! It sends outcomes that would otherwise wait for the end of a long call, and passes the parent's
//! notices, announced by SIGUSR1, on to the calls they are for: to their context, and as a signal to
//! the thread that runs them, which may be waiting in a system call.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use celeriac_core::{Control, Interrupt};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::super::arena::{Arena, CallName, Notice};
use super::Inside;
use crate::os::{self, Thread};

/// Outcomes wait at least one and at most two of these for company.
const TICK: Duration = Duration::from_millis(1);

/// After so many ticks without anything to send it sleeps until it is woken, which costs more.
const QUIET_TICKS: u32 = 16;

/// A call, or the calls of a chunk one after another, that hears interrupts.
struct Listener {
    seat: u32,
    lane: usize,
    control: Arc<Control>,
    /// What it was told last.
    told: Option<Interrupt>,
    /// Who runs it just now.
    thread: Option<Thread>,
    /// Whether a signal was sent to that thread.
    signalled: bool,
}

impl Listener {
    /// Tells it what it has not been told yet.
    fn tell(&mut self, arena: &Arena, call: CallName) {
        let interrupt = match arena.board().notice(self.seat, call.serial) {
            Some(Notice::Shutdown) => Interrupt::Shutdown,
            Some(Notice::Cancel) => Interrupt::Cancelled,
            Some(Notice::Soft) => Interrupt::SoftTimeLimit,
            _ if arena.board().is_overdue(self.lane, call) => Interrupt::SoftTimeLimit,
            _ => return,
        };
        if self.told == Some(interrupt) {
            return;
        }
        self.told = Some(interrupt);
        self.control.interrupt(interrupt);
        if let Some(thread) = self.thread {
            self.signalled = true;
            thread.interrupt();
        }
    }
}

/// What the thread works on, and the bell that wakes it.
pub(super) struct Watch {
    asleep: AtomicBool,
    bell: UnixStream,
    door: UnixStream,
    listeners: Mutex<HashMap<CallName, Listener>>,
}

/// As long as it lives, interrupts reach its call.
pub(super) struct Hearing<'a> {
    watch: &'a Watch,
    call: CallName,
}

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        self.watch.lock().remove(&self.call);
    }
}

/// As long as it lives, interrupts end the system calls of its thread, and never after.
pub(super) struct Turn<'a> {
    watch: &'a Watch,
    call: CallName,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let signalled = self
            .watch
            .lock()
            .get_mut(&self.call)
            .is_none_or(|listener| {
                listener.thread = None;
                std::mem::take(&mut listener.signalled)
            });
        if signalled {
            os::take_signals();
        }
    }
}

impl Watch {
    /// From now on SIGUSR1 rings the bell.
    pub(super) fn new() -> io::Result<Self> {
        let (bell, door) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        door.set_nonblocking(true)?;
        os::on_signal(OwnedFd::from(bell.try_clone()?))?;
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

    /// Passes interrupts to `control` until the hearing is dropped.
    pub(super) fn listen(
        &self,
        arena: &Arena,
        seat: u32,
        lane: usize,
        call: CallName,
        control: &Arc<Control>,
    ) -> Hearing<'_> {
        let mut listener = Listener {
            seat,
            lane,
            control: control.clone(),
            told: None,
            thread: None,
            signalled: false,
        };
        let mut listeners = self.lock();
        // A notice may have come before there was anybody to hear it.
        listener.tell(arena, call);
        listeners.insert(call, listener);
        Hearing { watch: self, call }
    }

    /// This thread runs `call` until the turn is dropped.
    pub(super) fn turn(&self, call: CallName) -> Turn<'_> {
        if let Some(listener) = self.lock().get_mut(&call) {
            listener.thread = Some(Thread::current());
        }
        Turn { watch: self, call }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CallName, Listener>> {
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
            if os::has_rung() {
                for (&call, listener) in self.lock().iter_mut() {
                    listener.tell(inside.arena, call);
                }
            }
            let timeout = (quiet < QUIET_TICKS).then_some(TICK);
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
}
