//! Calls that the pool has accepted and not answered yet.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use celeriac_core::outcome::TaskError;
use celeriac_core::{Delivery, Interrupt, Invocation, Limits, Reply, Work};

use super::mailbox::{Letter, Mailbox};

/// A call. Those that wait stand in the order of their numbers.
pub(super) struct Call {
    /// By submission, counted from 1.
    pub(super) number: u64,
    /// What its task is known by in this process.
    pub(super) task: usize,
    pub(super) delivery: Arc<Delivery>,
    pub(super) limits: Limits,
    reply: Arc<dyn Reply>,
    /// How many children died that had read it and not begun it.
    pub(super) deaths: u8,
}

impl Call {
    /// Accepts a message, and has its interrupts brought to `mailbox`; any other work is refused.
    pub(super) fn accept(
        invocation: Invocation,
        number: u64,
        mailbox: &Arc<Mailbox>,
    ) -> Option<Self> {
        let Work::Message(delivery) = invocation.work else {
            let error = TaskError::lost("the Python pool runs messages only");
            guarded(|| invocation.reply.failed(error));
            return None;
        };
        if let Some(error) = stopped(invocation.control.interrupted()) {
            guarded(|| invocation.reply.failed(error));
            return None;
        }
        let mailbox = mailbox.clone();
        invocation.control.on_interrupt(move |interrupt| {
            mailbox.leave(Letter::Interrupt(number, interrupt));
        });
        Some(Self {
            number,
            task: std::ptr::from_ref(invocation.task).addr(),
            delivery,
            limits: invocation.limits,
            reply: invocation.reply,
            deaths: 0,
        })
    }

    /// Says something to whoever waits.
    pub(super) fn tell(&self, what: impl FnOnce(&dyn Reply)) {
        guarded(|| what(&*self.reply));
    }

    pub(super) fn fail(&self, error: TaskError) {
        self.tell(|reply| reply.failed(error));
    }
}

/// The error of a call that should stop, if the reason leaves no choice.
pub(super) fn stopped(interrupt: Option<Interrupt>) -> Option<TaskError> {
    match interrupt? {
        Interrupt::SoftTimeLimit => None,
        Interrupt::Shutdown => Some(TaskError::shutdown()),
        _ => Some(TaskError::cancelled()),
    }
}

/// A reply is foreign code on the reactor's thread: should it panic, that is its own loss.
pub(super) fn guarded(reply: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(reply)).is_err() {
        tracing::error!("a reply to the Python pool panicked");
    }
}
