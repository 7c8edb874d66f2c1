//! The port of what makes spans of runs, for traces that go through several programs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{Delivery, Message, Scope};

use crate::observer::Reason;

/// Begins a span for each call that begins to run.
pub trait Tracer: fmt::Debug + Send + Sync {
    /// This delivery begins to run now. Called where that is known first, on any thread: it must not block.
    fn begin(&self, delivery: &Delivery) -> Arc<dyn Span>;
}

/// The span of one run. It is dropped without an end if another worker has the delivery.
pub trait Span: Scope {
    /// Marks a message that follows from this run as its child.
    fn mark(&self, message: &mut Message);

    /// The run has ended, so long after it began, if that is known. Said once, by the dispatcher: it must
    /// not block.
    fn end(&self, end: SpanEnd<'_>, after: Option<Duration>);
}

/// How a run ended, as a trace tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpanEnd<'a> {
    /// It returned.
    Succeeded,
    /// It failed for good, or its task does not want the message.
    Failed(Reason<'a>),
    /// It failed, and was sent again.
    Retried(Reason<'a>),
    /// Its delivery was given back.
    GivenBack(Reason<'a>),
}
