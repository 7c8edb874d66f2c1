//! Why something could not be had, or given.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a call on a lock, a queue or another of these did not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// Another holds it, or it is empty or full, and the call was not to wait.
    #[error("it cannot be had now; wait for it, or try again later")]
    Busy,
    /// The time to wait was over.
    #[error("it could not be had in time")]
    Timeout,
    /// The queue or pipe is closed, and empty if something was asked from it.
    #[error("it is closed, nothing comes any more")]
    Closed,
    /// The barrier was aborted, or somebody who was waited for has left.
    #[error("the barrier is broken; reset it when all know")]
    Broken,
    /// Something was given back that nobody had taken.
    #[error("it was released more often than taken")]
    NotTaken,
    /// The system has no memory to share left, or lets this process have no more files.
    #[error("there is no room in memory for it, or too many files are open")]
    NoMemory,
    /// What was sent here was ended by its last holder before it arrived, or belongs to another user.
    #[error("its holder has ended it; whoever sends it must keep it until it has arrived")]
    Gone,
    /// It was made by another version of this library, or by something else.
    #[error(
        "its memory is laid out in a way that is not known here; run the same version everywhere"
    )]
    Foreign,
    /// It is of another type, or its items are.
    #[error("it is of another type, or its items are")]
    OtherType,
    /// The lease on it ran out before it was given back: another may have it since.
    #[error("its lease ran out, another may have it")]
    Lost,
    /// The store could not be reached for as long as a lease runs; it did what was asked or it did not.
    #[error("the place where it is shared cannot be reached")]
    Unreachable,
    /// It was to be for more than it can be for.
    #[error("it can be for {most} at most")]
    TooMany {
        /// How many it can be for.
        most: usize,
    },
    /// A name that is none.
    #[error(
        "a name has 1 to 100 letters, digits, `.`, `_` and `-`, and begins with a letter or a digit"
    )]
    BadName,
    /// An item or a key takes more bytes than one may.
    #[error("it takes more than {most} bytes, which is the most for one")]
    TooLarge {
        /// How many bytes one may take.
        most: usize,
    },
    /// The type of an item does not let it be written as bytes, or what was read is no such item.
    #[error("it cannot be written as bytes, or its bytes are those of something else")]
    Encoding,
    /// There is no such place in an array or a list.
    #[error("there is no item at {index}, it has {len}")]
    OutOfRange {
        /// What was asked for.
        index: usize,
        /// How many there are.
        len: usize,
    },
}

/// An item that a queue or pipe did not take, and why.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PutError<T> {
    /// The item.
    pub item: T,
    /// Why it was not taken.
    pub why: SyncError,
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("PutError").field(&self.why).finish()
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(formatter)
    }
}

impl<T> std::error::Error for PutError<T> {}

impl<T> From<PutError<T>> for SyncError {
    fn from(error: PutError<T>) -> Self {
        error.why
    }
}
