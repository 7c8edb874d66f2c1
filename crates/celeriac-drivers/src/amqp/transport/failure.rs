//! What can go wrong on the line.

/// Why the server did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum LinkError {
    /// The connection or the channel is gone.
    #[error("{0}")]
    Lost(String),
    /// There is no trust in the server's certificate, or in nobody's.
    #[error("{0}")]
    Untrusted(String),
    /// The server said no, with the code and the words of AMQP.
    #[error("{text} (AMQP code {code})")]
    Refused {
        /// The reply code.
        code: u16,
        /// What the server said.
        text: String,
    },
    /// No answer came in time.
    #[error("no answer to {0} in time")]
    TimedOut(&'static str),
    /// A message has properties that AMQP cannot carry.
    #[error("{0}")]
    Unsayable(String),
    /// The server did not take a message: its queue is full or gone.
    #[error("{0}")]
    NotTaken(String),
}

/// The codes of AMQP that decide what is done.
pub(crate) mod code {
    pub(crate) const ACCESS_REFUSED: u16 = 403;
    pub(crate) const NOT_FOUND: u16 = 404;
    pub(crate) const RESOURCE_LOCKED: u16 = 405;
    pub(crate) const PRECONDITION_FAILED: u16 = 406;
    pub(crate) const NOT_ALLOWED: u16 = 530;
}

impl LinkError {
    /// Whether the server refused with this code.
    pub(crate) fn is_code(&self, wanted: u16) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == wanted)
    }

    /// The error of whatever is asked later on something that ended with this one.
    pub(super) fn afterwards(&self) -> Self {
        match self {
            Self::Lost(_) => self.clone(),
            other => Self::Lost(other.to_string()),
        }
    }
}

impl From<std::io::Error> for LinkError {
    fn from(error: std::io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}
