//! What others leave for the reactor.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use celeriac_core::outcome::TaskError;
use celeriac_core::{Interrupt, Invocation, ShutdownMode};
use rustix::event::EventfdFlags;
use tokio::sync::watch;

/// The way into a pool, from any thread. Nothing here blocks for longer than a push.
pub(super) struct Mailbox {
    inside: Mutex<Letters>,
    asleep: AtomicBool,
    bell: OwnedFd,
    gone: watch::Sender<bool>,
}

/// What has been left.
#[derive(Default)]
pub(super) struct Letters {
    pub(super) submitted: VecDeque<Invocation>,
    /// Interrupts, by the number of the job they are for.
    pub(super) interrupts: Vec<(u64, Interrupt)>,
    pub(super) shutdown: Option<ShutdownMode>,
}

impl Letters {
    fn is_empty(&self) -> bool {
        self.submitted.is_empty() && self.interrupts.is_empty() && self.shutdown.is_none()
    }
}

impl Mailbox {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            inside: Mutex::default(),
            asleep: AtomicBool::new(false),
            bell: rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            gone: watch::Sender::new(false),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Letters> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn submit(&self, invocation: Invocation) {
        let mut letters = self.lock();
        // Under the same lock as the reactor's last look, so that none is left lying.
        if *self.gone.borrow() {
            drop(letters);
            invocation.reply.failed(TaskError::shutdown());
            return;
        }
        letters.submitted.push_back(invocation);
        drop(letters);
        self.ring();
    }

    pub(super) fn interrupt(&self, job: u64, interrupt: Interrupt) {
        self.lock().interrupts.push((job, interrupt));
        self.ring();
    }

    pub(super) fn shut_down(&self, mode: ShutdownMode) {
        self.lock().shutdown = Some(mode);
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
        std::mem::swap(&mut *self.lock(), letters);
    }

    /// Announces that the reactor is about to sleep; false if there is something to do first.
    pub(super) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        if self.lock().is_empty() {
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
    pub(super) fn close(&self) -> VecDeque<Invocation> {
        let mut letters = self.lock();
        self.gone.send_replace(true);
        std::mem::take(&mut letters.submitted)
    }

    /// Resolves when the reactor has ended.
    pub(super) async fn gone(&self) {
        let mut gone = self.gone.subscribe();
        let _ = gone.wait_for(|&gone| gone).await;
    }
}
