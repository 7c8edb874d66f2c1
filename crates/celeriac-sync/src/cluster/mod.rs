//! The scope of many machines: for programs that know the same place, a store or a served manager.
//!
//! A place is [connected](Cluster::connect) by its address. What is shared there has a name, or travels as
//! the argument of a task: what arrives is the same lock, the same queue. Whatever is held there is held by
//! a lease, which its holder renews as long as it lives: 5 s, unless [told otherwise](Options::lease).
//!
//! | type | who comes next | a holder that dies, or is stopped for longer than its lease |
//! | --- | --- | --- |
//! | [`Lock`], [`RLock`] | who waited longest | the next guard says `recovered()`, a lease later; the late holder's [number](LockGuard::fence) is smaller |
//! | [`Semaphore`], [`BoundedSemaphore`] | who waited longest | its permits come back, a lease later |
//! | [`Event`], [`Condition`] | all, or who waited longest | |
//! | [`Barrier`] | all together | breaks it a lease later, if it was waiting |
//! | [`Queue`], [`LifoQueue`], [`PriorityQueue`] | who waited longest | the items it had not finished are given out again, a lease later |
//! | [`Pipe`] | who waited longest | closes it, a lease later |
//! | [`Value`], [`Array`], [`Dict`], [`List`] | who waited longest | what its guard had not put back is not changed |
//!
//! Every call is carried out once, also if a connection breaks while it is under way. A place that cannot be
//! reached is waited for as long as a lease runs; then all that was held is lost, and all who wait get
//! [`Unreachable`](crate::SyncError::Unreachable).
//!
//! A lease is counted by the clock of its place: the server's of Redis, the machine's for SQLite, and for memory
//! and a manager one that never jumps. One that is set back gives nobody what another has, and keeps what the
//! dead had for a lease more at most. One that is set forwards ends leases before their time: their
//! holders are told when they renew them, and until then only the fencing numbers tell old from new.
//!
//! Blocking forms must not be used on threads that drive coroutines; the `_async` forms are for those. What
//! they got gives back without keeping its thread waiting.
//!
//! # Why one state for an object
//!
//! All types are written once, as a function from a state and a call to a state and answers, and each store
//! keeps states by their names: a store needs no more than to replace a value that nobody else has replaced
//! meanwhile. Uncontended that is one round trip, as a script for each operation would be; those who
//! contend for a lock meet only when they come and go, because between that they wait in line. What it
//! costs is that an operation at Redis or SQLite writes the whole object: a queue of many or large items is
//! better held by a manager, which keeps objects in memory.
//!
//! # Sources
//!
//! Leases and fencing numbers are those of Gray and Cheriton (1989), and of Chubby (2006), where they are
//! called sequencers.

mod barrier;
mod codec;
mod condition;
mod data;
mod desk;
mod dict;
mod error;
mod event;
mod fence;
mod forms;
mod guarded;
mod handle;
mod items;
mod list;
mod lock;
#[cfg(feature = "manager")]
mod manager;
mod memory;
mod pipe;
mod place;
mod queue;
mod rank;
#[cfg(feature = "redis")]
mod redis;
mod rlock;
mod semaphore;
mod session;
mod slot;
#[cfg(feature = "sqlite")]
mod sqlite;
mod stake;
mod state;
mod store;

pub use barrier::Barrier;
pub use codec::Shareable;
pub use condition::{Condition, Guard};
pub use data::{Array, ArrayGuard, Value, ValueGuard};
pub use dict::{Dict, DictGuard, Key};
pub use error::Error;
pub use event::Event;
pub use fence::{Fence, Late};
pub use list::{List, ListGuard};
pub use lock::{Lock, LockGuard};
#[cfg(feature = "manager")]
pub use manager::{Key as ManagerKey, Manager};
pub use pipe::{Pipe, pipe, pipe_in};
pub use place::{Cluster, Options};
pub use queue::{Item, LifoQueue, PriorityQueue, Queue, Ranked};
pub use rlock::{RLock, RLockGuard};
pub use semaphore::{BoundedSemaphore, Permit, Semaphore};
