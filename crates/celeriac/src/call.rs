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
    Payload, PayloadError, Reply, Task, TaskDefinition, TaskError, TaskId, Work,
};
use celeriac_executor::drive::reactor;
use serde::de::DeserializeOwned;

use crate::canvas::take_over;
use crate::decode::decode_shared;
use crate::launcher::Launcher;
use crate::slot::Slot;

/// Reads a value back from the outcomes it came with.
type Decode<V> = fn(&OutcomeChunk, &[u8]) -> Outcome<V>;

/// One call that returns a `V`: where its outcome appears, and what it takes to run it again.
pub(crate) struct Call<V> {
    pub(crate) id: TaskId,
    pub(crate) slot: Slot<V>,
    /// The sender's end; attempts are linked to it.
    pub(crate) control: Arc<Control>,
    started: AtomicBool,
    limits: Limits,
    decode: Decode<V>,
    /// What attempts to come need, kept only if there may be any.
    again: Option<Again>,
    /// Where other calls would run in its place, kept only if its task could say so.
    home: Option<Home>,
}

/// Where a call runs.
#[derive(Clone)]
pub(crate) struct Home {
    pub(crate) launcher: Arc<Launcher>,
    /// How many calls it replaces one inside the other.
    pub(crate) nesting: u32,
}

impl Home {
    fn of(launcher: &Arc<Launcher>) -> Self {
        Self {
            launcher: launcher.clone(),
            nesting: 0,
        }
    }
}

/// What another attempt of a call needs.
struct Again {
    launcher: Arc<Launcher>,
    task: &'static TaskDefinition,
    arguments: Chunk,
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

impl<V: DeserializeOwned + Send + 'static> Call<V> {
    /// Starts a call on a pool.
    pub(crate) fn launch<T: Task<Output = V>>(
        launcher: &Arc<Launcher>,
        id: TaskId,
        args: T::Args,
        limits: Limits,
        delay: Duration,
        limit_bytes: usize,
    ) -> Result<Arc<Self>, PayloadError> {
        let encoding = launcher.executor.content_type();
        if encoding.is_none() && T::DEFINITION.options.retry.retries == 0 {
            let home = T::DEFINITION.wants_context.then(|| Home::of(launcher));
            let call = Self::new(id, limits, decode_shared::<V>, None, home);
            let ended = call.clone();
            let work = Work::Local(Box::new(move |context| {
                call_typed::<T>(args, context).map(move |outcome| ended.settle(1, outcome))
            }));
            call.attempt(launcher, T::DEFINITION, 1, work, delay);
            return Ok(call);
        }
        let chunk = encode::<T>(encoding.unwrap_or(ContentType::Msgpack), &args, limit_bytes)?;
        Ok(Self::launch_encoded(
            &Home::of(launcher),
            T::DEFINITION,
            id,
            chunk,
            limits,
            delay,
            decode_shared::<V>,
        ))
    }

    /// A call that somebody else runs: its outcome is brought by a [`Reply`] made of it.
    pub(crate) fn elsewhere(id: TaskId) -> Arc<Self> {
        Self::new(id, Limits::NONE, decode_shared::<V>, None, None)
    }
}

impl Call<Payload> {
    /// Starts a call on a pool whose value stays encoded.
    pub(crate) fn launch_raw(
        home: &Home,
        task: &'static TaskDefinition,
        id: TaskId,
        body: &Payload,
        limits: Limits,
        delay: Duration,
    ) -> Arc<Self> {
        let chunk = Chunk::single(body);
        Self::launch_encoded(home, task, id, chunk, limits, delay, |outcomes, value| {
            Ok(Payload {
                content_type: outcomes.content_type(),
                bytes: outcomes.bytes().slice_ref(value),
            })
        })
    }
}

