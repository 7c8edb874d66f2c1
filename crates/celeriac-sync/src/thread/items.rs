//! What an array and a list have in common.

use crate::SyncError;

/// Writes what is asked of single items.
macro_rules! items {
    ($item:ident) => {
        /// How many items it has.
        ///
        /// # Errors
        ///
        /// None in this scope.
        pub fn len(&self) -> Result<usize, $crate::SyncError> {
            Ok(self.lock()?.len())
        }

        /// Whether it has no item.
        ///
        /// # Errors
        ///
        /// None in this scope.
        pub fn is_empty(&self) -> Result<bool, $crate::SyncError> {
            Ok(self.len()? == 0)
        }

        /// A copy of one item.
        ///
        /// # Errors
        ///
        /// [`OutOfRange`](crate::SyncError::OutOfRange).
        pub fn get(&self, index: usize) -> Result<$item, $crate::SyncError>
        where
            $item: Clone,
        {
            let items = self.lock()?;
            items
                .get(index)
                .cloned()
                .ok_or_else(|| $crate::thread::items::outside(index, &items))
        }

        /// Puts `item` in a place, and gives the one before.
        ///
        /// # Errors
        ///
        /// [`OutOfRange`](crate::SyncError::OutOfRange).
        pub fn set(&self, index: usize, item: $item) -> Result<$item, $crate::SyncError> {
            let mut items = self.lock()?;
            match items.get_mut(index) {
                Some(place) => Ok(std::mem::replace(place, item)),
                None => Err($crate::thread::items::outside(index, &items)),
            }
        }
    };
}
pub(super) use items;

/// That `index` is none of `items`.
pub(super) fn outside<T>(index: usize, items: &[T]) -> SyncError {
    let len = items.len();
    SyncError::OutOfRange { index, len }
}
