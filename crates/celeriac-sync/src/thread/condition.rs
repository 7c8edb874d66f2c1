//! A condition.

use std::sync::Arc;
use std::time::{Duration, Instant};

use event_listener::{Event, IntoNotification as _, Listener as _, listener};

use super::{ArrayGuard, LockGuard, ValueGuard};
use crate::SyncError;

/// A guard that can be given back while its holder waits, and taken again.
pub trait Guard: Sized + sealed::Sealed {}

mod sealed {
    use crate::SyncError;

    pub trait Sealed: Sized {
        /// What is locked.
        type Of: Copy;

        fn of(&self) -> Self::Of;
        fn take(of: Self::Of) -> Result<Self, SyncError>;
        fn take_async(of: Self::Of) -> impl Future<Output = Result<Self, SyncError>> + Send;
    }
}

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

    /// Waits as long as `holds` does of what is locked.
    ///
    /// # Errors
    ///
    /// None in this scope.
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
        let start = Instant::now();
        while holds(&mut guard) {
            let Some(left) = timeout.checked_sub(start.elapsed()) else {
                return Err(SyncError::Timeout);
            };
            guard = self.wait_for(guard, left)?.0;
        }
        Ok(guard)
    }

    /// [`wait_while`](Self::wait_while) as a coroutine.
    ///
    /// # Errors
    ///
    /// None in this scope.
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

    /// Lets one go on that waits, the one that has waited longest.
    pub fn notify_one(&self) {
        self.0.notify(1.additional());
    }

    /// Lets all go on that wait.
    pub fn notify_all(&self) {
        self.0.notify(usize::MAX);
    }
}

/// Makes guards of `$of` such that conditions can give them back and take them again.
macro_rules! guard {
    ($guard:ident [$($param:ident)?] of $of:ty) => {
        impl<'a $(, $param: Send)?> Guard for $guard<'a $(, $param)?> {}

        impl<'a $(, $param: Send)?> sealed::Sealed for $guard<'a $(, $param)?> {
            type Of = &'a $of;

            fn of(&self) -> Self::Of {
                self.lock()
            }

            fn take(of: Self::Of) -> Result<Self, SyncError> {
                of.lock()
            }

            fn take_async(of: Self::Of) -> impl Future<Output = Result<Self, SyncError>> + Send {
                of.lock_async()
            }
        }
    };
}

guard!(LockGuard [] of super::Lock);
guard!(ValueGuard [T] of super::Value<T>);
guard!(ArrayGuard [T] of super::Array<T>);
