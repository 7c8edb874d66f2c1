//! A guard of all that is in a dictionary or a list.

/// Writes the four forms of taking the lock of `$name`, and the guard.
macro_rules! guard {
    ($name:ident<$($param:ident: [$($bound:path),+]),+>, $guard:ident, $data:ty, $slice:ty) => {
        impl<$($param: Serialize + DeserializeOwned $(+ $bound)+),+> $name<$($param),+> {
            /// Takes the lock, and with it a copy of all that is in it, which is put back when the guard is
            /// dropped, if it was changed.
            ///
            /// # Errors
            ///
            /// [`Encoding`](SyncError::Encoding) if what is in it cannot be read.
            pub fn lock(&self) -> Result<$guard<'_, $($param),+>, SyncError> {
                self.until(None)
            }

            /// [`lock`](Self::lock), but no longer than `timeout`.
            ///
            /// # Errors
            ///
            /// [`Timeout`](SyncError::Timeout), and as there.
            pub fn lock_for(&self, timeout: Duration) -> Result<$guard<'_, $($param),+>, SyncError> {
                self.until(after(timeout))
            }

            /// [`lock`](Self::lock), but without waiting.
            ///
            /// # Errors
            ///
            /// [`Busy`](SyncError::Busy) if it is held, and as there.
            pub fn try_lock(&self) -> Result<$guard<'_, $($param),+>, SyncError> {
                let turn = Turn::take(&self.0.segment).ok_or(SyncError::Busy)?;
                self.guard(turn)
            }

            /// [`lock`](Self::lock), as a coroutine, for which a thread waits.
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Cancel safety
            ///
            /// Safe: what a dropped call still gets it gives back at once.
            pub async fn lock_async(&self) -> Result<$guard<'_, $($param),+>, SyncError> {
                let turn = match Turn::take(&self.0.segment) {
                    Some(turn) => turn,
                    None => Turn::come(self.0.segment.clone()).await?,
                };
                self.guard(turn)
            }

            fn until(
                &self,
                deadline: Option<Instant>,
            ) -> Result<$guard<'_, $($param),+>, SyncError> {
                self.guard(Turn::wait(&self.0.segment, deadline)?)
            }

            fn guard(&self, turn: Turn) -> Result<$guard<'_, $($param),+>, SyncError> {
                let recovered = turn.recovered();
                if recovered {
                    self.0.recover();
                }
                let data = self.load()?;
                Ok($guard { of: self, data, changed: false, recovered, turn })
            }
        }

        impl<$($param),+> Clone for $name<$($param),+> {
            fn clone(&self) -> Self {
                Self(self.0.clone(), PhantomData)
            }
        }

        impl<$($param),+> Shared for $name<$($param),+> {}

        impl<$($param),+> Handle for $name<$($param),+> {
            fn address(&self) -> Address {
                self.0.segment.address()
            }

            fn open(address: Address) -> Result<Self, SyncError> {
                Ok(Self(Store::open(address, Self::plan(), walk)?, PhantomData))
            }
        }

        impl<$($param),+> Serialize for $name<$($param),+> {
            /// As an address that other processes of this user on this machine can open, for as long as
            /// this one keeps what it names.
            fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
                self.0.segment.address().serialize(serializer)
            }
        }

        impl<'de, $($param),+> Deserialize<'de> for $name<$($param),+> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let address = Deserialize::deserialize(deserializer)?;
                Self::open(address).map_err(serde::de::Error::custom)
            }
        }

        #[doc = concat!("Holds a [`", stringify!($name), "`] until it is dropped.")]
        ///
        /// If memory is too short to put back what was changed, all stays as it was, and the next guard says
        /// `recovered()`; [`put_back`](Self::put_back) tells it here.
        #[must_use = "it is given back at once if nobody keeps the guard"]
        pub struct $guard<'a, $($param: Serialize + DeserializeOwned $(+ $bound)+),+> {
            of: &'a $name<$($param),+>,
            data: $data,
            changed: bool,
            recovered: bool,
            turn: Turn,
        }

        impl<$($param: Serialize + DeserializeOwned $(+ $bound)+),+> $guard<'_, $($param),+> {
            /// Whether the holder before died or panicked, or could not put back what it had changed. What
            /// is here is as it was before that.
            pub fn recovered(&self) -> bool {
                self.recovered
            }

            /// Puts back what was changed, all at once, and gives the lock back. The same as dropping the
            /// guard, for those who want to know of errors.
            ///
            /// # Errors
            ///
            /// [`NoMemory`](SyncError::NoMemory), [`TooLarge`](SyncError::TooLarge) and
            /// [`Encoding`](SyncError::Encoding); nothing has changed then.
            pub fn put_back(mut self) -> Result<(), SyncError> {
                if std::mem::take(&mut self.changed) {
                    self.of.store(&self.data)?;
                }
                Ok(())
            }
        }

        impl<$($param: Serialize + DeserializeOwned $(+ $bound)+),+> Deref for $guard<'_, $($param),+> {
            type Target = $slice;

            fn deref(&self) -> &$slice {
                &self.data
            }
        }

        impl<$($param: Serialize + DeserializeOwned $(+ $bound)+),+> DerefMut
            for $guard<'_, $($param),+>
        {
            fn deref_mut(&mut self) -> &mut $slice {
                self.changed = true;
                &mut self.data
            }
        }

        impl<$($param: Serialize + DeserializeOwned $(+ $bound)+),+> Drop for $guard<'_, $($param),+> {
            fn drop(&mut self) {
                // What a holder that panicked had changed so far is not what it meant to.
                if self.changed && !std::thread::panicking() && self.of.store(&self.data).is_err() {
                    self.turn.abandon();
                }
            }
        }

        impl<$($param: Serialize + DeserializeOwned $(+ $bound)+),+> fmt::Debug
            for $guard<'_, $($param),+>
        where
            $data: fmt::Debug,
        {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                let name = stringify!($guard);
                formatter.debug_tuple(name).field(&self.data).finish()
            }
        }
    };
}
pub(super) use guard;
