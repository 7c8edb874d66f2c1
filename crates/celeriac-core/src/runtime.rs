//! The port of an executor whose tasks belong to another program's runtime, such as Celery in Python.
//!
//! Such a runtime reads a message whole, and what follows from a call (its result, callbacks, chain, retry) it
//! decides and does itself, in its own words. The worker is left with what only it can do: to store the
//! results in batches, and to settle the delivery.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::Delivery;
use crate::executor::{Executor, Reply};
use crate::id::TaskId;
use crate::outcome::TaskError;
use crate::payload::Payload;

/// An executor that takes [`Work::Message`](crate::Work::Message), and answers with [`Conclusion`]s.
pub trait Runtime: Executor {
    /// Has the end of a call told and stored that its task did not come to by itself: it was revoked,
    /// has expired, took too long, lost its child, or nobody registered its task.
    ///
    /// If `comes_again`, the delivery is given back afterwards; one that lost its child has not failed
    /// then.
    ///
    /// The answer is a [`Conclusion`], in which the end of the call is [`End::Failed`]; how the
    /// delivery is settled is decided by who asks. It is another end if the call had succeeded before
    /// its child was lost, or was sent again for that: then it is acknowledged.
    fn conclude(
        &self,
        delivery: Arc<Delivery>,
        error: TaskError,
        comes_again: bool,
        reply: Arc<dyn Reply>,
    );

    /// Ends a call: one that waits is not begun, and what runs one gets `signal` by its number.
    fn terminate(&self, id: &TaskId, signal: i32);

    /// Tells that `delivery` was received and admitted.
    fn received(&self, delivery: &Arc<Delivery>);
}

/// What a runtime says of a call that it has run.
#[derive(Debug, Clone, PartialEq)]
pub struct Conclusion {
    /// How it ended.
    pub end: End,
    /// The results to store before the delivery is settled, in their order.
    pub results: Vec<EncodedResult>,
    /// How long it ran, if it did.
    pub busy: Option<Duration>,
    /// What is said of it in events and logs.
    pub told: Told,
}

/// How a call of a runtime ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It returned.
    Succeeded,
    /// It failed for good.
    Failed,
    /// It was sent again, to run later.
    Retried,
    /// It ended without a word: its task said so, or put another call in its place.
    Ignored,
    /// Its task does not want the message.
    Rejected {
        /// Whether it is delivered again; otherwise it is dead.
        requeue: bool,
    },
}

/// What is said of a call in events and logs, as its runtime words it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    /// The result or the exception, in short.
    pub text: Option<String>,
    /// Where an exception was raised.
    pub traceback: Option<String>,
}

/// A result as it is stored to the letter, by a runtime that knows how its readers want it.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedResult {
    /// The call.
    pub id: TaskId,
    /// Its state, as Celery has it: `SUCCESS`.
    pub state: String,
    /// What is stored.
    pub payload: Payload,
    /// How long it is kept; for ever if `None`.
    pub keep: Option<Duration>,
    /// Where its sender waits for it, on a broker that sends results as messages.
    pub reply_to: Option<String>,
    /// What its sender knows the answer by; the id if `None`.
    pub correlation_id: Option<String>,
}

impl EncodedResult {
    /// Whether no other state can follow.
    pub fn is_final(&self) -> bool {
        matches!(&*self.state, "SUCCESS" | "FAILURE" | "REVOKED")
    }
}
