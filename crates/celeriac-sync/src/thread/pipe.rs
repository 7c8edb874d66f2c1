//! A pipe.

use std::sync::Arc;
use std::time::Duration;

use super::Queue;
use crate::{PutError, SyncError};

/// How many items are on their way in each direction at most.
const ROOM: usize = 1024;

/// One end of a pipe: what is sent here is received at the other end, in its order.
///
/// An end of which the last clone is dropped closes the pipe: the other one receives what was sent, and then
/// that nothing comes any more.
#[derive(Debug)]
pub struct Pipe<T: Send>(Arc<Ends<T>>);

#[derive(Debug)]
struct Ends<T: Send> {
    sends: Queue<T>,
    receives: Queue<T>,
}

impl<T: Send> Clone for Pipe<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The two ends of a pipe.
///
/// ```
/// use celeriac_sync::thread::pipe;
///
/// let (here, there) = pipe();
/// here.send("ping").unwrap();
/// assert_eq!(there.recv()?, "ping");
/// there.send("pong").unwrap();
/// drop(there);
/// assert_eq!(here.recv()?, "pong");
/// assert!(here.recv().is_err());
/// # Ok::<(), celeriac_sync::SyncError>(())
/// ```
pub fn pipe<T: Send>() -> (Pipe<T>, Pipe<T>) {
    let (one, other) = (Queue::bounded(ROOM), Queue::bounded(ROOM));
    let end = |sends, receives| Pipe(Arc::new(Ends { sends, receives }));
    (end(one.clone(), other.clone()), end(other, one))
}

impl<T: Send> Pipe<T> {
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

    /// [`send`](Self::send), as a coroutine.
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
        Ok(self.0.receives.get()?.into_inner())
    }

    /// [`recv`](Self::recv), but no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`Timeout`](SyncError::Timeout), and as there.
    pub fn recv_for(&self, timeout: Duration) -> Result<T, SyncError> {
        Ok(self.0.receives.get_for(timeout)?.into_inner())
    }

    /// [`recv`](Self::recv), but without waiting.
    ///
    /// # Errors
    ///
    /// [`Busy`](SyncError::Busy) if nothing has come, and as there.
    pub fn try_recv(&self) -> Result<T, SyncError> {
        Ok(self.0.receives.try_get()?.into_inner())
    }

    /// [`recv`](Self::recv), as a coroutine.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// Safe: a dropped call has taken nothing.
    pub async fn recv_async(&self) -> Result<T, SyncError> {
        Ok(self.0.receives.get_async().await?.into_inner())
    }
}

impl<T: Send> Drop for Ends<T> {
    fn drop(&mut self) {
        self.sends.close();
        // Nobody reads what still comes.
        self.receives.close();
    }
}
