//! Remote control: what is broadcast to workers, and what they answer.
//!
//! # Sources
//!
//! kombu's pidbox, as Celery 5.7 uses it: a map with `method` and `arguments`, the nodes that it is for,
//! and where the answer goes.

mod audience;
mod reply;

use serde::Deserialize;
use serde_json::{Map, Value, json};

pub use audience::{Audience, Matcher};
pub use reply::Reply;

/// The exchange of requests is called so after the app's control exchange.
pub const EXCHANGE_SUFFIX: &str = ".pidbox";

/// A command for one worker, some or all.
///
/// ```
/// use celeriac_wire::control::{Audience, Request};
///
/// let sent = Request::new("ping").to(Audience::Nodes(vec!["celery@box".to_owned()]));
/// let read = Request::decode(&sent.encode())?;
/// assert_eq!(read, sent);
/// assert!(read.audience.includes("celery@box") && !read.audience.includes("celery@other"));
/// # Ok::<(), celeriac_wire::control::ControlError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The name of the command.
    pub method: String,
    /// Its arguments by name.
    pub arguments: Map<String, Value>,
    /// Who is to obey.
    pub audience: Audience,
    /// Where the answer goes; nobody wants one if there is none.
    pub reply_to: Option<ReplyTo>,
    /// What the asker knows its answers by.
    pub ticket: Option<String>,
}

/// Where an answer goes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ReplyTo {
    /// The exchange: that of the app's answers.
    pub exchange: String,
    /// The key of the asker's queue.
    pub routing_key: String,
}

/// Why bytes are no request or no answer. It does not repeat them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// They are no JSON of the form.
    #[error("it is no {0} of remote control")]
    Shape(&'static str),
    /// The regular expression for the names of workers is none, or is none that is read here.
    #[error("its pattern of names cannot be read")]
    Pattern,
}

impl Request {
    /// A command for all workers that nobody wants an answer to.
    pub fn new(method: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            arguments: Map::new(),
            audience: Audience::All,
            reply_to: None,
            ticket: None,
        }
    }

    /// With this argument.
    #[must_use]
    pub fn argument(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.arguments.insert(name.to_owned(), value.into());
        self
    }

    /// For these workers.
    #[must_use]
    pub fn to(mut self, audience: Audience) -> Self {
        self.audience = audience;
        self
    }

    /// Reads what a client broadcast.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub fn decode(body: &[u8]) -> Result<Self, ControlError> {
        let raw: Raw = serde_json::from_slice(body).map_err(|_| ControlError::Shape("request"))?;
        Ok(Self {
            method: raw.method,
            arguments: raw.arguments.unwrap_or_default(),
            audience: Audience::of(raw.destination, raw.pattern, raw.matcher.as_deref())?,
            reply_to: raw.reply_to,
            ticket: raw.ticket,
        })
    }

    /// Writes it as Celery's clients do.
    pub fn encode(&self) -> Vec<u8> {
        let (pattern, matcher) = match &self.audience {
            Audience::Matching(matcher) => (Some(matcher.pattern()), Some(matcher.kind())),
            _ => (None, None),
        };
        let destination = match &self.audience {
            Audience::Nodes(nodes) => Some(nodes),
            _ => None,
        };
        let mut body = json!({
            "method": self.method,
            "arguments": self.arguments,
            "destination": destination,
            "pattern": pattern,
            "matcher": matcher,
        });
        if let Some(to) = &self.reply_to {
            body["ticket"] = json!(self.ticket);
            body["reply_to"] = json!({"exchange": to.exchange, "routing_key": to.routing_key});
        }
        body.to_string().into_bytes()
    }
}

#[derive(Deserialize)]
struct Raw {
    method: String,
    arguments: Option<Map<String, Value>>,
    destination: Option<Vec<String>>,
    pattern: Option<String>,
    matcher: Option<String>,
    reply_to: Option<ReplyTo>,
    ticket: Option<String>,
}
