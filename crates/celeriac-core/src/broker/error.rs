//! What brokers and result backends refuse, and why.

use crate::BoxError;
use crate::destination::Destination;

/// Why a broker is [unavailable](BrokerError::Unavailable), where the remedy is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Cause {
    /// What the server or the client library said.
    pub reason: String,
    /// What the user can do.
    pub help: String,
}

/// Why a broker or result backend could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// No connection, or it was lost before the server answered, or another process holds the lock.
    #[error("broker at {address} is unavailable")]
    Unavailable {
        /// Host and port, or file path.
        address: String,
        /// What the client library reported.
        source: BoxError,
    },
    /// The store cannot be used as it is: another format, corrupt, newer, forbidden.
    #[error("broker at {address} cannot be used: {reason}")]
    Unusable {
        /// Host and port, or file path.
        address: String,
        /// What is wrong with it.
        reason: String,
        /// What the user can do.
        help: String,
    },
    /// There is no room.
    #[error("broker at {address} is full: {reason}")]
    Full {
        /// Host and port, or file path.
        address: String,
        /// What is full.
        reason: String,
    },
    /// A message is over the limit.
    #[error("the body of {task} has {size_bytes} bytes, over the limit of {limit_bytes}")]
    TooLarge {
        /// The task.
        task: String,
        /// Its size.
        size_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// An exchange has no queue for the routing key, so a message would be lost.
    #[error("broker at {address} has no queue for {destination}")]
    Unroutable {
        /// Host and port, or file path.
        address: String,
        /// The exchange and the routing key.
        destination: Destination,
    },
    /// Some of the messages that were published together are stored for good, and of the others that
    /// is not known.
    #[error("broker at {address} has not confirmed {} of the messages", unconfirmed.len())]
    Partly {
        /// Host and port, or file path.
        address: String,
        /// The places of the others among what was published, rising from 0.
        unconfirmed: Vec<usize>,
        /// Why they were not confirmed.
        source: Box<BrokerError>,
    },
    /// The consumer or broker was closed.
    #[error("broker at {address} was closed")]
    Closed {
        /// Host and port, or file path.
        address: String,
    },
    /// The driver cannot do this.
    #[error("broker at {address} cannot {what}")]
    Unsupported {
        /// Host and port, or file path.
        address: String,
        /// What it cannot do, as a verb.
        what: String,
    },
}

impl BrokerError {
    /// Whether the same call, made again later, may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Full { .. } => true,
            Self::Partly { source, .. } => source.is_transient(),
            _ => false,
        }
    }

    /// Whether nothing was done because of what was asked, and never will be.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::TooLarge { .. } | Self::Unroutable { .. } | Self::Unsupported { .. }
        )
    }

    /// Divides what was published, in its order, into what is confirmed and what is not.
    ///
    /// ```
    /// # use celeriac_core::BrokerError;
    /// let closed = || BrokerError::Closed { address: "here".to_owned() };
    /// assert_eq!(closed().part(vec!["a", "b"]), (vec![], vec!["a", "b"]));
    /// let partly = BrokerError::Partly {
    ///     address: "here".to_owned(),
    ///     unconfirmed: vec![1, 2],
    ///     source: Box::new(closed()),
    /// };
    /// assert_eq!(partly.part(vec!["a", "b", "c"]), (vec!["a"], vec!["b", "c"]));
    /// ```
    pub fn part<T>(&self, published: Vec<T>) -> (Vec<T>, Vec<T>) {
        let Self::Partly { unconfirmed, .. } = self else {
            return (Vec::new(), published);
        };
        let mut open = unconfirmed.iter().peekable();
        let (mut confirmed, mut rest) = (Vec::new(), Vec::with_capacity(unconfirmed.len()));
        for (place, one) in published.into_iter().enumerate() {
            if open.next_if_eq(&&place).is_some() {
                rest.push(one);
            } else {
                confirmed.push(one);
            }
        }
        (confirmed, rest)
    }

    /// The error itself, without what it says of single messages.
    #[must_use]
    pub fn into_reason(self) -> Self {
        match self {
            Self::Partly { source, .. } => *source,
            other => other,
        }
    }

    /// What the user can do about it, if that is known.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Unavailable { source, .. } => Some(match source.downcast_ref::<Cause>() {
                Some(cause) => cause.help.clone(),
                None => "check that it runs, can be reached and is not locked, then try again"
                    .to_owned(),
            }),
            Self::Unusable { help, .. } => Some(help.clone()),
            Self::Partly { source, .. } => source.help(),
            Self::Full { .. } => Some("free some space; what was accepted is safe".into()),
            Self::TooLarge { .. } => {
                Some("raise the body limit, or store the data elsewhere and send its place".into())
            }
            Self::Unroutable { .. } => Some(
                "start a worker whose queue is bound for it, or define the queue here too".into(),
            ),
            _ => None,
        }
    }
}
