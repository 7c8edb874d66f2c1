//! Queues.

use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::gate::{Attempt, Gate, at_once, forms};
use crate::{PutError, SyncError};

/// In which order a queue gives out what it holds.
pub(super) trait Order<T>: Default {
    fn put(&mut self, item: T);
    fn get(&mut self) -> Option<T>;
    /// Takes back an item that was got and not finished: it is the next to be got.
    fn give_back(&mut self, item: T);
    fn len(&self) -> usize;
}

impl<T> Order<T> for VecDeque<T> {
    fn put(&mut self, item: T) {
        self.push_back(item);
    }

    fn get(&mut self) -> Option<T> {
        self.pop_front()
    }

    fn give_back(&mut self, item: T) {
        self.push_front(item);
    }

    fn len(&self) -> usize {
        self.len()
    }
}

impl<T> Order<T> for Vec<T> {
    fn put(&mut self, item: T) {
        self.push(item);
    }

    fn get(&mut self) -> Option<T> {
        self.pop()
    }

    fn give_back(&mut self, item: T) {
        self.push(item);
    }

    fn len(&self) -> usize {
        self.len()
    }
}

impl<T: Ord> Order<T> for BinaryHeap<std::cmp::Reverse<T>> {
    fn put(&mut self, item: T) {
        self.push(std::cmp::Reverse(item));
    }

    fn get(&mut self) -> Option<T> {
        self.pop().map(|item| item.0)
    }

    fn give_back(&mut self, item: T) {
        self.put(item);
    }

    fn len(&self) -> usize {
        self.len()
    }
}

/// What the three kinds of queue have in common.
struct Inner<T, O> {
    state: Mutex<State<O>>,
    /// Items that were put and are not finished.
    open: AtomicUsize,
    /// For those who get.
    filled: Gate,
    /// For those who put.
    emptied: Gate,
    /// For those who join.
    finished: Gate,
    capacity: usize,
    item: std::marker::PhantomData<fn(T) -> T>,
}

#[derive(Default)]
struct State<O> {
    items: O,
    closed: bool,
}

impl<T, O: Order<T>> Inner<T, O> {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                items: O::default(),
                closed: false,
            }),
            open: AtomicUsize::new(0),
            filled: Gate::new(),
            emptied: Gate::new(),
            finished: Gate::new(),
            capacity,
            item: std::marker::PhantomData,
        })
    }

    fn state(&self) -> MutexGuard<'_, State<O>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts what `slot` holds, which is empty afterwards.
    fn attempt_put(&self, slot: &mut Option<T>) -> Attempt<()> {
        {
            let mut state = self.state();
            if state.closed {
                return Some(Err(SyncError::Closed));
            }
            if state.items.len() >= self.capacity {
                return None;
            }
            let Some(item) = slot.take() else {
                return Some(Ok(()));
            };
            // Counted before anybody can have got it.
            self.open.fetch_add(1, Ordering::Relaxed);
            state.items.put(item);
        }
        self.filled.open_for_one();
        Some(Ok(()))
    }

    fn attempt_get(&self) -> Attempt<T> {
        let item = {
            let mut state = self.state();
            match state.items.get() {
                Some(item) => item,
                None => return state.closed.then_some(Err(SyncError::Closed)),
            }
        };
        self.emptied.open_for_one();
        Some(Ok(item))
    }

    fn attempt_join(&self) -> Attempt<()> {
        (self.open.load(Ordering::Acquire) == 0).then_some(Ok(()))
    }

    fn finish(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.finished.open();
        }
    }

    fn give_back(&self, item: T) {
        self.state().items.give_back(item);
        self.filled.open_for_one();
    }

    fn close(&self) {
        self.state().closed = true;
        self.filled.open();
        self.emptied.open();
    }
}

/// Where an item came from: told when it is finished, or given back.
trait Source<T> {
    fn finish(&self);
    fn give_back(&self, item: T);
}

impl<T, O: Order<T>> Source<T> for Inner<T, O> {
    fn finish(&self) {
        Inner::finish(self);
    }

    fn give_back(&self, item: T) {
        Inner::give_back(self, item);
    }
}

/// An item that was got from a queue, and is finished when this is dropped.
///
/// If the thread panics meanwhile it goes back to its queue, as the next one to be got.
#[must_use = "an item that nobody keeps counts as finished"]
pub struct Item<'a, T> {
    item: Option<T>,
    source: &'a (dyn Source<T> + Sync),
}

impl<T> Item<'_, T> {
    /// Says that it is finished. The same as dropping it, for those who like to say so.
    pub fn task_done(self) {}

    /// Takes it out, which finishes it.
    pub fn into_inner(mut self) -> T {
        self.item.take().expect("it is here until it is taken out")
    }

    /// Puts it back, as the next one to be got.
    pub fn give_back(mut self) {
        if let Some(item) = self.item.take() {
            self.source.give_back(item);
            // It is not finished, so it must not be counted as such.
            let _ = std::mem::ManuallyDrop::new(self);
        }
    }
}

impl<T> Deref for Item<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.item
            .as_ref()
            .expect("it is here until it is taken out")
    }
}

impl<T: fmt::Debug> fmt::Debug for Item<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Item").field(&self.item).finish()
    }
}

impl<T> Drop for Item<'_, T> {
    fn drop(&mut self) {
        match self.item.take() {
            Some(item) if std::thread::panicking() => self.source.give_back(item),
            _ => self.source.finish(),
        }
    }
}

