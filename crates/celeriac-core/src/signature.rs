//! One call not yet made: a task, its arguments, and how to send it.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::canvas::node::Links;
use crate::canvas::{Canvas, Chain, Follows, call_options};
use crate::compression::Compression;
use crate::destination::{Destination, DestinationError, ExchangeKey};
use crate::id::TaskId;
use crate::payload::ContentType;
use crate::publish_retry::PublishRetry;
use crate::task::Task;

/// How one call is sent; what is not set is the task's own option.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CallOptions {
    /// The id to send it under, instead of a new one.
    pub id: Option<TaskId>,
    /// The queue to send it to.
    pub queue: Option<String>,
    /// The exchange to send it to instead, with its routing key; boxed, because most calls go to a
    /// queue.
    pub exchange: Option<Box<ExchangeKey>>,
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
    /// What a broker's message has its arguments in.
    pub serializer: Option<ContentType>,
    /// How often sending it is tried again, against the app's own rule; boxed, because most calls say
    /// nothing of it.
    pub publish_retry: Option<Box<PublishRetry>>,
    /// What its message says besides; boxed, because most messages say nothing.
    pub marks: Option<Box<Marks>>,
}

impl CallOptions {
    /// Where they send the call, if they say it.
    ///
    /// # Errors
    ///
    /// [`DestinationError`] if it is no place to send to.
    pub fn destination(&self) -> Result<Option<Destination>, DestinationError> {
        let to = self.exchange.as_deref();
        let exchange = to.map(|to| to.exchange.as_str());
        let routing_key = to.map(|to| to.routing_key.as_str());
        Destination::of(self.queue.as_deref(), exchange, routing_key)
    }
}

/// What a message tells those who only look at it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Marks {
    /// Headers of the sender's own, beside Celery's; not under one of its names.
    pub headers: Map<String, Value>,
    /// The name that logs and events show instead of the task's.
    pub shadow: Option<String>,
    /// Stamps, by name: what follows the call carries them too.
    pub stamps: Map<String, Value>,
    /// How the body is compressed on its way.
    pub compression: Option<Compression>,
}

impl Marks {
    /// The headers that say this.
    pub(crate) fn headers(&self) -> Map<String, Value> {
        let mut headers = self.headers.clone();
        if let Some(shadow) = &self.shadow {
            headers.insert("shadow".to_owned(), shadow.as_str().into());
        }
        if let Some(compression) = self.compression {
            headers.insert("compression".to_owned(), compression.as_str().into());
        }
        if !self.stamps.is_empty() {
            let mut names: Vec<_> = self.stamps.keys().cloned().collect();
            names.sort();
            headers.insert("stamped_headers".to_owned(), names.into());
            headers.insert("stamps".to_owned(), self.stamps.clone().into());
        }
        headers
    }
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
#[must_use = "a signature does nothing until it is sent"]
pub struct Signature<T: Task> {
    /// The arguments.
    pub args: T::Args,
    /// How it is sent.
    pub options: CallOptions,
    pub(crate) links: Option<Box<Links>>,
}

impl<T: Task> Signature<T> {
    /// A call of `T` with `args`, sent as the task's own options say.
    pub fn new(args: T::Args) -> Self {
        Self {
            args,
            options: CallOptions::default(),
            links: None,
        }
    }

    /// `next` after this call: with its value if it takes one.
    ///
    /// ```
    /// # use celeriac_core::canvas::{Chain, Partial, TakesFirst};
    /// # use celeriac_core::Signature;
    /// # fn example<A, B>(add: Signature<A>, double: Partial<B>) -> Chain<u64>
    /// # where A: TakesFirst<First = u64, Output = u64>, B: TakesFirst<First = u64, Output = u64> {
    /// add.then(double)
    /// # }
    /// ```
    pub fn then<N: Canvas>(self, next: N) -> Chain<N::Value>
    where
        N::Takes: Follows<T::Output>,
    {
        self.into_chain().then(next)
    }

    /// Whether other calls follow it without being in a chain with it.
    pub fn has_links(&self) -> bool {
        self.links.is_some()
    }

    fn options_mut(&mut self) -> &mut CallOptions {
        &mut self.options
    }

    fn links_mut(&mut self) -> &mut Links {
        self.links.get_or_insert_default()
    }

    call_options!(T::Output);
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
