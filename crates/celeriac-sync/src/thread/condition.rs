//! A condition.

use std::sync::Arc;
use std::time::Duration;

use event_listener::{Event, IntoNotification as _, Listener as _, listener};

use super::{ArrayGuard, LockGuard, ValueGuard};
use crate::SyncError;
use crate::condition::condition;

/// Where the holders of a lock wait for a state that others bring about.
///
/// ```
/// use celeriac_sync::thread::{Condition, Value};
/// use std::thread;
///
/// let balance = Value::new(0);
/// let deposited = Condition::new();
/// thread::scope(|scope| {
///     let withdraw = scope.spawn(|| {
///         let mut balance = deposited.wait_while(balance.lock()?, |balance| **balance < 10)?;
///         *balance -= 10;
///         Ok::<_, celeriac_sync::SyncError>(())
///     });
///     *balance.lock().unwrap() += 15;
///     deposited.notify_one();
///     withdraw.join().unwrap().unwrap();
/// });
/// assert_eq!(balance.get().unwrap(), 5);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Condition(Arc<Event>);

impl Condition {
    /// A condition on which nobody waits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives `guard` back, waits for a notification, and takes the lock again.
    ///
    /// # Errors
    ///
    /// None in this scope.
    pub fn wait<G: Guard>(&self, guard: G) -> Result<G, SyncError> {
        let of = guard.of();
        listener!(self.0 => listener);
        drop(guard);
        listener.wait();
        G::take(of)
    }

    /// The same, no longer than `timeout`: the guard, and whether a notification came.
    ///
    /// # Errors
    ///
    /// None in this scope.
    pub fn wait_for<G: Guard>(&self, guard: G, timeout: Duration) -> Result<(G, bool), SyncError> {
        let of = guard.of();
        listener!(self.0 => listener);
        drop(guard);
        let told = listener.wait_timeout(timeout).is_some();
        Ok((G::take(of)?, told))
    }

    /// The same as a coroutine.
    ///
    /// # Errors
    ///
    /// None in this scope.
    ///
    /// # Cancel safety
    ///
    /// The lock is not held any more after a dropped call. A notification it had got goes to another.
    pub async fn wait_async<G: Guard>(&self, guard: G) -> Result<G, SyncError> {
        let of = guard.of();
        listener!(self.0 => listener);
        drop(guard);
        listener.await;
        G::take_async(of).await
    }

    /// Lets one go on that waits, the one that has waited longest.
    pub fn notify_one(&self) {
        self.0.notify(1.additional());
    }

    /// Lets all go on that wait.
    pub fn notify_all(&self) {
        self.0.notify(usize::MAX);
    }
}

condition! { Condition, Send:
    LockGuard [] of super::Lock;
    ValueGuard [T] of super::Value<T>;
    ArrayGuard [T] of super::Array<T>;
}
