//! Locks, queues and shared values, under the names that Python's `threading`, `multiprocessing` and
//! `queue` made common.
//!
//! | | what it is |
//! | --- | --- |
//! | `Lock`, `RLock` | held by one at a time; the latter taken again by who holds it |
//! | `Semaphore`, `BoundedSemaphore` | held by so many at a time |
//! | `Event`, `Condition`, `Barrier` | waiting for a word, for a state, for each other |
//! | `Queue`, `LifoQueue`, `PriorityQueue`, `Pipe` | items from hand to hand |
//! | `Value`, `Array`, `Dict`, `List` | data shared by all |
//!
//! Each waits in four forms: `lock` as a thread, for as long as it takes; `lock_for` no longer than so
//! long; `try_lock` not at all; `lock_async` as a coroutine. A value of each type is a handle:
//! a clone of it is the same lock, the same queue.
//!
//! [`thread`] is the scope of one process, for its threads and coroutines; [`process`] that of processes which
//! share memory; [`cluster`] that of programs which know the same store or manager. A program moves from one
//! to another by its imports.
//!
//! # When a holder dies
//!
//! Whoever gets a lock after a holder that panicked is told: `recovered()` of its guard says that what
//! the lock protects may be half done. An item that a panicking consumer had got and not finished goes
//! back to the head of its queue. Permits come back. A barrier breaks.
//!
//! # Sources
//!
//! Names and meanings are those of Python 3's `threading`, `queue` and `multiprocessing`.
#![deny(unsafe_code)]

pub mod cluster;
mod condition;
mod error;
pub mod process;
pub mod thread;

pub use bytemuck;
pub use error::{PutError, SyncError};
