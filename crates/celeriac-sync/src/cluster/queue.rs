//! Queues.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::codec::{Shareable, decode, encode};
use super::forms::{after, forms};
use super::handle::handle;
use super::place::Cluster;
use super::rank::rank;
use super::session::{Answered, Shared};
use super::stake::{Stake, held};
use super::state::Op;
use crate::{PutError, SyncError};

/// An item that was got, and is finished when this is dropped; or given back, if the thread panics.
///
/// If the process dies, or is stopped for longer than its lease, it is given out again.
#[must_use = "the item is finished at once if nobody keeps it"]
pub struct Item<T> {
    item: Option<T>,
    stake: Stake,
}

impl<T> Item<T> {
    held!();

    /// Takes the item out, and finishes it.
    #[expect(
        clippy::missing_panics_doc,
        reason = "it is here until it is taken out"
    )]
    pub fn into_inner(mut self) -> T {
        self.item.take().expect("it is here until it is taken out")
    }

    /// Says that it is finished; so does dropping it.
    pub fn task_done(self) {
        drop(self);
    }

    /// Says that it is finished, and tells whether it was not given out again meanwhile.
    ///
    /// # Errors
    ///
    /// [`Lost`](SyncError::Lost) if the lease ran out, and [`Unreachable`](SyncError::Unreachable).
    pub fn finish(mut self) -> Result<(), SyncError> {
        let of = self.stake.ticket();
        self.stake.finish(Op::Finish { of }).map(drop)
    }

    /// [`finish`](Self::finish), as a coroutine.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// None: after a dropped call it is finished or it is given out again.
    pub async fn finish_async(mut self) -> Result<(), SyncError> {
        let of = self.stake.ticket();
        self.stake.finish_async(Op::Finish { of }).await.map(drop)
    }

    /// Puts it back, as the next one to be got.
    pub fn give_back(mut self) {
        let of = self.stake.ticket();
        self.stake.give_back(Op::GiveBack { of });
    }
}

impl<T> Deref for Item<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.item
            .as_ref()
            .expect("it is here until it is taken out")
    }
}

impl<T: fmt::Debug> fmt::Debug for Item<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Item").field(&self.item).finish()
    }
}

impl<T> Drop for Item<T> {
    fn drop(&mut self) {
        let of = self.stake.ticket();
        self.stake.give_back(if std::thread::panicking() {
            Op::GiveBack { of }
        } else {
            Op::Finish { of }
        });
    }
}

/// What an item is that was got with an answer. One that cannot be decoded goes back.
pub(super) fn item_of<T: Shareable>(
    shared: &Shared,
    answered: Answered,
) -> Result<Item<T>, SyncError> {
    let (mut stake, reply) = Stake::of(shared, answered)?;
    let decoded = reply
        .bytes()
        .and_then(|bytes| decode(&bytes.ok_or(SyncError::Gone)?));
    match decoded {
        Ok(item) => Ok(Item {
            item: Some(item),
            stake,
        }),
        Err(error) => {
            let of = stake.ticket();
            stake.give_back(Op::GiveBack { of });
            Err(error)
        }
    }
}

/// How an item is put, as it and its place in the order are encoded.
pub(super) fn put_op<T: Shareable>(item: &T, rank: Bytes) -> Result<Op, SyncError> {
    let item = encode(item)?;
    Ok(Op::Put { item, rank })
}

pub(super) fn kept<T, R>(put: Result<R, SyncError>, item: T) -> Result<(), PutError<T>> {
    put.map(drop).map_err(|why| PutError { item, why })
}

