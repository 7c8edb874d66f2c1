//! A condition.

use std::time::{Duration, Instant};

use super::handle::handle;
use super::monitor::{self, Monitor, STATE, after};
use super::segment::{Kind, Plan};
use super::{ArrayGuard, LockGuard, ValueGuard};
use crate::SyncError;
use crate::condition::condition;

const PLAN: Plan = Plan {
    kind: Kind::Condition,
    shape: 0,
    words: STATE,
    more: 0,
    recover: monitor::recover,
};

/// Where the holders of a lock wait for a state that others bring about, in all processes that have it.
///
/// A wait may end without a notification: whoever waits looks at the state again, as
/// [`wait_while`](Self::wait_while) does.
///
/// ```
/// use celeriac_sync::process::{Condition, Value};
/// use std::thread;
///
/// let balance = Value::new(0)?;
/// let deposited = Condition::new()?;
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
/// assert_eq!(balance.get()?, 5);
/// # Ok::<(), celeriac_sync::SyncError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Condition(Monitor);

impl Condition {
    /// A condition on which nobody waits.
    ///
    /// # Errors
    ///
    /// [`NoMemory`](SyncError::NoMemory).
    pub fn new() -> Result<Self, SyncError> {
        Monitor::create(PLAN).map(Self)
    }

    /// Gives `guard` back, waits for a notification, and takes the lock again.
    ///
    /// # Errors
    ///
    /// None.
    pub fn wait<G: Guard>(&self, guard: G) -> Result<G, SyncError> {
        Ok(self.until(guard, None)?.0)
    }

    /// The same, no longer than `timeout`: the guard, and whether a notification came.
    ///
    /// # Errors
    ///
    /// None.
    pub fn wait_for<G: Guard>(&self, guard: G, timeout: Duration) -> Result<(G, bool), SyncError> {
        self.until(guard, after(timeout))
    }

    /// The same as a coroutine, for which a thread waits.
    ///
    /// # Errors
    ///
    /// None.
    ///
    /// # Cancel safety
    ///
    /// The lock is not held any more after a dropped call. A notification it had got is lost.
    pub async fn wait_async<G: Guard>(&self, guard: G) -> Result<G, SyncError> {
        let of = guard.of();
        let (monitor, seen) = (self.0.clone(), self.0.changes());
        drop(guard);
        blocking::unblock(move || monitor.sleep(seen, None)).await;
        G::take_async(of).await
    }

    fn until<G: Guard>(&self, guard: G, deadline: Option<Instant>) -> Result<(G, bool), SyncError> {
        let of = guard.of();
        let seen = self.0.changes();
        drop(guard);
        let told = self.0.sleep(seen, deadline);
        Ok((G::take(of)?, told))
    }

    /// Lets one go on that waits.
    pub fn notify_one(&self) {
        self.0.open_for(1);
    }

    /// Lets all go on that wait.
    pub fn notify_all(&self) {
        self.0.open_for(u32::MAX >> 1);
    }

    fn from_inner(monitor: Monitor) -> Self {
        Self(monitor)
    }
}

handle!(Condition[], PLAN, Monitor);

condition! { Condition, bytemuck::Pod:
    LockGuard [] of super::Lock;
    ValueGuard [T] of super::Value<T>;
    ArrayGuard [T] of super::Array<T>;
}
