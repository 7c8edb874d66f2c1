//! One call not yet made: a task, its arguments, and how to send it.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::id::TaskId;
use crate::task::Task;

/// How one call is sent; what is not set is the task's own option.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CallOptions {
    /// The id to send it under, instead of a new one.
    pub id: Option<TaskId>,
    /// The queue to send it to.
    pub queue: Option<String>,
    /// How long to wait before it may start.
    pub countdown: Option<Duration>,
    /// When it may start; wins over the countdown.
    pub eta: Option<Timestamp>,
    /// How long from sending it is worth starting.
    pub expires: Option<Duration>,
    /// 0 to 9, larger first.
    pub priority: Option<u8>,
    /// The hard time limit of each attempt.
    pub time_limit: Option<Duration>,
    /// The soft time limit of each attempt.
    pub soft_time_limit: Option<Duration>,
    /// Whether to leave no result, against the task's own option.
    pub ignore_result: Option<bool>,
}

/// One typed call not yet made.
///
/// ```
/// # use celeriac_core::{Signature, Task};
/// # use std::time::Duration;
/// # fn example<T: Task>(charge: Signature<T>) -> Signature<T> {
/// charge.countdown(Duration::from_secs(5)).queue("money").priority(9)
/// # }
/// ```
pub struct Signature<T: Task> {
    /// The arguments.
    pub args: T::Args,
    /// How it is sent.
    pub options: CallOptions,
}

impl<T: Task> Signature<T> {
    /// A call of `T` with `args`, sent as the task's own options say.
    pub fn new(args: T::Args) -> Self {
        Self {
            args,
            options: CallOptions::default(),
        }
    }

    /// Sends it under this id.
    #[must_use]
    pub fn id(mut self, id: impl Into<TaskId>) -> Self {
        self.options.id = Some(id.into());
        self
    }

    /// Sends it to this queue.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.options.queue = Some(queue.into());
        self
    }

    /// Lets it start no sooner than `delay` from sending.
    #[must_use]
    pub fn countdown(mut self, delay: Duration) -> Self {
        self.options.countdown = Some(delay);
        self
    }

    /// Lets it start no sooner than `eta`.
    #[must_use]
    pub fn eta(mut self, eta: Timestamp) -> Self {
        self.options.eta = Some(eta);
        self
    }

    /// Gives it up if it has not started `after` sending.
    #[must_use]
    pub fn expires(mut self, after: Duration) -> Self {
        self.options.expires = Some(after);
        self
    }

    /// Lets it overtake calls of smaller priority in its queue: 0 to 9, larger first.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.options.priority = Some(priority.min(9));
        self
    }

    /// Ends each attempt from outside after `limit`.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.options.time_limit = Some(limit);
        self
    }

    /// Interrupts each attempt's context after `limit`.
    #[must_use]
    pub fn soft_time_limit(mut self, limit: Duration) -> Self {
        self.options.soft_time_limit = Some(limit);
        self
    }

    /// Leaves no result behind.
    #[must_use]
    pub fn ignore_result(mut self) -> Self {
        self.options.ignore_result = Some(true);
        self
    }
}

impl<T: Task> fmt::Debug for Signature<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Signature")
            .field("task", &T::DEFINITION.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
