//! What was claimed, read: a message, or why it is none.

use celeriac_core::Message;
use celeriac_wire::compression::DEFAULT_INFLATED_LIMIT_BYTES;
use celeriac_wire::envelope::{Incoming, IncomingError};
use tokio::task::JoinError;

use super::claim::Claimed;

/// The message that was claimed, or why it is none.
pub(super) type Read = Result<Message, ReadError>;

/// Why what was claimed is no message.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// It inflates to more than was allowed here, and others are not to wait for it.
    #[error("its body inflates to more than others can wait for")]
    Bulky,
    #[error("its body is over the limit")]
    TooLarge,
    #[error(transparent)]
    Malformed(IncomingError),
    #[error("reading it failed: {0}")]
    Panicked(JoinError),
}

/// Reads a message whose body has at most `limit_bytes`, or inflates to at most `inflated_bytes`.
pub(super) fn read(claimed: &Claimed, limit_bytes: usize, inflated_bytes: usize) -> Read {
    let message = match Incoming::read_within(&claimed.text, inflated_bytes) {
        Ok(incoming) => incoming.message,
        Err(error)
            if error.is_over_inflated_limit() && inflated_bytes < DEFAULT_INFLATED_LIMIT_BYTES =>
        {
            return Err(ReadError::Bulky);
        }
        Err(error) => return Err(ReadError::Malformed(error)),
    };
    // What it may inflate to has a limit of its own, and what travels was measured when claimed.
    let inflated = message.headers.extra.contains_key("compression");
    if !inflated && message.body.bytes.len() > limit_bytes {
        return Err(ReadError::TooLarge);
    }
    Ok(message)
}
