//! Messages whose bodies take long to inflate, on another thread and one after another.
//!
//! A few kilobytes can inflate to the limit, which takes as long as thousands of other messages do. So
//! what inflates to more than a little waits here, while what came later goes to the worker.

use std::collections::VecDeque;
use std::future;

use tokio::task::{JoinError, JoinHandle};

/// The largest body that is inflated while other messages wait, in bytes: that takes less than a
/// millisecond.
pub(crate) const AT_ONCE_BYTES: usize = 128 * 1024;

/// Messages, of which the first is being read; see the module.
#[derive(Debug)]
pub(crate) struct Inflating<T, R> {
    waiting: VecDeque<T>,
    running: Option<JoinHandle<R>>,
}

impl<T, R> Default for Inflating<T, R> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            running: None,
        }
    }
}

impl<T, R> Inflating<T, R> {
    /// Adds a message.
    pub(crate) fn add(&mut self, message: T) {
        self.waiting.push_back(message);
    }

    /// The next message that was read, with what came of it; there may never be one. `start` begins
    /// to read one on another thread.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub(crate) async fn next(
        &mut self,
        start: impl FnOnce(&T) -> JoinHandle<R>,
    ) -> (T, Result<R, JoinError>) {
        let Some(first) = self.waiting.front() else {
            return future::pending().await;
        };
        let read = self.running.get_or_insert_with(|| start(first)).await;
        self.running = None;
        match self.waiting.pop_front() {
            Some(message) => (message, read),
            None => future::pending().await,
        }
    }

    /// Empties it.
    #[cfg(feature = "amqp")]
    pub(crate) fn clear_out(&mut self) -> VecDeque<T> {
        self.running = None;
        std::mem::take(&mut self.waiting)
    }
}
