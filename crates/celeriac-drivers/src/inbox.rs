//! What was heard on a bus and nobody has taken yet: bounded, so that a flood costs a listener what it
//! misses and the process nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use celeriac_core::{BoxFuture, BrokerError, Listener, Notice};
use tokio::sync::{mpsc, oneshot};

/// The most notices that wait.
const MOST: usize = 4096;

/// The largest notice that is heard. Workers tell each other of 100,000 revoked calls in one.
const LARGEST_BYTES: usize = 8 * 1024 * 1024;

/// The most bytes that wait.
const MOST_BYTES: usize = 4 * LARGEST_BYTES;

/// Where notices are put.
#[derive(Debug)]
pub(crate) struct Inbox {
    waiting: mpsc::Sender<Notice>,
    count: Arc<Count>,
    /// Nothing is ever sent: it ends with the inbox.
    _kept: oneshot::Sender<()>,
}

/// Where they are taken.
#[derive(Debug)]
pub(crate) struct Outlet {
    /// Of the broker, for errors.
    address: String,
    waiting: mpsc::Receiver<Notice>,
    count: Arc<Count>,
    given_up: oneshot::Receiver<()>,
}

#[derive(Debug, Default)]
struct Count {
    bytes: AtomicUsize,
    missed: AtomicU64,
}

/// Both ends of what is heard at `address`.
pub(crate) fn inbox(address: String) -> (Inbox, Outlet) {
    let (sender, receiver) = mpsc::channel(MOST);
    let (kept, given_up) = oneshot::channel();
    let count = Arc::<Count>::default();
    let inbox = Inbox {
        waiting: sender,
        count: count.clone(),
        _kept: kept,
    };
    let outlet = Outlet {
        address,
        waiting: receiver,
        count,
        given_up,
    };
    (inbox, outlet)
}

impl Inbox {
    /// Whether a notice of this size is too large to be heard; it is then counted as missed.
    pub(crate) fn refuses(&self, size_bytes: usize) -> bool {
        let waiting = self.count.bytes.load(Ordering::Relaxed);
        let refuses = size_bytes > LARGEST_BYTES || waiting + size_bytes > MOST_BYTES;
        if refuses {
            self.miss();
        }
        refuses
    }

    /// Adds a notice, unless there are too many.
    pub(crate) fn put(&self, notice: Notice) {
        let size_bytes = notice.body.len();
        if self.refuses(size_bytes) {
            return;
        }
        self.count.bytes.fetch_add(size_bytes, Ordering::Relaxed);
        if self.waiting.try_send(notice).is_err() {
            self.count.bytes.fetch_sub(size_bytes, Ordering::Relaxed);
            self.miss();
        }
    }

    /// Counts one that was not heard.
    pub(crate) fn miss(&self) {
        self.count.missed.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until nobody takes anything any more.
    pub(crate) async fn closed(&self) {
        self.waiting.closed().await;
    }
}

impl Listener for Outlet {
    fn next(&mut self) -> BoxFuture<'_, Result<Notice, BrokerError>> {
        Box::pin(async move {
            let notice = self.waiting.recv().await;
            let notice = notice.ok_or_else(|| BrokerError::Closed {
                address: self.address.clone(),
            })?;
            let size_bytes = notice.body.len();
            self.count.bytes.fetch_sub(size_bytes, Ordering::Relaxed);
            Ok(notice)
        })
    }

    fn missed(&self) -> u64 {
        self.count.missed.load(Ordering::Relaxed)
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.waiting.close();
            // Who hears for it clears up before it gives up the inbox.
            let _ = self.given_up.await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(size_bytes: usize) -> Notice {
        Notice::json(serde_json::Map::new(), vec![0; size_bytes])
    }

    #[tokio::test]
    async fn what_is_too_much_is_missed_and_counted() {
        let (inbox, mut outlet) = inbox("here".to_owned());
        inbox.put(notice(LARGEST_BYTES + 1));
        for _ in 0..MOST + 5 {
            inbox.put(notice(1));
        }
        assert_eq!(outlet.missed(), 6);
        outlet.next().await.unwrap();
        inbox.put(notice(2));
        assert_eq!(outlet.missed(), 6);
    }

    #[tokio::test]
    async fn what_was_taken_makes_room() {
        let (inbox, mut outlet) = inbox("here".to_owned());
        for _ in 0..5 {
            inbox.put(notice(LARGEST_BYTES));
        }
        assert_eq!(outlet.missed(), 1);
        outlet.next().await.unwrap();
        inbox.put(notice(LARGEST_BYTES));
        assert_eq!(outlet.missed(), 1);
    }
}
