//! The way in: an app opens a place and sends tasks there.

use std::sync::Arc;
use std::time::Duration;

use celeriac_core::canvas::Canvas as _;
use celeriac_core::{Broker, Limits, Place, Registry, Routes, ShutdownMode, Signature, Task};
use jiff::Timestamp;

use crate::broker_client::BrokerClient;
use crate::builder::AppBuilder;
use crate::call::Call;
use crate::canvas::{Sendable, send_one};
use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::launcher::Launcher;
use crate::map::{Inputs, Map};

/// A place to run tasks, opened.
///
/// Cloning is cheap and gives the same place. Once the last clone, handle, map and worker is dropped
/// a pool ends and a broker is closed, shortly afterwards and on a thread of our own.
#[derive(Debug, Clone)]
pub struct App {
    pub(crate) place: Place,
    pub(crate) registry: Arc<Registry>,
    pub(crate) body_limit_bytes: usize,
    pub(crate) launcher: Arc<Launcher>,
    pub(crate) broker: Option<Arc<BrokerClient>>,
}

impl App {
    /// Opens `place`: a text such as `"threads=4"` or `"sqlite:jobs.db"`, or a [`Place`].
    ///
    /// # Errors
    ///
    /// [`Error::Place`] if the text is no place, [`Error::Registry`] if two tasks have one name,
    /// or a pool has none to run, [`Error::Executor`] or [`Error::Broker`] if the place cannot be opened.
    pub async fn on<P>(place: P) -> Result<Self>
    where
        P: TryInto<Place>,
        Error: From<P::Error>,
    {
        Self::builder().on(place).await
    }

    /// Settings to open a place with.
    pub fn builder() -> AppBuilder {
        AppBuilder::default()
    }

    /// The place this app opened.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The tasks of this program.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The broker, if the place is one.
    pub fn broker(&self) -> Option<&Arc<dyn Broker>> {
        self.broker.as_deref().map(BrokerClient::broker)
    }

    /// Sends a call, or a chain, chord or group of calls. With a broker it resolves once all that may
    /// start is stored there for good.
    ///
    /// On a pool a call is queued at once, and queue, priority, headers and stamps have no effect; a
    /// canvas is carried out by the pool's own program, which passes values on encoded.
    ///
    /// ```
    /// use celeriac::prelude::*;
    ///
    /// #[celeriac::task]
    /// fn add(a: u64, b: u64) -> u64 {
    ///     a + b
    /// }
    ///
    /// #[celeriac::task]
    /// fn sum(numbers: &[u64]) -> u64 {
    ///     numbers.iter().sum()
    /// }
    ///
    /// # celeriac::blocking::block_on(async {
    /// let app = App::on("threads=2").await?;
    /// let mut one = app.send(add::call(2, 2)).await?;
    /// assert_eq!(one.get().await?, 4);
    ///
    /// let mut chain = app.send(add::call(2, 2).then(add::partial(8))).await?;
    /// assert_eq!(chain.get().await?, 12);
    ///
    /// let many = celeriac::group((0..3).map(|n| add::call(n, n)));
    /// assert_eq!(app.send(many).await?.get().await?, [0, 2, 4]);
    ///
    /// let many = celeriac::group((0..3).map(|n| add::call(n, n)));
    /// let mut chord = app.send(many.then(sum::partial()).then(add::partial(1))).await?;
    /// assert_eq!(chord.get().await?, 7);
    /// # Ok::<(), celeriac::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Arguments`] if the arguments cannot be encoded where they must be, or are over the
    /// body limit; [`Error::Destination`]; [`Error::Broker`] if the broker did not store it.
    ///
    /// # Cancel safety
    ///
    /// None: with a broker a dropped future has sent the call or not.
    pub async fn send<C: Sendable>(&self, canvas: C) -> Result<C::Handle> {
        canvas.send_to(self).await
    }

    pub(crate) async fn send_call<T: Task>(
        &self,
        signature: Signature<T>,
    ) -> Result<Handle<T::Output>> {
        if signature.has_links() {
            return send_one(self, signature.into_node()).await;
        }
        match &self.broker {
            Some(broker) => self.publish(broker, signature).await,
            None => self.launch(signature),
        }
    }

    /// Runs the task on each of `inputs`, and gives the outcomes in the order of the inputs.
    ///
    /// Inputs are taken from the iterator only as the outcomes are, so it may be endless. A task of
    /// one parameter takes the values themselves, others take tuples.
    pub fn map<'a, T: Task>(
        &self,
        inputs: impl IntoIterator<Item = T::Input, IntoIter: Send + 'a>,
    ) -> Map<'a, T> {
        Map::new(self, Inputs::Iterator(Box::new(inputs.into_iter())), true)
    }

    /// As [`map`](Self::map), but gives the outcomes as they complete.
    pub fn map_unordered<'a, T: Task>(
        &self,
        inputs: impl IntoIterator<Item = T::Input, IntoIter: Send + 'a>,
    ) -> Map<'a, T> {
        Map::new(self, Inputs::Iterator(Box::new(inputs.into_iter())), false)
    }

    /// As [`map`](Self::map), with the inputs from a stream.
    pub fn map_stream<'a, T: Task>(
        &self,
        inputs: impl futures_util::Stream<Item = T::Input> + Send + 'a,
    ) -> Map<'a, T> {
        Map::new(self, Inputs::Stream(Box::pin(inputs)), true)
    }

    /// Takes no more calls, and resolves when the pool is gone. Workers elsewhere are not touched.
    pub async fn shutdown(&self, mode: ShutdownMode) {
        self.launcher.shutdown(mode).await;
    }

    /// Where calls go that name no queue, if the place is a broker.
    pub(crate) fn routes(&self) -> Option<&Routes> {
        self.broker.as_ref().map(|broker| &**broker.routes())
    }

    pub(crate) fn body_limit_bytes(&self) -> usize {
        self.body_limit_bytes
    }

    pub(crate) fn broker_client(&self) -> Option<&Arc<BrokerClient>> {
        self.broker.as_ref()
    }

    pub(crate) fn shared_registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    pub(crate) fn is_broker(&self) -> bool {
        self.broker.is_some()
    }

    pub(crate) fn launch<T: Task>(&self, signature: Signature<T>) -> Result<Handle<T::Output>> {
        let options = signature.options;
        let own = &T::DEFINITION.options;
        let limits = Limits {
            soft: options.soft_time_limit.or(own.limits.soft),
            hard: options.time_limit.or(own.limits.hard),
        };
        let delay = match options.eta {
            Some(eta) => {
                Duration::try_from(eta.duration_since(Timestamp::now())).unwrap_or_default()
            }
            None => options.countdown.unwrap_or_default(),
        };
        let call = Call::launch::<T>(
            &self.launcher,
            options.id.unwrap_or_default(),
            signature.args,
            limits,
            delay,
            self.body_limit_bytes,
        )
        .map_err(|source| Error::Arguments {
            task: T::DEFINITION.name.to_owned(),
            source,
        })?;
        if let Some(expires) = options.expires.or(own.expires) {
            call.expire_after(expires);
        }
        Ok(Handle::new(call, None))
    }
}