/// Writes the three kinds of queue, which differ in their order only.
macro_rules! queue {
    ($(#[$doc:meta])* $name:ident<T: $bound:path>, $rank:expr) => {
        $(#[$doc])*
        pub struct $name<T> {
            shared: Shared,
            place: Cluster,
            items: PhantomData<fn(T) -> T>,
        }

        handle!($name[T], $name);

        impl<T: $bound> $name<T> {
            /// A queue for at most so many items, and for one at least, at the place that the variable
            /// `CELERIAC_CLUSTER` names.
            ///
            /// # Errors
            ///
            /// [`Unreachable`](SyncError::Unreachable) if it names none that can be connected.
            pub fn bounded(capacity: usize) -> Result<Self, SyncError> {
                Self::bounded_in(&Cluster::of_program()?, capacity)
            }

            /// A queue for as many items as there is memory for, at that place.
            ///
            /// # Errors
            ///
            /// As [`bounded`](Self::bounded).
            pub fn unbounded() -> Result<Self, SyncError> {
                Self::unbounded_in(&Cluster::of_program()?)
            }

            /// A queue for at most so many items, and for one at least, at this place.
            ///
            /// # Errors
            ///
            /// None.
            pub fn bounded_in(place: &Cluster, capacity: usize) -> Result<Self, SyncError> {
                Self::make(place, None, capacity.max(1))
            }

            /// A queue for as many items as there is memory for, at this place.
            ///
            /// # Errors
            ///
            /// None.
            pub fn unbounded_in(place: &Cluster) -> Result<Self, SyncError> {
                Self::make(place, None, usize::MAX)
            }

            /// The queue of this name at this place, for at most so many items; whoever names it so has
            /// the same one.
            ///
            /// # Errors
            ///
            /// [`OtherType`](SyncError::OtherType) if something else has this name, or it has another
            /// capacity or other items, and [`Unreachable`](SyncError::Unreachable).
            pub fn named(place: &Cluster, name: &str, capacity: usize) -> Result<Self, SyncError> {
                Self::make(place, Some(name), capacity.max(1))
            }

            /// Puts an item, and waits for room if there is none.
            ///
            /// # Errors
            ///
            /// With the item: [`Closed`](SyncError::Closed), [`Encoding`](SyncError::Encoding), and
            /// [`Unreachable`](SyncError::Unreachable), after which it is put or it is not.
            pub fn put(&self, item: T) -> Result<(), PutError<T>> {
                self.put_until(item, None)
            }

            /// [`put`](Self::put), but no longer than `timeout`.
            ///
            /// # Errors
            ///
            /// [`Timeout`](SyncError::Timeout), and as there.
            pub fn put_for(&self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
                self.put_until(item, after(timeout))
            }

            fn put_until(&self, item: T, deadline: Option<Instant>) -> Result<(), PutError<T>> {
                let put = Self::op(&item).and_then(|op| self.shared.ask(op, deadline));
                kept(put, item)
            }

            /// [`put`](Self::put), but without waiting for room.
            ///
            /// # Errors
            ///
            /// [`Busy`](SyncError::Busy) if it is full, and as there.
            pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
                let put = Self::op(&item).and_then(|op| self.shared.ask_now(op));
                kept(put, item)
            }

            /// [`put`](Self::put), as a coroutine.
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Cancel safety
            ///
            /// A dropped call has put the whole item or nothing: nothing if it was waiting for room.
            pub async fn put_async(&self, item: T) -> Result<(), PutError<T>> {
                let op = match Self::op(&item) {
                    Ok(op) => op,
                    Err(why) => return Err(PutError { item, why }),
                };
                kept(self.shared.ask_async(op).await, item)
            }

            fn op(item: &T) -> Result<Op, SyncError> {
                let rank: fn(&T) -> Result<Bytes, SyncError> = $rank;
                put_op(item, rank(item)?)
            }

            forms! {
                /// Gets an item, and waits for one if there is none.
                ///
                /// # Errors
                ///
                /// [`Closed`](crate::SyncError::Closed) if it is closed and empty,
                /// [`OtherType`](crate::SyncError::OtherType) if it cannot be decoded, which leaves it there,
                /// and [`Unreachable`](crate::SyncError::Unreachable).
                get, get_for, try_get, get_async -> Item<T>,
                Op::Get => item
            }

            fn item(&self, answered: Answered) -> Result<Item<T>, SyncError> {
                item_of(&self.shared, answered)
            }

            forms! {
                /// Waits until every item that was put is finished.
                ///
                /// # Errors
                ///
                /// [`Unreachable`](crate::SyncError::Unreachable).
                join, join_for, try_join, join_async -> (),
                Op::Join => nothing
            }

            fn nothing(&self, _: Answered) -> Result<(), SyncError> {
                Ok(())
            }

            /// Lets nothing more in. What is in it can still be got.
            ///
            /// # Errors
            ///
            /// [`Unreachable`](SyncError::Unreachable).
            pub fn close(&self) -> Result<(), SyncError> {
                self.shared.ask_now(Op::Close).map(drop)
            }

            /// Items got until it is closed and empty, waiting for each; it ends with other errors too.
            pub fn iter(&self) -> impl Iterator<Item = Item<T>> {
                std::iter::from_fn(|| self.get().ok())
            }

            /// How many items are in it.
            ///
            /// # Errors
            ///
            /// [`Unreachable`](SyncError::Unreachable).
            pub fn len(&self) -> Result<usize, SyncError> {
                self.shared.count()
            }

            /// Whether no item is in it.
            ///
            /// # Errors
            ///
            /// As [`len`](Self::len).
            pub fn is_empty(&self) -> Result<bool, SyncError> {
                Ok(self.len()? == 0)
            }

            /// How many items it has room for in all.
            pub fn capacity(&self) -> Option<usize> {
                let size = usize::try_from(self.shared.plan().size).ok();
                size.filter(|capacity| *capacity != usize::MAX)
            }
        }
    };
}

/// What can be put into a queue by its order.
pub trait Ranked: Shareable + Ord {}

impl<T: Shareable + Ord> Ranked for T {}

queue! {
    /// A queue, for all machines that know it: what was put first is got first.
    ///
    /// ```
    /// use celeriac_sync::cluster::{Cluster, Queue};
    /// use std::thread;
    ///
    /// let shop = Cluster::connect("memory:shop")?;
    /// let orders = Queue::bounded_in(&shop, 10)?;
    /// thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         for number in 1..=3 {
    ///             orders.put(number).unwrap();
    ///         }
    ///         orders.close().unwrap();
    ///     });
    ///     let served: Vec<i32> = orders.iter().map(|order| *order).collect();
    ///     assert_eq!(served, [1, 2, 3]);
    /// });
    /// orders.join()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Queue<T: Shareable>, |_| Ok(Bytes::new())
}

queue! {
    /// A queue whose newest item is got first.
    ///
    /// ```
    /// use celeriac_sync::cluster::{Cluster, LifoQueue};
    ///
    /// let shop = Cluster::connect("memory:shop")?;
    /// let plates = LifoQueue::unbounded_in(&shop)?;
    /// plates.put(1).unwrap();
    /// plates.put(2).unwrap();
    /// assert_eq!(*plates.get()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    LifoQueue<T: Shareable>, |_| Ok(Bytes::new())
}

queue! {
    /// A queue whose smallest item is got first; of equal ones the one that was put first.
    ///
    /// The order is that of the fields, as `derive(Ord)` has it: the place where items wait does not know
    /// another one. A type like [`Reverse`](std::cmp::Reverse), which is encoded as what it contains, has
    /// no effect; put a negative number first instead.
    ///
    /// ```
    /// use celeriac_sync::cluster::{Cluster, PriorityQueue};
    ///
    /// let shop = Cluster::connect("memory:shop")?;
    /// let patients = PriorityQueue::unbounded_in(&shop)?;
    /// patients.put((3, "cold".to_owned())).unwrap();
    /// patients.put((1, "heart".to_owned())).unwrap();
    /// assert_eq!(patients.get()?.1, "heart");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    PriorityQueue<T: Ranked>, rank
}
