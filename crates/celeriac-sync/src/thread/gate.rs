//! Where those wait whose turn has not come.

use std::time::{Duration, Instant};

use event_listener::{Event, IntoNotification as _, Listener as _, listener};

use crate::SyncError;

/// What one try gave: nothing yet, or the end of waiting.
pub(super) type Attempt<T> = Option<Result<T, SyncError>>;

/// See the module.
///
/// Whoever waits tries again each time the gate opens, and takes its place before its last try: an
/// opening between that try and the waiting is not lost.
#[derive(Debug)]
pub(super) struct Gate(Event);

impl Gate {
    pub(super) const fn new() -> Self {
        Self(Event::new())
    }

    /// Lets one try again. Who was let through and needs it no more lets the next one through.
    pub(super) fn open_for_one(&self) {
        self.0.notify(1.additional());
    }

    /// Lets all try again.
    pub(super) fn open(&self) {
        self.0.notify(usize::MAX);
    }

    /// Tries until it is done.
    pub(super) fn wait<T>(&self, attempt: impl FnMut() -> Attempt<T>) -> Result<T, SyncError> {
        self.wait_until(None, attempt)
    }

    /// Tries until it is done, or so long has passed.
    pub(super) fn wait_for<T>(
        &self,
        timeout: Duration,
        attempt: impl FnMut() -> Attempt<T>,
    ) -> Result<T, SyncError> {
        // A time that cannot be told never comes.
        self.wait_until(Instant::now().checked_add(timeout), attempt)
    }

    fn wait_until<T>(
        &self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut() -> Attempt<T>,
    ) -> Result<T, SyncError> {
        loop {
            if let Some(done) = attempt() {
                return done;
            }
            listener!(self.0 => listener);
            if let Some(done) = attempt() {
                return done;
            }
            match deadline {
                None => listener.wait(),
                Some(deadline) => {
                    if listener.wait_deadline(deadline).is_none() {
                        return attempt().unwrap_or(Err(SyncError::Timeout));
                    }
                }
            }
        }
    }

    /// Tries until it is done, as a coroutine. Cancel safe if an attempt that gives nothing leaves
    /// nothing behind.
    pub(super) async fn wait_async<T>(
        &self,
        mut attempt: impl FnMut() -> Attempt<T>,
    ) -> Result<T, SyncError> {
        loop {
            if let Some(done) = attempt() {
                return done;
            }
            listener!(self.0 => listener);
            if let Some(done) = attempt() {
                return done;
            }
            listener.await;
        }
    }
}

/// What one try gave, for those who do not wait.
pub(super) fn at_once<T>(attempt: Attempt<T>) -> Result<T, SyncError> {
    attempt.unwrap_or(Err(SyncError::Busy))
}

/// Writes the four forms of waiting: as long as it takes, so long, not at all, as a coroutine.
macro_rules! forms {
    (
        $(#[$doc:meta])*
        $wait:ident, $wait_for:ident, $try_now:ident, $wait_async:ident
        ($this:ident $(, $arg:ident : $kind:ty)*) -> $gives:ty,
        $gate:expr => $attempt:expr
    ) => {
        $(#[$doc])*
        pub fn $wait(&$this $(, $arg: $kind)*) -> Result<$gives, $crate::SyncError> {
            $gate.wait(|| $attempt)
        }

        #[doc = concat!("[`", stringify!($wait), "`](Self::", stringify!($wait), "), but no longer than `timeout`.")]
        ///
        /// # Errors
        ///
        /// [`Timeout`](crate::SyncError::Timeout), and as there.
        pub fn $wait_for(
            &$this $(, $arg: $kind)*,
            timeout: std::time::Duration,
        ) -> Result<$gives, $crate::SyncError> {
            $gate.wait_for(timeout, || $attempt)
        }

        #[doc = concat!("[`", stringify!($wait), "`](Self::", stringify!($wait), "), but without waiting.")]
        ///
        /// # Errors
        ///
        /// [`Busy`](crate::SyncError::Busy) if it would have to wait, and as there.
        pub fn $try_now(&$this $(, $arg: $kind)*) -> Result<$gives, $crate::SyncError> {
            super::gate::at_once($attempt)
        }

        #[doc = concat!("[`", stringify!($wait), "`](Self::", stringify!($wait), "), as a coroutine.")]
        ///
        /// # Errors
        ///
        /// As there.
        ///
        /// # Cancel safety
        ///
        /// Safe: a dropped call has taken nothing.
        pub async fn $wait_async(&$this $(, $arg: $kind)*) -> Result<$gives, $crate::SyncError> {
            $gate.wait_async(|| $attempt).await
        }
    };
}
pub(super) use forms;
