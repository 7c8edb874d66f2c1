//! The name of a queue.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest name of a queue, in bytes: AMQP's limit for a short string.
pub const MAX_NAME_BYTES: usize = 255;

/// The name of a queue: 1 to 255 bytes of text without control characters.
///
/// Spaces, slashes, colons and letters of any script are allowed; a driver escapes what its
/// store cannot take.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QueueName(Arc<str>);

/// Why a text is no queue name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueNameError {
    /// The text is empty.
    #[error("a queue name must not be empty")]
    Empty,
    /// The text is longer than 255 bytes.
    #[error("a queue name has at most {MAX_NAME_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// The text has a control character or a comma, which separates names on a command line.
    #[error("a queue name must not hold the character {0:?}")]
    BadCharacter(char),
}

impl QueueName {
    /// The queue of tasks that name none: `celery`, as in Celery.
    pub const DEFAULT: &'static str = "celery";

    /// Checks `name` and keeps it.
    ///
    /// # Errors
    ///
    /// A [`QueueNameError`] that says what is wrong with it.
    pub fn new(name: &str) -> Result<Self, QueueNameError> {
        if name.is_empty() {
            return Err(QueueNameError::Empty);
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(QueueNameError::TooLong(name.len()));
        }
        if let Some(bad) = name.chars().find(|c| c.is_control() || *c == ',') {
            return Err(QueueNameError::BadCharacter(bad));
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for QueueName {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for QueueName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "QueueName({:?})", self.as_str())
    }
}

impl FromStr for QueueName {
    type Err = QueueNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl TryFrom<String> for QueueName {
    type Error = QueueNameError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(&name)
    }
}

impl From<QueueName> for String {
    fn from(name: QueueName) -> Self {
        name.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{QueueName, QueueNameError};

    #[test]
    fn odd_but_printable_names_are_kept() {
        for name in [
            "celery",
            "a b",
            "x/y:z",
            "'; DROP TABLE message; --",
            "очередь",
            "📦",
        ] {
            assert_eq!(QueueName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn unusable_names_are_refused_with_the_reason() {
        assert_eq!(QueueName::new(""), Err(QueueNameError::Empty));
        assert_eq!(
            QueueName::new("a\nb"),
            Err(QueueNameError::BadCharacter('\n'))
        );
        assert_eq!(
            QueueName::new("a,b"),
            Err(QueueNameError::BadCharacter(','))
        );
        assert_eq!(
            QueueName::new(&"x".repeat(256)),
            Err(QueueNameError::TooLong(256))
        );
    }
}
