//! Queues.
//!
//! What is put is encoded into shared memory, and decoded by who gets it. What is got stays there until it
//! is finished: so it is not lost with who has got it.

mod ends;
mod forms;
mod item;
mod layout;
mod line;
mod mend;
mod pipe;
mod shelf;
mod side;
mod slots;

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::forms::queue;
pub use self::item::Item;
use self::line::Order;
pub use self::pipe::{Pipe, pipe};
use self::shelf::{Shelf, plan};
use super::encoding::Encoded;
use super::gate::Attempt;
use super::monitor::after;
use super::named::{Handle, Shared};
use super::segment::{Address, Kind, shape};
use crate::{PutError, SyncError};

/// The item of a call that did not put it.
fn kept<T: Serialize>(put: Result<(), SyncError>, item: Encoded<T>) -> Result<(), PutError<T>> {
    put.map_err(|why| PutError {
        item: item.into_item(),
        why,
    })
}

/// An attempt that has its item for itself, as a coroutine must that moves between threads.
fn owning<'a, I, R>(item: &'a mut I, attempt: impl Fn(&I) -> R + 'a) -> impl FnMut() -> R + 'a {
    move || attempt(item)
}

/// Whether the item in a slot is less than that in another.
fn before<T: Ord + DeserializeOwned>(shelf: &Shelf, one: u32, other: u32) -> bool {
    let (one, other) = (shelf.read::<T>(one), shelf.read::<T>(other));
    // What cannot be read comes last, where it is told.
    matches!((one, other), (Ok(one), Ok(other)) if one < other)
}

queue! {
    /// A queue: what was put first is got first, in whatever process.
    ///
    /// ```
    /// use celeriac_sync::process::Queue;
    /// use std::thread;
    ///
    /// let orders = Queue::bounded(10)?;
    /// thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         for number in 1..=3 {
    ///             orders.put(number).unwrap();
    ///         }
    ///         orders.close();
    ///     });
    ///     let served: Vec<i32> = orders.iter().map(|order| *order).collect();
    ///     assert_eq!(served, [1, 2, 3]);
    /// });
    /// orders.join()?;
    /// # Ok::<(), celeriac_sync::SyncError>(())
    /// ```
    Queue [], Kind::Queue, Order::First
}

queue! {
    /// A queue whose newest item is got first.
    ///
    /// ```
    /// use celeriac_sync::process::LifoQueue;
    ///
    /// let plates = LifoQueue::unbounded()?;
    /// plates.put("lower".to_owned())?;
    /// plates.put("upper".to_owned())?;
    /// assert_eq!(*plates.get()?, "upper");
    /// # Ok::<(), celeriac_sync::SyncError>(())
    /// ```
    LifoQueue [], Kind::LifoQueue, Order::Last
}

queue! {
    /// A queue whose smallest item is got first; of equal ones any.
    ///
    /// ```
    /// use celeriac_sync::process::PriorityQueue;
    ///
    /// let patients = PriorityQueue::unbounded()?;
    /// patients.put((3, "cold".to_owned()))?;
    /// patients.put((1, "heart".to_owned()))?;
    /// assert_eq!(patients.get()?.1, "heart");
    /// # Ok::<(), celeriac_sync::SyncError>(())
    /// ```
    PriorityQueue [Ord], Kind::PriorityQueue, Order::Least(before::<T>)
}