/// Writes the three kinds of queue, which differ in their order only.
macro_rules! queue {
    ($(#[$doc:meta])* $name:ident<T $(: $bound:ident)?>, $order:ty) => {
        $(#[$doc])*
        pub struct $name<T $(: $bound)?>(Arc<Inner<T, $order>>);

        impl<T $(: $bound)?> Clone for $name<T> {
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }

        impl<T $(: $bound)?> fmt::Debug for $name<T> {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                let state = self.0.state();
                formatter
                    .debug_struct(stringify!($name))
                    .field("len", &Order::<T>::len(&state.items))
                    .field("open", &self.0.open)
                    .field("closed", &state.closed)
                    .finish()
            }
        }

        impl<T: Send $(+ $bound)?> $name<T> {
            /// A queue for at most so many items, and for one at least.
            pub fn bounded(capacity: usize) -> Self {
                Self(Inner::new(capacity.max(1)))
            }

            /// A queue for as many items as memory holds.
            pub fn unbounded() -> Self {
                Self(Inner::new(usize::MAX))
            }

            /// Puts an item, and waits for room if there is none.
            ///
            /// # Errors
            ///
            /// [`Closed`](SyncError::Closed), with the item.
            pub fn put(&self, item: T) -> Result<(), PutError<T>> {
                let mut slot = Some(item);
                let put = self.0.emptied.wait(|| self.0.attempt_put(&mut slot));
                kept(put, slot)
            }

            /// [`put`](Self::put), but no longer than `timeout`.
            ///
            /// # Errors
            ///
            /// [`Timeout`](SyncError::Timeout), and as there.
            pub fn put_for(&self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
                let mut slot = Some(item);
                let attempt = || self.0.attempt_put(&mut slot);
                let put = self.0.emptied.wait_for(timeout, attempt);
                kept(put, slot)
            }

            /// [`put`](Self::put), but without waiting.
            ///
            /// # Errors
            ///
            /// [`Busy`](SyncError::Busy) if it is full, and as there.
            pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
                let mut slot = Some(item);
                let put = at_once(self.0.attempt_put(&mut slot));
                kept(put, slot)
            }

            /// [`put`](Self::put), as a coroutine.
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Cancel safety
            ///
            /// The item of a dropped call is dropped with it, and not put.
            pub async fn put_async(&self, item: T) -> Result<(), PutError<T>> {
                let mut slot = Some(item);
                let attempt = || self.0.attempt_put(&mut slot);
                let put = self.0.emptied.wait_async(attempt).await;
                kept(put, slot)
            }

            fn attempt_get(&self) -> Attempt<Item<'_, T>> {
                let item = self.0.attempt_get()?;
                Some(item.map(|item| Item {
                    item: Some(item),
                    source: &*self.0,
                }))
            }

            forms! {
                /// Gets an item, and waits for one if there is none.
                ///
                /// # Errors
                ///
                /// [`Closed`](SyncError::Closed) if it is closed and empty.
                get, get_for, try_get, get_async(self) -> Item<'_, T>,
                self.0.filled => self.attempt_get()
            }

            forms! {
                /// Waits until every item that was put is finished.
                ///
                /// # Errors
                ///
                /// None in this scope.
                join, join_for, try_join, join_async(self) -> (),
                self.0.finished => self.0.attempt_join()
            }

            /// Lets nothing more in. What is in it can still be got.
            pub fn close(&self) {
                self.0.close();
            }

            /// Items got until it is closed and empty, waiting for each.
            pub fn iter(&self) -> impl Iterator<Item = Item<'_, T>> {
                std::iter::from_fn(|| self.get().ok())
            }

            /// How many items are in it.
            pub fn len(&self) -> usize {
                Order::<T>::len(&self.0.state().items)
            }

            /// Whether no item is in it.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// How many items it has room for in all.
            pub fn capacity(&self) -> Option<usize> {
                Some(self.0.capacity).filter(|capacity| *capacity != usize::MAX)
            }
        }
    };
}

fn kept<T>(put: Result<(), SyncError>, slot: Option<T>) -> Result<(), PutError<T>> {
    match (put, slot) {
        (Err(why), Some(item)) => Err(PutError { item, why }),
        _ => Ok(()),
    }
}

queue! {
    /// A queue: what was put first is got first.
    ///
    /// ```
    /// use celeriac_sync::thread::Queue;
    /// use std::thread;
    ///
    /// let orders = Queue::bounded(10);
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
    Queue<T>, VecDeque<T>
}

queue! {
    /// A queue whose newest item is got first.
    ///
    /// ```
    /// use celeriac_sync::thread::LifoQueue;
    ///
    /// let plates = LifoQueue::unbounded();
    /// plates.put("lower").unwrap();
    /// plates.put("upper").unwrap();
    /// assert_eq!(*plates.get()?, "upper");
    /// # Ok::<(), celeriac_sync::SyncError>(())
    /// ```
    LifoQueue<T>, Vec<T>
}

queue! {
    /// A queue whose smallest item is got first; of equal ones any.
    ///
    /// ```
    /// use celeriac_sync::thread::PriorityQueue;
    ///
    /// let patients = PriorityQueue::unbounded();
    /// patients.put((3, "cold")).unwrap();
    /// patients.put((1, "heart")).unwrap();
    /// assert_eq!(patients.get()?.1, "heart");
    /// # Ok::<(), celeriac_sync::SyncError>(())
    /// ```
    PriorityQueue<T: Ord>, BinaryHeap<std::cmp::Reverse<T>>
}
