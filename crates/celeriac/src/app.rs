//! The way in: an app opens a place and sends tasks there.

use std::sync::Arc;
use std::time::Duration;

use celeriac_core::canvas::Canvas as _;
use celeriac_core::task::encode_body;
use celeriac_core::{
    Broker, Destination, Limits, Message, Place, Registry, Routes, ShutdownMode, Signature, Task,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use crate::broker_client::BrokerClient;
use crate::builder::AppBuilder;
use crate::call::Call;
use crate::canvas::{Sendable, send_one};
use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::launcher::Launcher;
use crate::map::{Inputs, Map};

/// The most calls that are stored together.
const BATCH_CALLS: usize = 4_000;

/// Bodies of so many bytes end a batch.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// One batch is made while others are stored; what waits together is stored in one commit.
const BATCHES_UNDER_WAY: usize = 3;

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

    /// Sends many calls, much faster than one by one; the handles come in their order.
    ///
    /// With a broker it resolves once all are stored there for good. They are stored some thousand
    /// at a time, each batch whole or not at all, while the next one is made. On a pool this is
    /// [`send`](Self::send) for each.
    ///
    /// All handles are in memory at once; [`map`](Self::map) holds a window only.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). With a broker, calls of earlier batches are then stored, and up to
    /// two batches after them may be: they run, though there is no handle. Give the signatures ids of
    /// their own to ask for their results with [`handle`](Self::handle), or to tell them apart if
    /// all are sent again.
    ///
    /// # Cancel safety
    ///
    /// None: a dropped future has sent some of the batches, each whole or not at all.
    pub async fn send_many<T: Task>(
        &self,
        signatures: impl IntoIterator<Item = Signature<T>>,
    ) -> Result<Vec<Handle<T::Output>>> {
        let mut signatures = signatures.into_iter().peekable();
        let Some(broker) = &self.broker else {
            return signatures.map(|call| self.launch(call)).collect();
        };
        let mut handles = Vec::with_capacity(signatures.size_hint().0);
        let batches = std::iter::from_fn(|| {
            signatures.peek()?;
            Some(self.batch(broker, &mut signatures))
        });
        let mut stored = stream::iter(batches)
            .map(|batch| async { batch?.publish(broker).await })
            .buffered(BATCHES_UNDER_WAY);
        while let Some(calls) = stored.try_next().await? {
            handles.extend(
                calls
                    .into_iter()
                    .map(|call| Handle::new(call, Some(broker.clone()))),
            );
        }
        Ok(handles)
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

    fn launch<T: Task>(&self, signature: Signature<T>) -> Result<Handle<T::Output>> {
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

    async fn publish<T: Task>(
        &self,
        broker: &Arc<BrokerClient>,
        signature: Signature<T>,
    ) -> Result<Handle<T::Output>> {
        let mut batch = Batch::default();
        self.push(&mut batch, broker, &signature, Timestamp::now())?;
        let messages = std::mem::take(&mut batch.messages);
        let policy = signature.options.publish_retry.as_deref();
        broker.publish_again(messages, policy).await?;
        let call = batch.follow(broker).pop().expect("one was pushed");
        Ok(Handle::new(call, Some(broker.clone())))
    }

    /// Takes as many signatures as are published together.
    fn batch<T: Task>(
        &self,
        broker: &BrokerClient,
        signatures: impl Iterator<Item = Signature<T>>,
    ) -> Result<Batch<T::Output>> {
        let now = Timestamp::now();
        let mut batch = Batch::default();
        // Moving thousands of messages as the room for them grows takes longer than too much room.
        let expected = signatures.size_hint().0.min(BATCH_CALLS);
        batch.messages.reserve_exact(expected);
        batch.calls.reserve_exact(expected);
        for signature in signatures {
            self.push(&mut batch, broker, &signature, now)?;
            if batch.calls.len() == BATCH_CALLS || batch.size_bytes >= BATCH_BYTES {
                break;
            }
        }
        Ok(batch)
    }

    /// Encodes a call into a batch.
    fn push<T: Task>(
        &self,
        batch: &mut Batch<T::Output>,
        broker: &BrokerClient,
        signature: &Signature<T>,
        now: Timestamp,
    ) -> Result<()> {
        let own = &T::DEFINITION.options;
        let options = &signature.options;
        let destination = broker
            .routes()
            .choose(options, own.queue, T::DEFINITION.name)?;
        let serializer = broker.format().serializer_of(options);
        let body = encode_body(serializer, &signature.args)
            .and_then(|body| body.check_size(self.body_limit_bytes).map(|()| body))
            .map_err(|source| Error::Arguments {
                task: T::DEFINITION.name.to_owned(),
                source,
            })?;
        batch.size_bytes += body.bytes.len();
        let mut message = Message::new(T::DEFINITION.name, body, options, own, now);
        broker.format().compress(&mut message);
        batch
            .calls
            .push(Call::<T::Output>::elsewhere(message.headers.id.clone()));
        batch
            .ignored
            .push(message.headers.ignore_result == Some(true));
        batch.messages.push((destination, message));
        Ok(())
    }
}

/// Calls that are published together.
struct Batch<V> {
    messages: Vec<(Destination, Message)>,
    size_bytes: usize,
    calls: Vec<Arc<Call<V>>>,
    /// Which of them leave no result.
    ignored: Vec<bool>,
}

impl<V> Default for Batch<V> {
    fn default() -> Self {
        Self {
            messages: Vec::new(),
            size_bytes: 0,
            calls: Vec::new(),
            ignored: Vec::new(),
        }
    }
}

impl<V: Send + 'static> Batch<V> {
    /// Stores the messages, and has the outcomes brought to the calls.
    async fn publish(mut self, broker: &BrokerClient) -> Result<Vec<Arc<Call<V>>>> {
        broker.publish(std::mem::take(&mut self.messages)).await?;
        Ok(self.follow(broker))
    }

    /// Has the outcomes brought to the calls, once the messages are stored.
    fn follow(self, broker: &BrokerClient) -> Vec<Arc<Call<V>>> {
        for (call, ignored) in self.calls.iter().zip(self.ignored) {
            let (id, control) = (call.id.clone(), call.control.clone());
            broker.follow(id, call.reply(1), 0, control, ignored);
        }
        self.calls
    }
}
