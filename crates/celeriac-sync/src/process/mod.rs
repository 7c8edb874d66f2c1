//! The scope of one machine: for processes that share memory, and the threads and coroutines in them.
//!
//! A value of each type can be sent to another process of the same user, as the argument of a task for
//! example: what arrives there is the same lock, the same value. Whoever sends it has to keep it until it
//! has arrived; after that it lives as long as any process has it, and vanishes with the last one, also if
//! that is killed.
//!
//! | type | who comes next | a process that dies |
//! | --- | --- | --- |
//! | [`Lock`], [`RLock`] | who comes just then, else one that waits | the next guard says `recovered()`, at once |
//! | [`Semaphore`], [`BoundedSemaphore`] | the same | its permits come back within 50 ms |
//! | [`Event`], [`Condition`] | all, or some that wait | |
//! | [`Barrier`] | all together | breaks it within 50 ms, if it was waiting |
//! | [`Queue`], [`LifoQueue`], [`PriorityQueue`] | who comes just then, else one that waits | what it had got and not finished is the next to be got, within 50 ms; what it had not wholly put is not there |
//! | [`Pipe`] | the same | the last one that has an end closes the pipe, within 50 ms |
//! | [`Value`], [`Array`] | as with a lock | what its guard had not put back is not changed |
//! | [`Dict`], [`List`] | the same | a change is whole or not there |
//!
//! [`named`] gives what other processes have by a name instead, and [`shm`] lists the names.
//!
//! # Limits and cost
//!
//! Up to 248 processes can have one of them at a time. A queue holds 2²² items at most, put and not
//! finished; the items of one queue, dictionary or list take 4 GiB, one item 1 GiB, a key 32 KiB. So much of
//! the address space each of these three takes at once, but memory only as it is used; what they had is
//! used again, and what is more than 16 MiB is given back when none of it is in use. A process that may not have so much address space
//! or so large files is told [`NoMemory`](crate::SyncError::NoMemory). So is one that makes something or puts something in when
//! memory is short: it is had from the system before it is used, and what was there before stays as it is.
//!
//! A lock that nobody else wants costs two atomic operations, and one round through a queue about 200 ns. The
//! system is called only to sleep and to wake who sleeps. Items are encoded as MessagePack with the names
//! of fields; a heap decodes those that it compares. What a process has that is killed while it holds one
//! of the locks inside is made anew from all there is, by whoever comes next.
//!
//! A process that is stopped (`SIGSTOP`) is not dead: others wait for what it holds.
//!
//! A blocking form must not be used on threads that drive coroutines; an `_async` form that has to wait has
//! a thread of its own wait.
//!
//! What is shared belongs to the processes that have it: one that writes nonsense there can make the others
//! wait or see nonsense, but not break their memory.
//!
//! # Sources
//!
//! `futex(2)`, `memfd_create(2)`, `pidfd_open(2)`.

mod arena;
mod barrier;
mod condition;
mod data;
mod door;
mod encoding;
mod event;
mod forms;
mod futex;
mod gate;
mod handle;
mod lock;
mod member;
mod memory;
mod monitor;
mod mutex;
mod named;
mod names;
mod queue;
mod rlock;
mod segment;
mod semaphore;
pub mod shm;
#[cfg(test)]
mod shortage;
mod table;
mod watch;
mod word;

/// Whose primitives the states of locks and gates are made of.
mod sync {
    pub(super) use std::sync::atomic::{AtomicU32, Ordering, fence};
}

pub use barrier::Barrier;
pub use condition::{Condition, Guard};
pub use data::{Array, ArrayGuard, Value, ValueGuard};
pub use event::Event;
pub use lock::{Lock, LockGuard};
pub use named::{Shared, named};
pub use queue::{Item, LifoQueue, Pipe, PriorityQueue, Queue, pipe};
pub use rlock::{RLock, RLockGuard};
pub use semaphore::{BoundedSemaphore, Permit, Semaphore};
pub use table::{Dict, DictGuard, List, ListGuard};
