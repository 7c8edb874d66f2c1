//! What can be set about an app before its place is opened.

use std::sync::Arc;

use celeriac_core::payload::DEFAULT_BODY_LIMIT_BYTES;
use celeriac_core::{
    BrokerUrl, Compression, ContentType, Place, PlaceError, PublishRetry, Queue, Registry, Routes,
    Topology,
};
use celeriac_drivers::open_with_results;

use crate::app::App;
use crate::broker_client::BrokerClient;
use crate::error::{Error, Result};
use crate::format::BodyFormat;
use crate::launcher::Launcher;
use crate::outlet::Outlet;

/// Opens an [`App`] with settings other than the default.
#[derive(Debug, Clone)]
pub struct AppBuilder {
    body_limit_bytes: usize,
    results: Option<String>,
    routes: Routes,
    format: BodyFormat,
    queues: Vec<Queue>,
    publish_retry: PublishRetry,
    sent_events: bool,
}

impl Default for AppBuilder {
    fn default() -> Self {
        Self {
            body_limit_bytes: DEFAULT_BODY_LIMIT_BYTES,
            results: None,
            routes: Routes::new(),
            format: BodyFormat::default(),
            queues: Vec::new(),
            publish_retry: PublishRetry::DEFAULT,
            sent_events: false,
        }
    }
}

impl AppBuilder {
    /// The largest encoded body of a call or result, 16 MiB by default.
    #[must_use]
    pub fn body_limit_bytes(mut self, limit: usize) -> Self {
        self.body_limit_bytes = limit;
        self
    }

    /// The store that keeps the results of a broker, by its URL; by default the broker itself.
    ///
    /// A pool hands results over itself and pays no heed to it.
    #[must_use]
    pub fn results(mut self, url: impl Into<String>) -> Self {
        self.results = Some(url.into());
        self
    }

    /// Where calls go on a broker that name no queue, of tasks that name none: all to `celery` unless
    /// set.
    #[must_use]
    pub fn routes(mut self, routes: Routes) -> Self {
        self.routes = routes;
        self
    }

    /// The queues that are bound to exchanges, broadcast, or declared with arguments, as in Celery's
    /// `task_queues`; none unless set. On Redis and RabbitMQ.
    ///
    /// They are declared by whoever sends to them first, and by workers. A call for a queue that is
    /// bound to a topic or fanout exchange is sent through that, as Celery sends it. A worker of this
    /// app takes from all of them unless it is told its queues.
    ///
    /// ```no_run
    /// use celeriac::prelude::*;
    /// use celeriac::{Exchange, Queue};
    /// # #[celeriac::task(name = "feed.post")] fn post(text: &str) { let _ = text; }
    /// # async fn example() -> celeriac::Result<()> {
    /// let world = Exchange::topic("world");
    /// let app = App::builder()
    ///     .queues([Queue::new("news").bind(world, "news.#"), Queue::broadcast("reload")])
    ///     .on("redis://localhost")
    ///     .await?;
    /// app.send(post::call("goal!").exchange("world", "news.sport")).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn queues(mut self, queues: impl IntoIterator<Item = Queue>) -> Self {
        self.queues.extend(queues);
        self
    }

    /// How often sending is tried again when the broker is away or full; as Celery does unless set,
    /// three times within 0.6 s.
    ///
    /// A batch of [`send_many`](App::send_many) is not sent again: thousands of calls could run twice.
    #[must_use]
    pub fn publish_retry(mut self, policy: PublishRetry) -> Self {
        self.publish_retry = policy;
        self
    }

    /// Whether monitors are told of each call that is sent, as by Celery's `task_send_sent_event`; no
    /// unless set. On Redis and RabbitMQ.
    ///
    /// Each sending then waits until the broker has the event too. One that it does not take is logged,
    /// and the call is sent all the same.
    #[must_use]
    pub fn sent_events(mut self, tells: bool) -> Self {
        self.sent_events = tells;
        self
    }

    /// What arguments are encoded in on a broker, unless a call says otherwise: JSON by default.
    ///
    /// A worker in Python must be set to accept it (`accept_content`). Results are always kept in
    /// JSON. A pool chooses for itself.
    #[must_use]
    pub fn serializer(mut self, serializer: ContentType) -> Self {
        self.format.serializer = serializer;
        self
    }

    /// What bodies are compressed with, on brokers that share their queues with Celery, unless a call
    /// says otherwise: nothing by default.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.format.compression = Some(compression);
        self
    }

    /// Opens the place.
    ///
    /// # Errors
    ///
    /// As [`App::on`]; [`Error::Queues`] if the queues cannot be defined so, [`Error::Broker`] if the
    /// broker has no exchanges for them, or nobody to tell what was sent; [`Error::Broker`] if this build cannot encode or compress as it was told;
    /// [`Error::Place`] if the text for results is no URL of a broker.
    pub async fn on<P>(self, place: P) -> Result<App>
    where
        P: TryInto<Place>,
        Error: From<P::Error>,
    {
        let place = place.try_into()?;
        let topology = Arc::new(Topology::new(self.queues)?);
        let registry = Arc::new(Registry::collect()?);
        let (launcher, broker) = match &place {
            Place::Broker(url) => {
                self.format.check(url)?;
                let options = celeriac_drivers::DriverOptions {
                    body_limit_bytes: self.body_limit_bytes,
                    topology: topology.clone(),
                    ..celeriac_drivers::DriverOptions::default()
                };
                let results: Result<Option<BrokerUrl>, PlaceError> =
                    self.results.as_deref().map(str::parse).transpose();
                let results = results.map_err(Error::Place)?;
                let broker = open_with_results(url, results.as_ref(), &options).await?;
                let routes = Arc::new(self.routes.through(topology));
                let outlet = Outlet::new(broker, self.sent_events)?;
                let client = BrokerClient::new(outlet, routes, self.format, self.publish_retry)?;
                (
                    Launcher::new(client.clone(), registry.clone()),
                    Some(client),
                )
            }
            pool => {
                registry.require_tasks()?;
                let executor = celeriac_executor::open(pool)?;
                (Launcher::new(executor, registry.clone()), None)
            }
        };
        Ok(App {
            place,
            registry,
            body_limit_bytes: self.body_limit_bytes,
            launcher,
            broker,
        })
    }
}
