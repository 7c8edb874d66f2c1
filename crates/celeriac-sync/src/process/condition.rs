//! A condition.

use std::time::{Duration, Instant};

use super::handle::handle;
use super::monitor::{Monitor, STATE, after};
use super::segment::{Kind, Plan};
use super::{ArrayGuard, LockGuard, ValueGuard};
use crate::SyncError;

const PLAN: Plan = Plan {
    kind: Kind::Condition,
    shape: 0,
    words: STATE,
    recover: |_, _| {},
};

/// A guard that can be given back while its holder waits, and taken again.
pub trait Guard: Sized + sealed::Sealed {}

mod sealed {
    use crate::SyncError;

    pub trait Sealed: Sized {
        /// What is locked.
        type Of: Copy;

        fn of(&self) -> Self::Of;
        fn take(of: Self::Of) -> Result<Self, SyncError>;
        fn take_async(of: Self::Of) -> impl Future<Output = Result<Self, SyncError>>;
    }
}

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

    /// Waits as long as `holds` does of what is locked.
    ///
    /// # Errors
    ///
    /// None.
    pub fn wait_while<G: Guard>(
        &self,
        mut guard: G,
        mut holds: impl FnMut(&mut G) -> bool,
    ) -> Result<G, SyncError> {
        while holds(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// The same, no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`Timeout`](SyncError::Timeout) if `holds` still does then; the lock is given back.
    pub fn wait_while_for<G: Guard>(
        &self,
        mut guard: G,
        mut holds: impl FnMut(&mut G) -> bool,
        timeout: Duration,
    ) -> Result<G, SyncError> {
        let deadline = after(timeout);
        while holds(&mut guard) {
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(SyncError::Timeout);
            }
            guard = self.until(guard, deadline)?.0;
        }
        Ok(guard)
    }

    /// [`wait_while`](Self::wait_while) as a coroutine.
    ///
    /// # Errors
    ///
    /// None.
    ///
    /// # Cancel safety
    ///
    /// As [`wait_async`](Self::wait_async).
    pub async fn wait_while_async<G: Guard>(
        &self,
        mut guard: G,
        mut holds: impl FnMut(&mut G) -> bool,
    ) -> Result<G, SyncError> {
        while holds(&mut guard) {
            guard = self.wait_async(guard).await?;
        }
        Ok(guard)
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

/// Makes guards of `$of` such that conditions can give them back and take them again.
macro_rules! guard {
    ($guard:ident [$($param:ident)?] of $of:ty) => {
        impl<'a $(, $param: bytemuck::Pod)?> Guard for $guard<'a $(, $param)?> {}

        impl<'a $(, $param: bytemuck::Pod)?> sealed::Sealed for $guard<'a $(, $param)?> {
            type Of = &'a $of;

            fn of(&self) -> Self::Of {
                self.lock()
            }

            fn take(of: Self::Of) -> Result<Self, SyncError> {
                of.lock()
            }

            fn take_async(of: Self::Of) -> impl Future<Output = Result<Self, SyncError>> {
                of.lock_async()
            }
        }
    };
}

guard!(LockGuard [] of super::Lock);
guard!(ValueGuard [T] of super::Value<T>);
guard!(ArrayGuard [T] of super::Array<T>);
