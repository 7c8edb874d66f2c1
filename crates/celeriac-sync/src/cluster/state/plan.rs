//! What an object is made as.

use serde::{Deserialize, Serialize};

/// The type of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cluster) enum Kind {
    Lock,
    RLock,
    Semaphore,
    BoundedSemaphore,
    Event,
    Condition,
    Barrier,
    Value,
    Array,
    Dict,
    List,
    Queue,
    LifoQueue,
    PriorityQueue,
    Pipe,
}

/// Whoever opens an object says what it takes it for; if that is not what it is, it is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cluster) struct Plan {
    pub(in crate::cluster) kind: Kind,
    /// For how many it is: permits, parties, items.
    pub(in crate::cluster) size: u64,
    /// The type of its items.
    pub(in crate::cluster) shape: String,
    /// Whether it has a name by which others find it. One that has none is forgotten if nobody uses it.
    pub(in crate::cluster) named: bool,
}
