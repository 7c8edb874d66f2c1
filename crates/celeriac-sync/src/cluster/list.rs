//! A list.

use std::marker::PhantomData;

use super::codec::{Shareable, decode, encode};
use super::guarded::{Content as _, guarded};
use super::handle::{handle, makers};
use super::items::items;
use super::place::Cluster;
use super::session::Shared;
use super::state::Ask;
use crate::SyncError;

/// Items in an order, under one lock, for all machines that know it.
///
/// ```
/// use celeriac_sync::cluster::{Cluster, List};
///
/// let shop = Cluster::connect("memory:shop")?;
/// let names = List::new_in(&shop)?;
/// names.push("Ada".to_owned())?;
/// names.push("Grace".to_owned())?;
/// assert_eq!(names.get(1)?, "Grace");
/// assert_eq!(names.pop()?.as_deref(), Some("Grace"));
/// assert_eq!(names.items()?, ["Ada"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct List<T> {
    shared: Shared,
    place: Cluster,
    items: PhantomData<fn(T) -> T>,
}

handle!(List[T], List);
guarded!(List, ListGuard [T: Shareable] Vec<T> => Vec<T>, |items| items, |items| items);

impl<T: Shareable> List<T> {
    makers!("A list without items", "The list", 0);

    /// Adds an item at the end.
    ///
    /// # Errors
    ///
    /// [`Encoding`](SyncError::Encoding), and [`Unreachable`](SyncError::Unreachable).
    #[expect(clippy::needless_pass_by_value, reason = "as in the other scopes")]
    pub fn push(&self, item: T) -> Result<(), SyncError> {
        self.shared.use_data(Ask::Push(encode(&item)?)).map(drop)
    }

    /// Removes the last item.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock).
    pub fn pop(&self) -> Result<Option<T>, SyncError> {
        let bytes = self.shared.use_data(Ask::Pop)?.bytes()?;
        bytes.as_ref().map(decode).transpose()
    }

    items!(T);

    /// Puts `item` before the one at `index`, or at the end if that is the length.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`](SyncError::OutOfRange), and as [`push`](Self::push).
    #[expect(clippy::needless_pass_by_value, reason = "as in the other scopes")]
    pub fn insert(&self, index: usize, item: T) -> Result<(), SyncError> {
        let ask = Ask::Insert(index as u64, encode(&item)?);
        self.shared.use_data(ask).map(drop)
    }

    /// Takes one item out.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`](SyncError::OutOfRange), and as [`lock`](Self::lock).
    pub fn remove(&self, index: usize) -> Result<T, SyncError> {
        self.item(Ask::Remove(index as u64))
    }

    /// Copies of all items as they were at one moment.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock).
    pub fn items(&self) -> Result<Vec<T>, SyncError> {
        Vec::decode(self.shared.use_data(Ask::All)?.data()?)
    }
}
