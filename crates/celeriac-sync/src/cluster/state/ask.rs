//! What is asked of an object, and answered.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::holds::Data;
use super::plan::Plan;
use crate::SyncError;

/// One connection of a process to a place.
pub(in crate::cluster) type Session = u64;

/// One call of a session.
pub(in crate::cluster) type Ticket = u64;

/// Who asks, and gets what is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::cluster) struct Who {
    pub(in crate::cluster) session: Session,
    pub(in crate::cluster) ticket: Ticket,
}

/// Calls of one session on one object, which are carried out together. It renews the lease.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::cluster) struct Batch {
    pub(in crate::cluster) object: String,
    pub(in crate::cluster) plan: Plan,
    pub(in crate::cluster) session: Session,
    pub(in crate::cluster) lease_ms: u64,
    /// Whether the session believes that it has something there or waits.
    pub(in crate::cluster) member: bool,
    /// Whether it only wants to look for answers.
    pub(in crate::cluster) looks: bool,
    /// The answers that need not be kept any more.
    pub(in crate::cluster) seen: Vec<Ticket>,
    pub(in crate::cluster) calls: Vec<Call>,
}

/// One call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::cluster) struct Call {
    pub(in crate::cluster) ticket: Ticket,
    pub(in crate::cluster) op: Op,
    /// Whether it waits until it can be answered.
    pub(in crate::cluster) waits: bool,
    /// Whether nobody wants the answer. Such a call does no harm if it is carried out twice.
    pub(in crate::cluster) quiet: bool,
}

/// What became of a batch.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::cluster) struct Outcome {
    /// All answers for the session that it has not said to have seen.
    pub(in crate::cluster) answers: Vec<(Ticket, Answer)>,
    /// Whether its lease had run out before, and with it all that it had.
    pub(in crate::cluster) lapsed: bool,
    /// Whether that is so long ago that the answers to what it was waiting for are not there any more.
    pub(in crate::cluster) forgotten: bool,
    /// When the first lease of another runs out.
    pub(in crate::cluster) next_ms: Option<u64>,
}

impl Outcome {
    pub(super) fn of(answers: Vec<(Ticket, Answer)>) -> Self {
        Self {
            answers,
            ..Self::default()
        }
    }
}

/// What a call does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::cluster) enum Op {
    /// Asks whether it is of the right type.
    Hello,
    /// Takes a lock or a permit, and asks something of the data.
    Acquire {
        ask: Option<Ask>,
    },
    /// Gives it back, and changes the data before. `dirty` if what it protects may be half done.
    Release {
        of: Ticket,
        dirty: bool,
        ask: Option<Ask>,
    },
    /// Gives back the hold and keeps the permit taken.
    Forget {
        of: Ticket,
    },
    /// Adds a permit.
    Permit,
    /// Asks something of the data while nobody holds it.
    Use(Ask),
    /// Puts an item; of those with the least rank the first is got first.
    Put {
        item: Bytes,
        rank: Bytes,
    },
    Get,
    Finish {
        of: Ticket,
    },
    GiveBack {
        of: Ticket,
    },
    /// Waits until all items are finished.
    Join,
    Close,
    /// Is an end of a pipe from now on.
    Attach {
        side: u8,
    },
    Set,
    Clear,
    WaitSet,
    WaitNotice,
    Notify {
        count: u64,
    },
    Arrive {
        breaks: bool,
    },
    Abort,
    Reset,
    /// How many: permits that are free, items, parties that wait; 1 if an event is set.
    Count,
    IsBroken,
    /// Ends the waiting of a call. If it has ended already, `undo` takes back what was given.
    Cancel {
        of: Ticket,
        undo: bool,
    },
}

/// What calls wait for. Those of one class wait in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cluster) enum Class {
    Never,
    Hold,
    Put,
    Get,
    Join,
    Set,
    Notice,
    Arrive,
}

impl Op {
    pub(super) fn class(&self) -> Class {
        match self {
            Self::Use(Ask::Begin(_)) => Class::Never,
            Self::Acquire { .. } | Self::Use(_) => Class::Hold,
            Self::Put { .. } => Class::Put,
            Self::Get => Class::Get,
            Self::Join => Class::Join,
            Self::WaitSet => Class::Set,
            Self::WaitNotice => Class::Notice,
            Self::Arrive { .. } => Class::Arrive,
            _ => Class::Never,
        }
    }
}

/// What can be asked of data.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::cluster) enum Ask {
    /// Gives it its first content, unless it has any.
    Begin(Data),
    All,
    Len,
    Replace(Data),
    /// The value of a key, or nothing.
    Get(Bytes),
    /// Gives a key a value or none; answers with the one it had.
    Set(Bytes, Option<Bytes>),
    Clear,
    At(u64),
    Put(u64, Bytes),
    Push(Bytes),
    Pop,
    Insert(u64, Bytes),
    Remove(u64),
}

/// What a call gives, or why it gives nothing.
pub(in crate::cluster) type Answer = Result<Reply, SyncError>;

/// What a call gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cluster) enum Reply {
    Done,
    Flag(bool),
    Number(u64),
    Bytes(Option<Bytes>),
    Data(Data),
    /// A lock or permit is held now.
    Held {
        fence: u64,
        recovered: bool,
        reply: Option<Box<Reply>>,
    },
    /// An item is got now.
    Item {
        item: Bytes,
        fence: u64,
    },
}

impl Reply {
    pub(in crate::cluster) fn number(&self) -> Result<usize, SyncError> {
        match self {
            Self::Number(number) => Ok(usize::try_from(*number).unwrap_or(usize::MAX)),
            _ => Err(SyncError::OtherType),
        }
    }

    pub(in crate::cluster) fn bytes(self) -> Result<Option<Bytes>, SyncError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(SyncError::OtherType),
        }
    }

    pub(in crate::cluster) fn data(self) -> Result<Data, SyncError> {
        match self {
            Self::Data(data) => Ok(data),
            _ => Err(SyncError::OtherType),
        }
    }
}
