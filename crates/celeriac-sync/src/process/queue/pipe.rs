//! A pipe.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ends::End;
use super::{Item, Queue};
use crate::process::segment::Kind;
use crate::{PutError, SyncError};

/// How many items are on their way in each direction at most.
const ROOM: usize = 1024;

/// One end of a pipe: what is sent here is received at the other end, in its order.
///
/// An end can be sent to other processes; it is the same end in all of them. When the last one that has
/// an end drops it, or dies, the pipe is closed: the other end receives what was sent, and then that nothing
/// comes any more. Whoever sends an end, as the argument of a task for example, keeps a clone of it until it
/// has arrived.
#[derive(Debug)]
pub struct Pipe<T>(Arc<Ends<T>>);

/// What all clones of an end have.
#[derive(Debug)]
struct Ends<T> {
    sends: Queue<T>,
    receives: Queue<T>,
}

impl<T> Clone for Pipe<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The two ends of a pipe.
///
/// ```
/// use celeriac_sync::process::pipe;
///
/// let (here, there) = pipe()?;
/// here.send("ping".to_owned())?;
/// assert_eq!(there.recv()?, "ping");
/// there.send("pong".to_owned())?;
/// assert_eq!(here.recv()?, "pong");
/// # Ok::<(), celeriac_sync::SyncError>(())
/// ```
///
/// # Errors
///
/// [`NoMemory`](SyncError::NoMemory).
pub fn pipe<T: Serialize + DeserializeOwned>() -> Result<(Pipe<T>, Pipe<T>), SyncError> {
    let one = Queue::create(Kind::Pipe, ROOM)?;
    let other = Queue::create(Kind::Pipe, ROOM)?;
    let here = Pipe::end(one.clone(), other.clone());
    let there = Pipe::end(other, one);
    Ok((here, there))
}

impl<T> Pipe<T> {
    fn end(sends: Queue<T>, receives: Queue<T>) -> Self {
        sends.0.join_end(End::Sends);
        receives.0.join_end(End::Receives);
        Self(Arc::new(Ends { sends, receives }))
    }
}

impl<T: Serialize + DeserializeOwned> Pipe<T> {
    /// Sends an item, and waits while too many are on their way.
    ///
    /// # Errors
    ///
    /// [`Closed`](SyncError::Closed) if the other end is gone, with the item.
    pub fn send(&self, item: T) -> Result<(), PutError<T>> {
        self.0.sends.put(item)
    }

    /// [`send`](Self::send), but no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`Timeout`](SyncError::Timeout), and as there.
    pub fn send_for(&self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.0.sends.put_for(item, timeout)
    }

    /// [`send`](Self::send), but without waiting.
    ///
    /// # Errors
    ///
    /// [`Busy`](SyncError::Busy) if too many are on their way, and as there.
    pub fn try_send(&self, item: T) -> Result<(), PutError<T>> {
        self.0.sends.try_put(item)
    }

    /// [`send`](Self::send), as a coroutine, for which a thread waits.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// The item of a dropped call is dropped with it, and not sent.
    pub async fn send_async(&self, item: T) -> Result<(), PutError<T>> {
        self.0.sends.put_async(item).await
    }

    /// Receives an item, and waits for one.
    ///
    /// # Errors
    ///
    /// [`Closed`](SyncError::Closed) if the other end is gone and all it sent was received.
    pub fn recv(&self) -> Result<T, SyncError> {
        self.received(self.0.receives.get())
    }

    /// [`recv`](Self::recv), but no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`Timeout`](SyncError::Timeout), and as there.
    pub fn recv_for(&self, timeout: Duration) -> Result<T, SyncError> {
        self.received(self.0.receives.get_for(timeout))
    }

    /// [`recv`](Self::recv), but without waiting.
    ///
    /// # Errors
    ///
    /// [`Busy`](SyncError::Busy) if nothing has come, and as there.
    pub fn try_recv(&self) -> Result<T, SyncError> {
        self.received(self.0.receives.try_get())
    }

    /// [`recv`](Self::recv), as a coroutine, for which a thread waits.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// Safe: a dropped call has taken nothing.
    pub async fn recv_async(&self) -> Result<T, SyncError> {
        self.received(self.0.receives.get_async().await)
    }
}

impl<T> Pipe<T> {
    fn received(&self, item: Result<Item<'_, T>, SyncError>) -> Result<T, SyncError> {
        if matches!(item, Err(SyncError::Closed)) {
            // The other end is gone, so nobody receives either.
            self.0.sends.0.close();
        }
        Ok(item?.into_inner())
    }
}

impl<T> Drop for Ends<T> {
    fn drop(&mut self) {
        self.sends.0.leave_end(End::Sends);
        self.receives.0.leave_end(End::Receives);
    }
}

impl<T> Serialize for Pipe<T> {
    /// As addresses that other processes of this user on this machine can open, for as long as this one
    /// keeps the end.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.0.sends, &self.0.receives).serialize(serializer)
    }
}

impl<'de, T: Serialize + DeserializeOwned> Deserialize<'de> for Pipe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (sends, receives) = Deserialize::deserialize(deserializer)?;
        let open = |address| Queue::open_as(Kind::Pipe, address).map_err(serde::de::Error::custom);
        Ok(Self::end(open(sends)?, open(receives)?))
    }
}
