//! What the conditions of both scopes have in common.

/// Writes for `$condition`, which has `wait`, `wait_for` and `wait_async`, how it waits for a state, and
/// makes guards that it can give back and take again. What they guard is `$bound`.
macro_rules! condition {
    ($condition:ident, $bound:path: $($guard:ident [$($param:ident)?] of $of:ty;)+) => {
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

        impl $condition {
            /// Waits as long as `holds` does of what is locked.
            ///
            /// # Errors
            ///
            /// As [`wait`](Self::wait).
            pub fn wait_while<G: Guard>(
                &self,
                mut guard: G,
                mut holds: impl FnMut(&mut G) -> bool,
            ) -> Result<G, $crate::SyncError> {
                while holds(&mut guard) {
                    guard = self.wait(guard)?;
                }
                Ok(guard)
            }

            /// The same, no longer than `timeout`.
            ///
            /// # Errors
            ///
            /// [`Timeout`](crate::SyncError::Timeout) if `holds` still does then; the lock is given back.
            pub fn wait_while_for<G: Guard>(
                &self,
                mut guard: G,
                mut holds: impl FnMut(&mut G) -> bool,
                timeout: std::time::Duration,
            ) -> Result<G, $crate::SyncError> {
                let start = std::time::Instant::now();
                while holds(&mut guard) {
                    let Some(left) = timeout.checked_sub(start.elapsed()) else {
                        return Err($crate::SyncError::Timeout);
                    };
                    guard = self.wait_for(guard, left)?.0;
                }
                Ok(guard)
            }

            /// [`wait_while`](Self::wait_while) as a coroutine.
            ///
            /// # Errors
            ///
            /// As [`wait`](Self::wait).
            ///
            /// # Cancel safety
            ///
            /// As [`wait_async`](Self::wait_async).
            pub async fn wait_while_async<G: Guard>(
                &self,
                mut guard: G,
                mut holds: impl FnMut(&mut G) -> bool,
            ) -> Result<G, $crate::SyncError> {
                while holds(&mut guard) {
                    guard = self.wait_async(guard).await?;
                }
                Ok(guard)
            }
        }

        $(
            impl<'a $(, $param: $bound)?> Guard for $guard<'a $(, $param)?> {}

            impl<'a $(, $param: $bound)?> sealed::Sealed for $guard<'a $(, $param)?> {
                type Of = &'a $of;

                fn of(&self) -> Self::Of {
                    self.lock()
                }

                fn take(of: Self::Of) -> Result<Self, $crate::SyncError> {
                    of.lock()
                }

                fn take_async(
                    of: Self::Of,
                ) -> impl Future<Output = Result<Self, $crate::SyncError>> {
                    of.lock_async()
                }
            }
        )+
    };
}
pub(crate) use condition;
