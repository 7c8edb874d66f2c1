//! What an array and a list have in common.

/// Writes what is asked of single items.
macro_rules! items {
    ($item:ident) => {
        /// How many items it has.
        ///
        /// # Errors
        ///
        /// [`Unreachable`](crate::SyncError::Unreachable).
        pub fn len(&self) -> Result<usize, $crate::SyncError> {
            self.shared.use_data(super::state::Ask::Len)?.number()
        }

        /// Whether it has no item.
        ///
        /// # Errors
        ///
        /// As [`len`](Self::len).
        pub fn is_empty(&self) -> Result<bool, $crate::SyncError> {
            Ok(self.len()? == 0)
        }

        /// A copy of one item.
        ///
        /// # Errors
        ///
        /// [`OutOfRange`](crate::SyncError::OutOfRange), and as [`lock`](Self::lock).
        pub fn get(&self, index: usize) -> Result<$item, $crate::SyncError> {
            self.item(super::state::Ask::At(index as u64))
        }

        /// Puts `item` in a place, and gives the one before.
        ///
        /// # Errors
        ///
        /// [`OutOfRange`](crate::SyncError::OutOfRange),
        /// [`Encoding`](crate::SyncError::Encoding), and as [`lock`](Self::lock).
        pub fn set(&self, index: usize, item: $item) -> Result<$item, $crate::SyncError> {
            let item = super::codec::encode(&item)?;
            self.item(super::state::Ask::Put(index as u64, item))
        }

        fn item(&self, ask: super::state::Ask) -> Result<$item, $crate::SyncError> {
            let bytes = self.shared.use_data(ask)?.bytes()?;
            super::codec::decode(&bytes.ok_or($crate::SyncError::Gone)?)
        }
    };
}
pub(super) use items;
