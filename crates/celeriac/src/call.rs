//! One call under way on a pool, over all its attempts.
//!
//! # Invariants
//!
//! - Each attempt has a reply and a control of its own, so what an earlier attempt still says is
//!   never taken for the outcome of a later one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use celeriac_core::chunk::ChunkBuilder;
use celeriac_core::task::{call_typed, push_body};
use celeriac_core::{
    Chunk, ContentType, Control, ErrorKind, Interrupt, Invocation, Limits, Outcome, OutcomeChunk,
    PayloadError, Reply, Task, TaskError, TaskId, Work,
};
use celeriac_executor::drive::reactor;

use crate::decode::decode_shared;
use crate::launcher::Launcher;
use crate::slot::Slot;

/// One call: where its outcome appears, and what it takes to run it again.
pub(crate) struct Call<T: Task> {
    pub(crate) id: TaskId,
    pub(crate) slot: Slot<T::Output>,
    /// The sender's end; attempts are linked to it.
    pub(crate) control: Arc<Control>,
    started: AtomicBool,
    limits: Limits,
    /// The arguments for attempts to come, kept only if there may be any.
    again: Option<(Arc<Launcher>, Chunk)>,
}

/// Encodes the arguments of one call, and refuses them above the limit.
pub(crate) fn encode<T: Task>(
    content_type: ContentType,
    args: &T::Args,
    limit_bytes: usize,
) -> Result<Chunk, PayloadError> {
    let mut chunk = ChunkBuilder::new(content_type);
    push_body(&mut chunk, args)?;
    let size_bytes = chunk.size_bytes();
    if size_bytes > limit_bytes {
        return Err(PayloadError::TooLarge {
            size_bytes,
            limit_bytes,
        });
    }
    Ok(chunk.finish())
}

impl<T: Task> Call<T> {
    /// Starts a call on a pool.
    pub(crate) fn launch(
        launcher: &Arc<Launcher>,
        id: TaskId,
        args: T::Args,
        limits: Limits,
        delay: Duration,
        limit_bytes: usize,
    ) -> Result<Arc<Self>, PayloadError> {
        let encoding = launcher.executor.content_type();
        let retries = T::DEFINITION.options.retry.retries > 0;
        let new = |again| {
            Arc::new(Self {
                id,
                slot: Slot::new(),
                control: Control::new(),
                started: AtomicBool::new(false),
                limits,
                again,
            })
        };
        if encoding.is_none() && !retries {
            let call = new(None);
            let slot = call.clone();
            let work = Work::Local(Box::new(move |context| {
                call_typed::<T>(args, context).map(move |outcome| {
                    slot.slot.fill(outcome);
                })
            }));
            call.attempt(launcher, 1, work, delay);
            return Ok(call);
        }
        let chunk = encode::<T>(encoding.unwrap_or(ContentType::Msgpack), &args, limit_bytes)?;
        let call = new(retries.then(|| (launcher.clone(), chunk.clone())));
        call.attempt(launcher, 1, Work::Encoded(chunk), delay);
        Ok(call)
    }

    /// A call that somebody else runs: its outcome is brought by a [`Reply`] made of it.
    pub(crate) fn elsewhere(id: TaskId) -> Arc<Self> {
        Arc::new(Self {
            id,
            slot: Slot::new(),
            control: Control::new(),
            started: AtomicBool::new(false),
            limits: Limits::NONE,
            again: None,
        })
    }

    /// The reply through which the outcome of attempt `number` comes.
    pub(crate) fn reply(self: &Arc<Self>, number: u32) -> Arc<dyn Reply> {
        Arc::new(Attempt {
            call: self.clone(),
            number,
            answered: AtomicBool::new(false),
        })
    }

    /// Asks the call to stop; one that has not started is over at once.
    pub(crate) fn cancel(&self) {
        self.control.interrupt(Interrupt::Cancelled);
        if !self.started.load(Ordering::Acquire) {
            self.slot.fill(Err(TaskError::cancelled()));
        }
    }

    /// Ends the call if it has not started after `limit`.
    pub(crate) fn expire_after(self: &Arc<Self>, limit: Duration) {
        let call = self.clone();
        reactor().spawn(async move {
            tokio::time::sleep(limit).await;
            if !call.started.load(Ordering::Acquire) {
                let expired = TaskError::new(ErrorKind::Expired, "it expired before it started");
                call.slot.fill(Err(expired));
                call.control.interrupt(Interrupt::Cancelled);
            }
        });
    }

    fn attempt(
        self: &Arc<Self>,
        launcher: &Arc<Launcher>,
        number: u32,
        work: Work,
        delay: Duration,
    ) {
        let control = if self.again.is_some() {
            self.link()
        } else {
            self.control.clone()
        };
        let invocation = Invocation {
            id: self.id.clone(),
            task: T::DEFINITION,
            attempt: number,
            limits: self.limits,
            control,
            work,
            reply: self.reply(number),
        };
        launcher.launch(invocation, delay);
    }

    /// A control of one attempt: it hears what the sender says, and the sender hears its progress.
    fn link(&self) -> Arc<Control> {
        let attempt = Control::new();
        let heard = attempt.clone();
        self.control
            .on_interrupt(move |interrupt| heard.interrupt(interrupt));
        let sender = Mutex::new(Arc::downgrade(&self.control));
        attempt.on_progress(move |progress| {
            let sender = sender
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .upgrade();
            if let Some(sender) = sender {
                sender.report(progress.clone());
            }
        });
        attempt
    }

    /// Takes the outcome of attempt `number`: tries again or ends the call.
    fn settle(self: &Arc<Self>, number: u32, outcome: Outcome<T::Output>) {
        if let Err(error) = &outcome
            && let Some((launcher, chunk)) = &self.again
            && self.control.interrupted().is_none()
            && let Some(delay) =
                T::DEFINITION
                    .options
                    .retry
                    .next_attempt(number, error, random_fraction())
        {
            tracing::debug!(task.name = T::DEFINITION.name, task.id = %self.id, attempt = number, retry_in = ?delay, "task failed, will retry");
            self.started.store(false, Ordering::Release);
            return self.attempt(launcher, number + 1, Work::Encoded(chunk.clone()), delay);
        }
        self.slot.fill(outcome);
    }
}

/// The reply of one attempt of one call.
struct Attempt<T: Task> {
    call: Arc<Call<T>>,
    number: u32,
    answered: AtomicBool,
}

impl<T: Task> Attempt<T> {
    fn answer(&self, outcome: Outcome<T::Output>) {
        if !self.answered.swap(true, Ordering::AcqRel) {
            self.call.settle(self.number, outcome);
        }
    }
}

impl<T: Task> Reply for Attempt<T> {
    fn started(&self) {
        self.call.started.store(true, Ordering::Release);
    }

    fn outcomes(&self, outcomes: OutcomeChunk) {
        if let Some(outcome) = outcomes.iter().next() {
            self.answer(outcome.and_then(|value| decode_shared::<T>(&outcomes, value)));
        }
    }

    fn failed(&self, error: TaskError) {
        self.answer(Err(error));
    }
}

/// A random number in 0..1, for jitter.
pub(crate) fn random_fraction() -> f64 {
    use std::hash::{BuildHasher as _, RandomState};
    // A fresh hasher is keyed at random; its top 53 bits fill a mantissa.
    let bits = RandomState::new().hash_one(0) >> 11;
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit a mantissa exactly")]
    let fraction = bits as f64 / (1_u64 << 53) as f64;
    fraction
}
