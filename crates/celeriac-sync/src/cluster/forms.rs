//! The four forms of waiting at a place.

use std::time::{Duration, Instant};

/// The end of a wait; a time that cannot be told never comes.
pub(super) fn after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

/// Writes them: as long as it takes, so long, not at all, as a coroutine.
///
/// `$op` is what is asked of the object, and `$give` a function of the type that makes of the answer what
/// is given.
macro_rules! forms {
    (
        $(#[$doc:meta])*
        $wait:ident, $wait_for:ident, $try_now:ident, $wait_async:ident -> $gives:ty,
        $op:expr => $give:ident
    ) => {
        $(#[$doc])*
        pub fn $wait(&self) -> Result<$gives, $crate::SyncError> {
            self.$give(self.shared.ask($op, None)?)
        }

        #[doc = concat!("[`", stringify!($wait), "`](Self::", stringify!($wait), "), but no longer than `timeout`.")]
        ///
        /// # Errors
        ///
        /// [`Timeout`](crate::SyncError::Timeout), and as there.
        pub fn $wait_for(
            &self,
            timeout: std::time::Duration,
        ) -> Result<$gives, $crate::SyncError> {
            let deadline = super::forms::after(timeout);
            self.$give(self.shared.ask($op, deadline)?)
        }

        #[doc = concat!("[`", stringify!($wait), "`](Self::", stringify!($wait), "), but without waiting for others.")]
        ///
        /// # Errors
        ///
        /// [`Busy`](crate::SyncError::Busy) if it would have to wait, and as there.
        pub fn $try_now(&self) -> Result<$gives, $crate::SyncError> {
            self.$give(self.shared.ask_now($op)?)
        }

        #[doc = concat!("[`", stringify!($wait), "`](Self::", stringify!($wait), "), as a coroutine.")]
        ///
        /// # Errors
        ///
        /// As there.
        ///
        /// # Cancel safety
        ///
        /// Safe: what a dropped call still gets is given back at once.
        pub async fn $wait_async(&self) -> Result<$gives, $crate::SyncError> {
            self.$give(self.shared.ask_async($op).await?)
        }
    };
}
pub(super) use forms;
