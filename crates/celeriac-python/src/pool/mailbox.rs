//! What others leave for the reactor.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use celeriac_core::executor::Bounds;
use celeriac_core::outcome::TaskError;
use celeriac_core::{Interrupt, Invocation, ShutdownMode, TaskId};
use rustix::event::EventfdFlags;
use tokio::sync::oneshot;

use super::PoolSettings;
use super::desk::Ask;

/// The way to a pool's thread, from any other. Nothing here blocks for longer than a push.
pub(super) struct Mailbox {
    inside: Mutex<Letters>,
    asleep: AtomicBool,
    bell: OwnedFd,
}

/// What has been left.
#[derive(Default)]
pub(super) struct Letters {
    pub(super) submitted: VecDeque<Invocation>,
    pub(super) orders: VecDeque<Letter>,
    /// Nothing is taken any more.
    closed: bool,
}

/// What the pool's thread is asked.
pub(super) enum Letter {
    Start(Box<PoolSettings>),
    Interrupt(u64, Interrupt),
    Terminate(TaskId, i32),
    Ask(Ask),
    Resize(usize),
    /// What do all of them do now?
    Stacks(oneshot::Sender<String>),
    Autoscale(Bounds),
    Renew,
    Shutdown(ShutdownMode),
    /// Ends the service and the fork server too, in peace.
    Close,
    /// Ends everything at once.
    Kill,
}

impl Mailbox {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            inside: Mutex::default(),
            asleep: AtomicBool::new(false),
            bell: rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Letters> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn submit(&self, invocation: Invocation) {
        let mut inside = self.lock();
        // Under the same lock as the reactor's last look, so that none is left lying.
        if inside.closed {
            drop(inside);
            invocation.reply.failed(TaskError::shutdown());
            return;
        }
        inside.submitted.push_back(invocation);
        drop(inside);
        self.ring();
    }

    pub(super) fn leave(&self, letter: Letter) {
        let mut inside = self.lock();
        if inside.closed {
            drop(inside);
            if let Letter::Ask(ask) = letter {
                ask.refuse();
            }
            return;
        }
        inside.orders.push_back(letter);
        drop(inside);
        self.ring();
    }

    fn ring(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            // It can only fail if the counter is full, and then the reactor wakes too.
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }

    /// What has come since the last look; into `letters`, which must be empty.
    pub(super) fn take(&self, letters: &mut Letters) {
        let mut inside = self.lock();
        std::mem::swap(&mut inside.submitted, &mut letters.submitted);
        std::mem::swap(&mut inside.orders, &mut letters.orders);
    }

    /// Announces that the reactor is about to sleep; false if there is something to do first.
    pub(super) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        let inside = self.lock();
        if inside.submitted.is_empty() && inside.orders.is_empty() {
            return true;
        }
        self.asleep.store(false, Ordering::SeqCst);
        false
    }

    /// The reactor is awake.
    pub(super) fn wake_up(&self, rung: bool) {
        self.asleep.store(false, Ordering::SeqCst);
        if rung {
            let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        }
    }

    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// The reactor's last act: what comes from now on is refused. Returns what came before.
    pub(super) fn close(&self) -> Letters {
        let closed = Letters {
            closed: true,
            ..Letters::default()
        };
        std::mem::replace(&mut *self.lock(), closed)
    }
}
