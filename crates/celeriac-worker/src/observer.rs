//! What a worker tells whoever watches it in the same process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{Conclusion, ErrorKind, TaskError, TaskId, Told};

/// Which execution something is said of.
#[derive(Debug, Clone, Copy)]
pub struct TaskRef<'a> {
    /// The call.
    pub id: &'a TaskId,
    /// The name of its task, as it was sent.
    pub task: &'a str,
    /// Which attempt it is, counted from 1.
    pub attempt: u32,
}

/// How a call came to its end in a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finish {
    /// It returned.
    Succeeded,
    /// It failed for good.
    Failed(ErrorKind),
    /// It was given back for another worker to run.
    GivenBack,
    /// Its task did not want it, and it is dead.
    Rejected,
}

/// Why a call failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reason<'a> {
    /// The type of the exception or error, if it has one, or else a word of ours; empty if nothing is known.
    pub kind: &'a str,
    /// What it says.
    pub message: &'a str,
    /// Where it was raised.
    pub traceback: Option<&'a str>,
}

impl<'a> From<&'a TaskError> for Reason<'a> {
    fn from(error: &'a TaskError) -> Self {
        let raised = error.as_raised();
        Self {
            kind: match error.type_name() {
                "" => error.kind().as_str(),
                name => name,
            },
            message: error.message(),
            traceback: raised.and_then(|raised| raised.traceback.as_deref()),
        }
    }
}

impl<'a> From<&'a Told> for Reason<'a> {
    /// The text is the `repr` of an exception.
    fn from(told: &'a Told) -> Self {
        let text = told.text.as_deref().unwrap_or_default();
        Self {
            kind: text.split_once('(').map_or(text, |(name, _)| name),
            message: text,
            traceback: told.traceback.as_deref(),
        }
    }
}

/// Hears of each step of each call, for progress displays and metrics.
///
/// Methods are called by the dispatcher, between two deliveries: they must not block.
pub trait Observer: fmt::Debug + Send + Sync {
    /// It was fetched.
    fn received(&self, _call: TaskRef<'_>) {}

    /// It is about to run. Said only by executors that know, and maybe late.
    fn started(&self, _call: TaskRef<'_>) {}

    /// The runtime that ran it, or was asked to tell its end, said this of it. Said right before
    /// [`retried`](Self::retried) or [`finished`](Self::finished), which know less.
    fn concluded(&self, _call: TaskRef<'_>, _conclusion: &Conclusion) {}

    /// It failed and will be run again.
    fn retried(&self, _call: TaskRef<'_>, _why: ErrorKind) {}

    /// It failed for good, for this reason. Said right before [`finished`](Self::finished), and not of a
    /// call that was revoked or had expired.
    fn failed(&self, _call: TaskRef<'_>, _why: Reason<'_>) {}

    /// It has come to its end here. `runtime` is how long it ran, if it did.
    fn finished(&self, _call: TaskRef<'_>, _how: Finish, _runtime: Option<Duration>) {}
}

/// Two that hear the same.
#[derive(Debug)]
pub(crate) struct Both(pub(crate) Arc<dyn Observer>, pub(crate) Arc<dyn Observer>);

impl Both {
    fn each(&self, tell: impl Fn(&dyn Observer)) {
        tell(&*self.0);
        tell(&*self.1);
    }
}

impl Observer for Both {
    fn received(&self, call: TaskRef<'_>) {
        self.each(|observer| observer.received(call));
    }

    fn started(&self, call: TaskRef<'_>) {
        self.each(|observer| observer.started(call));
    }

    fn concluded(&self, call: TaskRef<'_>, conclusion: &Conclusion) {
        self.each(|observer| observer.concluded(call, conclusion));
    }

    fn retried(&self, call: TaskRef<'_>, why: ErrorKind) {
        self.each(|observer| observer.retried(call, why));
    }

    fn failed(&self, call: TaskRef<'_>, why: Reason<'_>) {
        self.each(|observer| observer.failed(call, why));
    }

    fn finished(&self, call: TaskRef<'_>, how: Finish, runtime: Option<Duration>) {
        self.each(|observer| observer.finished(call, how, runtime));
    }
}