impl<V: Send + 'static> Call<V> {
    fn new(
        id: TaskId,
        limits: Limits,
        decode: Decode<V>,
        again: Option<Again>,
        home: Option<Home>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            slot: Slot::new(),
            control: Control::new(),
            started: AtomicBool::new(false),
            limits,
            decode,
            again,
            home,
        })
    }

    fn launch_encoded(
        home: &Home,
        task: &'static TaskDefinition,
        id: TaskId,
        chunk: Chunk,
        limits: Limits,
        delay: Duration,
        decode: Decode<V>,
    ) -> Arc<Self> {
        let launcher = &home.launcher;
        let again = (task.options.retry.retries > 0).then(|| Again {
            launcher: launcher.clone(),
            task,
            arguments: chunk.clone(),
        });
        // A call without a context has no say in what becomes of it.
        let own = task.wants_context.then(|| home.clone());
        let call = Self::new(id, limits, decode, again, own);
        call.attempt(launcher, task, 1, Work::Encoded(chunk), delay);
        call
    }

    /// The reply through which the outcome of attempt `number` comes.
    pub(crate) fn reply(self: &Arc<Self>, number: u32) -> Arc<dyn Reply> {
        Arc::new(Attempt {
            call: self.clone(),
            number,
            answered: AtomicBool::new(false),
        })
    }

    /// Lets a cancel be answered by what runs the call.
    pub(crate) fn start(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// Whether anything was heard of it from where it runs.
    pub(crate) fn has_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
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
        task: &'static TaskDefinition,
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
            task,
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
    fn settle(self: &Arc<Self>, number: u32, outcome: Outcome<V>) {
        if let Err(error) = &outcome
            && let Some(again) = &self.again
            && self.control.interrupted().is_none()
            && let Some(delay) =
                again
                    .task
                    .options
                    .retry
                    .next_attempt(number, error, random_fraction())
        {
            tracing::debug!(task.name = again.task.name, task.id = %self.id, attempt = number, retry_in = ?delay, "task failed, will retry");
            self.started.store(false, Ordering::Release);
            let work = Work::Encoded(again.arguments.clone());
            return self.attempt(&again.launcher, again.task, number + 1, work, delay);
        }
        match (outcome, &self.home) {
            (Err(error), Some(home)) if error.replacement().is_some() => {
                self.replace(home, &error);
            }
            (outcome, _) => {
                self.slot.fill(outcome);
            }
        }
    }

    /// Has other calls run in the place of this one, and takes their outcome for its own.
    fn replace(self: &Arc<Self>, home: &Home, error: &TaskError) {
        let Some(mut replacement) = error.replacement().cloned() else {
            return;
        };
        replacement.chain.last_mut().id = self.id.clone();
        let call = self.clone();
        let nesting = home.nesting + 1;
        let control = self.control.clone();
        take_over(
            &home.launcher,
            replacement,
            nesting,
            control,
            move |outcome| {
                let outcome = outcome.and_then(|value| {
                    let mut outcomes = OutcomeChunk::builder(value.content_type, 0);
                    outcomes.push(&Ok(value.bytes.to_vec()));
                    let outcomes = outcomes.finish(Duration::ZERO);
                    let value = outcomes.iter().next().expect("it was just put there")?;
                    (call.decode)(&outcomes, value)
                });
                call.slot.fill(outcome);
            },
        );
    }
}

/// The reply of one attempt of one call.
struct Attempt<V> {
    call: Arc<Call<V>>,
    number: u32,
    answered: AtomicBool,
}

impl<V: Send + 'static> Attempt<V> {
    fn answer(&self, outcome: Outcome<V>) {
        if !self.answered.swap(true, Ordering::AcqRel) {
            self.call.settle(self.number, outcome);
        }
    }
}

impl<V: Send + 'static> Reply for Attempt<V> {
    fn started(&self) {
        self.call.start();
    }

    fn outcomes(&self, outcomes: OutcomeChunk) {
        if let Some(outcome) = outcomes.iter().next() {
            self.answer(outcome.and_then(|value| (self.call.decode)(&outcomes, value)));
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
