//! The scope of one process: for its threads and its coroutines alike.
//!
//! | type | who comes next | a holder that panics |
//! | --- | --- | --- |
//! | [`Lock`], [`RLock`] | who waited longest, unless somebody comes just then | the next guard says `recovered()` |
//! | [`Semaphore`], [`BoundedSemaphore`] | the same | its permit comes back |
//! | [`Event`], [`Condition`] | all, or who waited longest | |
//! | [`Barrier`] | all together | one that gives up waiting breaks it |
//! | [`Queue`], [`LifoQueue`], [`PriorityQueue`], [`Pipe`] | who waited longest, unless somebody comes just then | an item that was not finished is given out again |
//! | [`Value`], [`Array`], [`Dict`], [`List`] | as with a lock | as with a lock |
//!
//! Blocking forms must not be used on threads that drive coroutines; the `_async` forms are for those.

mod barrier;
mod condition;
mod data;
mod dict;
mod event;
mod gate;
mod items;
mod list;
mod lock;
mod locked;
mod pipe;
mod queue;
mod rlock;
mod semaphore;

pub use barrier::Barrier;
pub use condition::{Condition, Guard};
pub use data::{Array, ArrayGuard, Value, ValueGuard};
pub use dict::Dict;
pub use event::Event;
pub use list::List;
pub use lock::{Lock, LockGuard};
pub use pipe::{Pipe, pipe};
pub use queue::{Item, LifoQueue, PriorityQueue, Queue};
pub use rlock::{RLock, RLockGuard};
pub use semaphore::{BoundedSemaphore, Permit, Semaphore};
