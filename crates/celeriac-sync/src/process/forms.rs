//! The four forms of waiting on a monitor.

/// Writes them: as long as it takes, so long, not at all, as a coroutine.
///
/// `$attempt` is a function of the type that takes the state and gives an attempt at a token; a token owns
/// what was taken until it is made what is given.
macro_rules! forms {
    (
        $(#[$doc:meta])*
        $wait:ident, $wait_for:ident, $try_now:ident, $wait_async:ident -> $gives:ty,
        $token:ty: $attempt:ident, $give:ident
    ) => {
        $(#[$doc])*
        pub fn $wait(&self) -> Result<$gives, $crate::SyncError> {
            let token = self.monitor().wait(None, |state| self.$attempt(state))?;
            Ok(self.$give(token))
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
            let deadline = super::monitor::after(timeout);
            let token = self.monitor().wait(deadline, |state| self.$attempt(state))?;
            Ok(self.$give(token))
        }

        #[doc = concat!("[`", stringify!($wait), "`](Self::", stringify!($wait), "), but without waiting.")]
        ///
        /// # Errors
        ///
        /// [`Busy`](crate::SyncError::Busy) if it would have to wait, and as there.
        pub fn $try_now(&self) -> Result<$gives, $crate::SyncError> {
            let token = self.monitor().with(|state| self.$attempt(state));
            Ok(self.$give(token.unwrap_or(Err($crate::SyncError::Busy))?))
        }

        #[doc = concat!("[`", stringify!($wait), "`](Self::", stringify!($wait), "), as a coroutine, for which a thread waits.")]
        ///
        /// # Errors
        ///
        /// As there.
        ///
        /// # Cancel safety
        ///
        /// Safe: what a dropped call still gets it gives back at once.
        pub async fn $wait_async(&self) -> Result<$gives, $crate::SyncError> {
            let quick = self.monitor().with(|state| self.$attempt(state));
            let token: $token = match quick {
                Some(token) => token?,
                None => {
                    let this = self.clone();
                    let wait = move || this.monitor().wait(None, |state| this.$attempt(state));
                    blocking::unblock(wait).await?
                }
            };
            Ok(self.$give(token))
        }
    };
}
pub(super) use forms;
