//! The port of what is broadcast: commands in, news out.
//!
//! It is lossy, and the fate of no task hangs on it. What is sent while nobody listens, or faster than
//! a listener takes it, is not heard.

use std::fmt;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::BoxFuture;
use crate::broker::BrokerError;

/// Broadcasts between workers, clients and monitors, on the exchanges of Celery's remote control and
/// events.
///
/// It has connections of its own, so that neither a flood nor a slow listener delays a task.
pub trait Bus: fmt::Debug + Send + Sync {
    /// Sends a notice, and resolves when the server has it or has it on its way.
    ///
    /// Where the server tells to how many it went, that is said: none who may answer is left out, but
    /// some of them may be gone, or take nothing for now. Elsewhere nobody knows whether anybody heard
    /// it.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Unavailable`] if there is no connection, [`BrokerError::Full`] if the server takes
    /// nothing now, and [`BrokerError::Unsupported`] if an asker names another exchange than that of
    /// [answers](Self::answers). The notice is then lost.
    ///
    /// # Cancel safety
    ///
    /// None. The notice is then sent or not.
    fn send(
        &self,
        to: Address,
        notice: Notice,
    ) -> BoxFuture<'_, Result<Option<usize>, BrokerError>>;

    /// The exchange of answers, which a request names as the place where its answer goes.
    fn answers(&self) -> String;

    /// Begins to listen: what is sent after this has resolved is heard.
    ///
    /// The listener makes its connection anew when it was lost. What is sent meanwhile is not heard.
    ///
    /// # Errors
    ///
    /// [`BrokerError`] if there is no connection now.
    fn listen(&self, to: Topic) -> BoxFuture<'_, Result<Box<dyn Listener>, BrokerError>>;
}

/// Hears notices, until it is closed or dropped.
pub trait Listener: fmt::Debug + Send {
    /// Waits for the next notice.
    ///
    /// # Errors
    ///
    /// [`BrokerError`] if nothing will be heard any more.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is lost.
    fn next(&mut self) -> BoxFuture<'_, Result<Notice, BrokerError>>;

    /// How many notices were not heard, because there were too many at once or one was too large.
    fn missed(&self) -> u64;

    /// Stops to listen, and resolves when the server has nothing left of it or cannot be told.
    ///
    /// After one that is dropped is cleared up too, unless the process ends before.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// One thing said.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Notice {
    /// What its body is encoded in, a MIME type.
    pub content_type: String,
    /// What is said beside it.
    pub headers: Map<String, Value>,
    /// What is said.
    pub body: Bytes,
}

impl Notice {
    /// A notice in JSON.
    pub fn json(headers: Map<String, Value>, body: impl Into<Bytes>) -> Self {
        Self {
            content_type: "application/json".to_owned(),
            headers,
            body: body.into(),
        }
    }
}

/// To whom a notice is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// All workers, which read in it who is meant.
    Workers,
    /// Whoever asked, as its request named the place.
    Asker {
        /// The exchange of answers.
        exchange: String,
        /// The key of the asker's queue.
        routing_key: String,
    },
    /// All monitors that listen to events of this routing key.
    Monitors(String),
}

/// What is listened to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Topic {
    /// What is sent to all workers, as the worker of this name.
    Commands(String),
    /// Answers for the asker of this key, in the [exchange of answers](Bus::answers).
    Answers(String),
    /// All events.
    Events,
}
