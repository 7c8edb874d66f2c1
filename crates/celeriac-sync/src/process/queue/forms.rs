//! The three kinds of queue in their forms, which differ in their order only.

/// Writes a kind of queue.
macro_rules! queue {
    ($(#[$doc:meta])* $name:ident [$($bound:path),*], $kind:expr, $order:expr) => {
        $(#[$doc])*
        pub struct $name<T>(Shelf, PhantomData<fn(T) -> T>);

        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                Self(self.0.clone(), PhantomData)
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter
                    .debug_struct(stringify!($name))
                    .field("len", &self.0.len())
                    .field("open", &self.0.open_items())
                    .field("closed", &self.0.is_closed())
                    .finish()
            }
        }

        impl<T: Serialize + DeserializeOwned $(+ $bound)*> $name<T> {
            /// A queue for at most so many items, and for one at least.
            ///
            /// # Errors
            ///
            /// [`NoMemory`](SyncError::NoMemory), and [`TooMany`](SyncError::TooMany) if they are more than 2²².
            pub fn bounded(capacity: usize) -> Result<Self, SyncError> {
                Self::create($kind, capacity.min(usize::MAX - 1))
            }

            /// A queue that grows, up to 2²² items which take up to 4 GiB.
            ///
            /// # Errors
            ///
            /// [`NoMemory`](SyncError::NoMemory).
            pub fn unbounded() -> Result<Self, SyncError> {
                Self::create($kind, usize::MAX)
            }

            fn create(kind: Kind, capacity: usize) -> Result<Self, SyncError> {
                let shelf = Shelf::create(plan(kind, shape::<T>()), $order, capacity)?;
                Ok(Self(shelf, PhantomData))
            }

            fn open_as(kind: Kind, address: Address) -> Result<Self, SyncError> {
                let shelf = Shelf::open(address, plan(kind, shape::<T>()), $order)?;
                Ok(Self(shelf, PhantomData))
            }

            /// Puts an item, and waits for room if there is none.
            ///
            /// # Errors
            ///
            /// [`Closed`](SyncError::Closed), [`NoMemory`](SyncError::NoMemory) if there is no memory for it,
            /// [`TooLarge`](SyncError::TooLarge) if it takes more than 1 GiB, and
            /// [`Encoding`](SyncError::Encoding) if it cannot be encoded; with the item.
            pub fn put(&self, item: T) -> Result<(), PutError<T>> {
                let item = Encoded::of(item)?;
                let put = self.0.emptied_gate().wait(None, || self.0.put(&item));
                kept(put, item)
            }

            /// [`put`](Self::put), but no longer than `timeout`.
            ///
            /// # Errors
            ///
            /// [`Timeout`](SyncError::Timeout), and as there.
            pub fn put_for(&self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
                let item = Encoded::of(item)?;
                let gate = self.0.emptied_gate();
                let put = gate.wait(after(timeout), || self.0.put(&item));
                kept(put, item)
            }

            /// [`put`](Self::put), but without waiting.
            ///
            /// # Errors
            ///
            /// [`Busy`](SyncError::Busy) if it is full, and as there.
            pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
                let item = Encoded::of(item)?;
                let put = self.0.put(&item).unwrap_or(Err(SyncError::Busy));
                kept(put, item)
            }

            /// [`put`](Self::put), as a coroutine, for which a thread waits.
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Cancel safety
            ///
            /// The item of a dropped call is dropped with it, and not put.
            pub async fn put_async(&self, item: T) -> Result<(), PutError<T>> {
                let mut item = Encoded::of(item)?;
                let attempt = owning(&mut item, |item| self.0.put(item));
                let put = self.0.emptied_gate().wait_async(attempt).await;
                kept(put, item)
            }

            /// Gets an item, and waits for one if there is none.
            ///
            /// # Errors
            ///
            /// [`Closed`](SyncError::Closed) if it is closed and empty, and [`Encoding`](SyncError::Encoding) if
            /// what it had was no such item, which is gone then.
            pub fn get(&self) -> Result<Item<'_, T>, SyncError> {
                let slot = self.0.filled_gate().wait(None, || self.0.take())?;
                self.item(slot)
            }

            /// [`get`](Self::get), but no longer than `timeout`.
            ///
            /// # Errors
            ///
            /// [`Timeout`](SyncError::Timeout), and as there.
            pub fn get_for(&self, timeout: Duration) -> Result<Item<'_, T>, SyncError> {
                let gate = self.0.filled_gate();
                let slot = gate.wait(after(timeout), || self.0.take())?;
                self.item(slot)
            }

            /// [`get`](Self::get), but without waiting.
            ///
            /// # Errors
            ///
            /// [`Busy`](SyncError::Busy) if it is empty, and as there.
            pub fn try_get(&self) -> Result<Item<'_, T>, SyncError> {
                let slot = self.0.take().unwrap_or(Err(SyncError::Busy))?;
                self.item(slot)
            }

            /// [`get`](Self::get), as a coroutine, for which a thread waits.
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Cancel safety
            ///
            /// Safe: a dropped call has taken nothing.
            pub async fn get_async(&self) -> Result<Item<'_, T>, SyncError> {
                let gate = self.0.filled_gate();
                let slot = gate.wait_async(|| self.0.take()).await?;
                self.item(slot)
            }

            fn item(&self, slot: u32) -> Result<Item<'_, T>, SyncError> {
                let item = self.0.read(slot).inspect_err(|_| self.0.finish(slot))?;
                Ok(Item::new(item, &self.0, slot))
            }

            /// Waits until every item that was put is finished.
            ///
            /// # Errors
            ///
            /// None.
            pub fn join(&self) -> Result<(), SyncError> {
                self.0.completed_gate().wait(None, || self.completed())
            }

            /// [`join`](Self::join), but no longer than `timeout`.
            ///
            /// # Errors
            ///
            /// [`Timeout`](SyncError::Timeout).
            pub fn join_for(&self, timeout: Duration) -> Result<(), SyncError> {
                let gate = self.0.completed_gate();
                gate.wait(after(timeout), || self.completed())
            }

            /// [`join`](Self::join), but without waiting.
            ///
            /// # Errors
            ///
            /// [`Busy`](SyncError::Busy) if it would have to wait.
            pub fn try_join(&self) -> Result<(), SyncError> {
                self.completed().unwrap_or(Err(SyncError::Busy))
            }

            /// [`join`](Self::join), as a coroutine, for which a thread waits.
            ///
            /// # Errors
            ///
            /// None.
            ///
            /// # Cancel safety
            ///
            /// Safe.
            pub async fn join_async(&self) -> Result<(), SyncError> {
                let gate = self.0.completed_gate();
                gate.wait_async(|| self.completed()).await
            }

            fn completed(&self) -> Attempt<()> {
                (self.0.open_items() == 0).then_some(Ok(()))
            }

            /// Lets nothing more in. What is in it can still be got.
            pub fn close(&self) {
                self.0.close();
            }

            /// Items got until it is closed and empty, waiting for each. It ends too at one that cannot be
            /// read.
            pub fn iter(&self) -> impl Iterator<Item = Item<'_, T>> {
                std::iter::from_fn(|| self.get().ok())
            }

            /// How many items are in it.
            pub fn len(&self) -> usize {
                self.0.len()
            }

            /// Whether no item is in it.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// How many items it has room for in all.
            pub fn capacity(&self) -> Option<usize> {
                self.0.capacity()
            }
        }

        impl<T: Serialize + DeserializeOwned $(+ $bound)*> Shared for $name<T> {}

        impl<T: Serialize + DeserializeOwned $(+ $bound)*> Handle for $name<T> {
            fn address(&self) -> Address {
                self.0.address()
            }

            fn open(address: Address) -> Result<Self, SyncError> {
                Self::open_as($kind, address)
            }
        }

        impl<T> Serialize for $name<T> {
            /// As an address that other processes of this user on this machine can open, for as long as
            /// this one keeps what it names.
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.address().serialize(serializer)
            }
        }

        impl<'de, T: Serialize + DeserializeOwned $(+ $bound)*> Deserialize<'de> for $name<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let address = Deserialize::deserialize(deserializer)?;
                Self::open_as($kind, address).map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(super) use queue;
