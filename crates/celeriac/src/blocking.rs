//! The face for programs without a runtime: the same app, waiting on the calling thread.
//!
//! ```
//! use celeriac::blocking::App;
//! # #[celeriac::task] fn double(n: u32) -> u32 { 2 * n }
//! # fn main() -> celeriac::Result<()> {
//! let app = App::on("threads=2")?;
//! let doubled: Result<Vec<u32>, _> = app.map::<double>([1, 2, 3]).collect();
//! assert_eq!(doubled?, [2, 4, 6]);
//! assert_eq!(app.send(double::call(21))?.wait()?, 42);
//! # Ok(())
//! # }
//! ```

use celeriac_core::{Outcome, Place, ShutdownMode, Signature, StoredResult, Task, TaskId};
pub use celeriac_executor::drive::block_on;
use serde::de::DeserializeOwned;

use crate::canvas::Sendable;
use crate::error::{Error, Result};
use crate::handle::Handle;

/// An [`App`](crate::App) whose methods block the calling thread.
#[derive(Debug, Clone)]
pub struct App(crate::App);

impl App {
    /// Opens `place`.
    ///
    /// # Errors
    ///
    /// As [`App::on`](crate::App::on).
    pub fn on<P>(place: P) -> Result<Self>
    where
        P: TryInto<Place>,
        Error: From<P::Error>,
    {
        block_on(crate::App::on(place)).map(Self)
    }

    /// Sends a call, or what is composed of calls; wait for it with [`Handle::wait`].
    ///
    /// # Errors
    ///
    /// As [`App::send`](crate::App::send).
    pub fn send<C: Sendable>(&self, canvas: C) -> Result<C::Handle> {
        block_on(self.0.send(canvas))
    }

    /// Sends many calls, much faster than one by one; the handles come in their order.
    ///
    /// # Errors
    ///
    /// As [`App::send_many`](crate::App::send_many), which says which calls were sent.
    pub fn send_many<T: Task>(
        &self,
        signatures: impl IntoIterator<Item = Signature<T>>,
    ) -> Result<Vec<Handle<T::Output>>> {
        block_on(self.0.send_many(signatures))
    }

    /// Runs the task on each of `inputs`: an iterator of outcomes in the order of the inputs.
    pub fn map<'a, T: Task>(
        &self,
        inputs: impl IntoIterator<Item = T::Input, IntoIter: Send + 'a>,
    ) -> Map<'a, T> {
        Map(self.0.map(inputs))
    }

    /// As [`map`](Self::map), but gives the outcomes as they complete.
    pub fn map_unordered<'a, T: Task>(
        &self,
        inputs: impl IntoIterator<Item = T::Input, IntoIter: Send + 'a>,
    ) -> Map<'a, T> {
        Map(self.0.map_unordered(inputs))
    }

    /// The handle of a call that was sent before, here or elsewhere.
    ///
    /// # Errors
    ///
    /// As [`App::handle_of`](crate::App::handle_of).
    pub fn handle_of<V>(&self, id: impl Into<TaskId>) -> Result<Handle<V>>
    where
        V: DeserializeOwned + Send + 'static,
    {
        self.0.handle_of(id)
    }

    /// What is stored of a call.
    ///
    /// # Errors
    ///
    /// As [`App::result`](crate::App::result).
    pub fn result(&self, id: impl Into<TaskId>) -> Result<Option<StoredResult>> {
        block_on(self.0.result(id))
    }

    /// Asks calls to stop.
    ///
    /// # Errors
    ///
    /// As [`App::revoke`](crate::App::revoke).
    pub fn revoke<I>(&self, ids: I) -> Result<()>
    where
        I: IntoIterator<Item: Into<TaskId>>,
    {
        block_on(self.0.revoke(ids))
    }

    /// Takes no more calls, and returns when the pool is gone.
    pub fn shutdown(&self, mode: ShutdownMode) {
        block_on(self.0.shutdown(mode));
    }

    /// The same app for `async` code.
    pub fn into_async(self) -> crate::App {
        self.0
    }
}

/// A [`Map`](crate::Map) as an iterator.
#[derive(Debug)]
pub struct Map<'a, T: Task>(crate::Map<'a, T>);

impl<T: Task> Map<'_, T> {
    /// Sends `size` calls together, instead of as many as fit their duration.
    #[must_use]
    pub fn chunk_size(self, size: usize) -> Self {
        Self(self.0.chunk_size(size))
    }
}

impl<T: Task> Iterator for Map<'_, T> {
    type Item = Outcome<T::Output>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take_ready().or_else(|| block_on(self.0.next()))
    }
}
