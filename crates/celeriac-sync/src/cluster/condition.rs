//! A condition.

use std::marker::PhantomData;
use std::time::{Duration, Instant};

use super::codec::Shareable;
use super::forms::after;
use super::handle::{handle, makers};
use super::place::Cluster;
use super::session::Shared;
use super::state::Op;
use super::{ArrayGuard, LockGuard, ValueGuard};
use crate::SyncError;
use crate::condition::condition;

/// Where the holders of a lock wait for a state that others bring about, on all machines that know it.
///
/// ```
/// use celeriac_sync::cluster::{Cluster, Condition, Value};
/// use std::thread;
///
/// let shop = Cluster::connect("memory:shop")?;
/// let balance = Value::new_in(&shop, 0)?;
/// let deposited = Condition::new_in(&shop)?;
/// thread::scope(|scope| {
///     let withdraw = scope.spawn(|| {
///         let mut balance = deposited.wait_while(balance.lock()?, |balance| **balance < 10)?;
///         *balance -= 10;
///         Ok::<_, celeriac_sync::SyncError>(())
///     });
///     *balance.lock().unwrap() += 15;
///     deposited.notify_one().unwrap();
///     withdraw.join().unwrap().unwrap();
/// });
/// assert_eq!(balance.get()?, 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Condition {
    shared: Shared,
    place: Cluster,
    items: PhantomData<()>,
}

handle!(Condition[], Condition);

impl Condition {
    makers!("A condition on which nobody waits", "The condition", 0);

    /// Gives `guard` back, waits for a notification, and takes the lock again.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](SyncError::Unreachable).
    pub fn wait<G: Guard>(&self, guard: G) -> Result<G, SyncError> {
        Ok(self.until(guard, None)?.0)
    }

    /// The same, no longer than `timeout`: the guard, and whether a notification came.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](SyncError::Unreachable).
    pub fn wait_for<G: Guard>(&self, guard: G, timeout: Duration) -> Result<(G, bool), SyncError> {
        self.until(guard, after(timeout))
    }

    /// The same as a coroutine.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](SyncError::Unreachable).
    ///
    /// # Cancel safety
    ///
    /// The lock is not held any more after a dropped call. A notification it had got is lost.
    pub async fn wait_async<G: Guard>(&self, guard: G) -> Result<G, SyncError> {
        let of = guard.of();
        let notice = self.shared.call(Op::WaitNotice, true);
        // Once this is answered it is known there that somebody waits, so no notification is missed.
        self.shared.ask_async(Op::Hello).await?;
        drop(guard);
        notice.wait_async().await?;
        G::take_async(of).await
    }

    fn until<G: Guard>(&self, guard: G, deadline: Option<Instant>) -> Result<(G, bool), SyncError> {
        let of = guard.of();
        let notice = self.shared.call(Op::WaitNotice, true);
        self.shared.ask_now(Op::Hello)?;
        drop(guard);
        let told = match notice.wait(deadline) {
            Ok(_) => true,
            Err(SyncError::Timeout) => false,
            Err(error) => return Err(error),
        };
        Ok((G::take(of)?, told))
    }

    /// Lets one go on that waits, the one that has waited longest.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](SyncError::Unreachable).
    pub fn notify_one(&self) -> Result<(), SyncError> {
        self.shared.ask_now(Op::Notify { count: 1 }).map(drop)
    }

    /// Lets all go on that wait.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](SyncError::Unreachable).
    pub fn notify_all(&self) -> Result<(), SyncError> {
        self.shared
            .ask_now(Op::Notify { count: u64::MAX })
            .map(drop)
    }
}

condition! { Condition, Shareable:
    LockGuard [] of super::Lock;
    ValueGuard [T] of super::Value<T>;
    ArrayGuard [T] of super::Array<T>;
}
