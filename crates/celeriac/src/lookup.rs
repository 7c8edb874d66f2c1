//! Calls that were sent before, by this program or another one, found by their ids.

use std::sync::Arc;

use celeriac_core::{StoredResult, Task, TaskId};
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::broker_client::BrokerClient;
use crate::call::Call;
use crate::error::{Error, Result};
use crate::handle::Handle;

impl App {
    /// The handle of a call of the task `T` that was sent before, here or elsewhere, by its id.
    ///
    /// What [`handle_of`](Self::handle_of) says holds for it too.
    ///
    /// # Errors
    ///
    /// As [`handle_of`](Self::handle_of).
    pub fn handle<T: Task>(&self, id: impl Into<TaskId>) -> Result<Handle<T::Output>> {
        self.handle_of(id)
    }

    /// The handle of a call that was sent before, by this program or another one in any language; what
    /// it returns is read as a `V`.
    ///
    /// `serde_json::Value` takes any value. The id is not checked: a broker does not tell a call that
    /// waits from one that never was, so bound the wait if it may be wrong. A value that is no `V` is
    /// the outcome [`BadResult`](crate::ErrorKind::BadResult).
    ///
    /// ```
    /// use celeriac::prelude::*;
    ///
    /// #[celeriac::task]
    /// fn add(a: u64, b: u64) -> u64 {
    ///     a + b
    /// }
    ///
    /// # celeriac::blocking::block_on(async {
    /// let app = App::on("memory:shop").await?;
    /// let id = app.send(add::call(2, 3)).await?.id().to_string();
    ///
    /// // Later, perhaps in another process, with nothing left but the id:
    /// let mut handle = app.handle_of::<u64>(id)?;
    /// # let worker = app.start_worker("threads=1").await?;
    /// assert_eq!(handle.get().await?, 5);
    /// # worker.stop().await?;
    /// # Ok::<(), celeriac::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoBroker`] on a pool, which knows calls by their handles only. [`Error::NotKept`] on a
    /// broker that sends results to the sender of the call, as RabbitMQ does without a result backend,
    /// if that was not this app.
    pub fn handle_of<V>(&self, id: impl Into<TaskId>) -> Result<Handle<V>>
    where
        V: DeserializeOwned + Send + 'static,
    {
        let id = id.into();
        let broker = self.readable(&id, "find a call by its id")?;
        let call = Call::<V>::elsewhere(id.clone());
        broker.follow(id, call.reply(1), 0, call.control.clone(), false);
        Ok(Handle::new(call, Some(broker.clone())))
    }

    /// What is stored of a call: its state, its value or error with the traceback, the calls it sent,
    /// as far as they are known. `None` if nothing is: it waits, its result has expired, its task keeps
    /// none, or it never was.
    ///
    /// It asks once and waits for nothing; [`handle_of`](Self::handle_of) waits. Nobody else's view
    /// of the result changes by it.
    ///
    /// ```
    /// use celeriac::ResultState;
    /// use celeriac::prelude::*;
    ///
    /// #[celeriac::task]
    /// fn half(n: u64) -> Result<u64, String> {
    ///     if n % 2 == 0 { Ok(n / 2) } else { Err(format!("{n} is odd")) }
    /// }
    ///
    /// # celeriac::blocking::block_on(async {
    /// let app = App::on("memory:halves").await?;
    /// let mut call = app.send(half::call(7)).await?;
    /// assert_eq!(app.result(call.id()).await?, None);
    ///
    /// let worker = app.start_worker("threads=1").await?;
    /// assert!(call.get().await.is_err());
    /// let result = app.result(call.id()).await?.expect("it has ended");
    /// assert_eq!(result.state, ResultState::Failure);
    /// assert_eq!(result.error.unwrap().message(), "7 is odd");
    /// # worker.stop().await?;
    /// # Ok::<(), celeriac::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`handle_of`](Self::handle_of), and [`Error::Broker`] if the store cannot be asked.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn result(&self, id: impl Into<TaskId>) -> Result<Option<StoredResult>> {
        let id = id.into();
        let broker = self.readable(&id, "tell what became of a call")?;
        broker.result(&id).await
    }

    /// Asks calls to stop, whoever sent them and whatever runs them, in one message.
    ///
    /// One that has not started will not, and one that runs is interrupted, as by
    /// [`Handle::cancel`]; whoever waits for one gets the outcome
    /// [`Cancelled`](crate::ErrorKind::Cancelled) once a worker meets it. An id that no call has is no
    /// error, and neither is a call that has ended; its result stays. What follows a call in a canvas
    /// is not started, because the call does not succeed.
    ///
    /// Workers in Python obey it too, as they do Celery's `revoke` with `terminate`. Redis and the
    /// stores in files keep it for workers that start later (on Redis the newest 100 000 ids, for three
    /// hours). On RabbitMQ, as with Celery, only those hear of it that run now, and a delayed call in a
    /// queue that neither this app nor a worker in Rust has to do with waits for its time all the same.
    ///
    /// ```
    /// use std::time::Duration;
    /// use celeriac::ErrorKind;
    /// use celeriac::prelude::*;
    ///
    /// #[celeriac::task]
    /// fn remind(whom: String) -> String {
    ///     format!("{whom}!")
    /// }
    ///
    /// # celeriac::blocking::block_on(async {
    /// let app = App::on("memory:reminders").await?;
    /// # let worker = app.start_worker("threads=1").await?;
    /// let tomorrow = Duration::from_secs(24 * 60 * 60);
    /// let mut call = app.send(remind::call("Ann".to_owned()).countdown(tomorrow)).await?;
    /// app.revoke([call.id().clone()]).await?;
    /// assert_eq!(call.get().await.unwrap_err().kind(), ErrorKind::Cancelled);
    /// # worker.stop().await?;
    /// # Ok::<(), celeriac::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoBroker`] on a pool: cancel the [`Handle`]. [`Error::Broker`] if the broker cannot be
    /// told; it has then been told or not, and may be told again.
    ///
    /// # Cancel safety
    ///
    /// None: a dropped future has revoked the calls or not.
    pub async fn revoke<I>(&self, ids: I) -> Result<()>
    where
        I: IntoIterator<Item: Into<TaskId>>,
    {
        let broker = self.known_by_id("revoke a call by its id")?;
        let ids: Vec<TaskId> = ids.into_iter().map(Into::into).collect();
        if ids.is_empty() {
            return Ok(());
        }
        broker.revoke(&ids).await
    }

    /// The broker, which knows calls by their ids.
    fn known_by_id(&self, what: &'static str) -> Result<&Arc<BrokerClient>> {
        self.broker_client().ok_or_else(|| Error::NoBroker {
            place: self.place.clone(),
            what,
        })
    }

    /// The broker, if the result of this call can be read from it.
    fn readable(&self, id: &TaskId, what: &'static str) -> Result<&Arc<BrokerClient>> {
        let broker = self.known_by_id(what)?;
        if broker.hears_of(id) {
            return Ok(broker);
        }
        Err(Error::NotKept {
            place: self.place.clone(),
            id: id.clone(),
        })
    }
}
