//! An opened store: the ports' verbs, sent to the server.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use celeriac_core::broker::Subscription;
use celeriac_core::results::ResultWatch;
use celeriac_core::{
    BoxFuture, Broker, BrokerError, BrokerUrl, Bus, ChordPart, ChordStore, Consumer, ConsumerInfo,
    Coroutine, DeadMessage, Destination, EncodedResult, Joined, Message, QueueInfo, QueueName,
    ResultBackend, StoredResult, TaskId,
};
use redis::FromRedisValue;
use tokio::sync::mpsc;
use tracing::warn;

use super::bus::RedisBus;
use super::consumer::RedisConsumer;
use super::control::{self, Running};
use super::ears::Ears;
use super::failure::Failure;
use super::keys::{self, Keys};
use super::link::{Call, Dialer, Link, runtime};
use super::outgoing::{self, Outgoing};
use super::settings::Settings;
use super::watch::RedisWatch;
use super::{chords, dead, depth, results};
use crate::DriverOptions;
use crate::definitions::Definitions;

/// The oldest server whose commands suffice.
const OLDEST: (u32, u32) = (6, 2);

/// How many messages one `LPUSH` takes.
const PUSHED_AT_ONCE: usize = 5000;

/// An opened Redis database. Clones share it.
#[derive(Clone)]
pub struct RedisStore {
    pub(super) inner: Arc<Inner>,
}

/// What consumers and watches share with the store they came from.
pub(super) struct Inner {
    pub(super) address: String,
    pub(super) settings: Settings,
    pub(super) keys: Keys,
    pub(super) link: Link,
    pub(super) dialer: Arc<Dialer>,
    pub(super) options: DriverOptions,
    pub(super) definitions: Definitions,
    bus: RedisBus,
    ears: OnceLock<Ears>,
    /// The names of the consumers that listen to control requests.
    nodes: Arc<Mutex<Vec<String>>>,
    /// Queues that are listed in the store already.
    known: Mutex<HashSet<QueueName>>,
}

/// Opens the store at `url`, and sees that it can be used.
///
/// Options are given as the URL's query, under kombu's names: `global_keyprefix`, `sep`,
/// `priority_steps`, `visibility_timeout` (in seconds, 3600 by default: the longest that a Python
/// worker may hold a message), `unacked_key`, `unacked_index_key`, `unacked_mutex_key`,
/// `queue_order_strategy`, `socket_timeout`, `socket_connect_timeout`, `ssl_cert_reqs`,
/// `ssl_ca_certs`, and for Sentinels `master_name` and `sentinel_password`; and `result_keyprefix`,
/// Celery's `global_keyprefix` of the result backend, `result_serializer` (`json`, `msgpack` or
/// `yaml`), which must be that of the fleet, and `result_compression` (`zlib`, `bzip2`, `lzma`, `brotli`
/// or `zstd`), which Celery reads from 5.7 on, whatever it is set to itself; both are for what is
/// written. Unknown ones are warned about.
///
/// # Errors
///
/// [`BrokerError::Unusable`] with the remedy if the URL makes no sense, the password is wrong, or
/// what listens there is no Redis from 6.2; [`BrokerError::Unavailable`] if nobody answers.
pub async fn open(
    url: &BrokerUrl,
    options: &DriverOptions,
) -> Result<Arc<RedisStore>, BrokerError> {
    let (settings, unknown) =
        Settings::parse(url.expose()).map_err(|error| BrokerError::Unusable {
            address: url.to_string(),
            reason: error.to_string(),
            help: "see the documentation of `celeriac_drivers::redis` for its form".to_owned(),
        })?;
    for option in &unknown {
        warn!(option, "unknown option in the URL of the broker");
    }
    let address = settings.address();
    let dialer = Arc::new(Dialer::new(settings.clone()));
    let keys = Keys::new(&settings);
    let inner = Inner {
        bus: RedisBus::new(&address, &keys, dialer.clone()),
        keys,
        link: Link::new(dialer.clone()),
        address,
        settings,
        dialer,
        options: options.clone(),
        definitions: Definitions::new(options.topology.clone()),
        ears: OnceLock::new(),
        nodes: Arc::default(),
        known: Mutex::default(),
    };
    let usable = inner.check_version().await;
    usable.map_err(|failure| failure.at_opening(&inner.address))?;
    Ok(Arc::new(RedisStore {
        inner: Arc::new(inner),
    }))
}

impl Inner {
    async fn check_version(&self) -> Result<(), Failure> {
        let mut ask = redis::cmd("INFO");
        ask.arg("server");
        let info: String = self.link.command(ask).await?;
        let version = info
            .lines()
            .find_map(|line| line.strip_prefix("redis_version:"))
            .unwrap_or_default()
            .trim();
        let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
        let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if found < OLDEST {
            let reason = format!("its version is {version}");
            return Err(Failure::misfit(reason, "use Redis 6.2 or newer"));
        }
        Ok(())
    }

    /// Hears what comes; listens from the first call on.
    pub(super) fn ears(&self) -> &Ears {
        self.ears.get_or_init(|| {
            let (heard, mut requests) = mpsc::unbounded_channel::<Vec<u8>>();
            let (link, keys, nodes) = (self.link.clone(), self.keys.clone(), self.nodes.clone());
            runtime().spawn(async move {
                while let Some(request) = requests.recv().await {
                    let nodes = lock(&nodes).clone();
                    let Some((ids, running)) = control::revoked_by(&request, &nodes) else {
                        continue;
                    };
                    if let Err(failure) = control::remember(&link, &keys, &ids, running).await {
                        warn!(
                            error = &failure as &dyn std::error::Error,
                            "a revocation was heard and cannot be kept"
                        );
                    }
                }
            });
            Ears::open(
                self.dialer.clone(),
                self.keys.channel(control::EXCHANGE, ""),
                self.keys.own("revoked_last"),
                heard,
            )
        })
    }

    pub(super) fn add_node(&self, name: &str) {
        lock(&self.nodes).push(name.to_owned());
    }

    pub(super) fn remove_node(&self, name: &str) {
        let mut nodes = lock(&self.nodes);
        if let Some(place) = nodes.iter().position(|node| node == name) {
            nodes.swap_remove(place);
        }
    }

    /// Has a script run.
    pub(super) async fn run<T>(&self, call: Call) -> Result<T, BrokerError>
    where
        T: FromRedisValue + Send + 'static,
    {
        self.told(self.link.run(call).await)
    }

    /// What came of a request, as the port tells it.
    pub(super) fn told<T>(&self, outcome: Result<T, Failure>) -> Result<T, BrokerError> {
        outcome.map_err(|failure| failure.at(&self.address))
    }

    /// Lists queues in the store that are not listed yet, as far as is known here.
    pub(super) async fn know_queues(
        &self,
        queues: impl Iterator<Item = &QueueName>,
    ) -> Result<(), BrokerError> {
        let new: HashSet<QueueName> = {
            let known = lock(&self.known);
            queues
                .filter(|queue| !known.contains(*queue) && !keys::is_private(queue.as_str()))
                .cloned()
                .collect()
        };
        if new.is_empty() {
            return Ok(());
        }
        let mut add = redis::cmd("SADD");
        add.arg(self.keys.own("queues"));
        for queue in &new {
            add.arg(queue.as_str());
        }
        self.told(self.link.command::<()>(add).await)?;
        lock(&self.known).extend(new);
        Ok(())
    }

    async fn publish(&self, messages: Vec<(Destination, Message)>) -> Result<(), BrokerError> {
        let messages = outgoing::encode_all(self, messages).await?;
        self.know_queues(messages.iter().filter_map(|message| message.queue.as_ref()))
            .await?;
        self.told(self.push(messages).await)
    }

    /// Pushes messages in their order, all or none.
    pub(super) async fn push(&self, messages: Vec<Outgoing>) -> Result<(), Failure> {
        let mut pushes: Vec<(String, redis::Cmd, usize)> = Vec::new();
        for message in messages {
            // A channel takes one at a time.
            let most = if message.queue.is_some() {
                PUSHED_AT_ONCE
            } else {
                1
            };
            let place = pushes
                .iter()
                .rposition(|(key, _, count)| *key == message.key && *count < most);
            let place = place.unwrap_or_else(|| {
                let mut push = redis::cmd(message.command());
                push.arg(&message.key);
                pushes.push((message.key.clone(), push, 0));
                pushes.len() - 1
            });
            let (_, push, count) = &mut pushes[place];
            push.arg(message.text);
            *count += 1;
        }
        if pushes.len() <= 1 {
            return match pushes.pop() {
                Some((_, push, _)) => self.link.command(push).await,
                None => Ok(()),
            };
        }
        let mut together = redis::pipe();
        together.atomic();
        for (_, push, _) in pushes {
            together.add_command(push).ignore();
        }
        self.link.pipeline(together).await
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RedisStore({})", self.inner.address)
    }
}

impl Broker for RedisStore {
    fn publish(
        &self,
        messages: Vec<(Destination, Message)>,
    ) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(self.inner.publish(messages))
    }

    fn consume(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Arc<dyn Consumer>, BrokerError>> {
        Box::pin(async move {
            let consumer = RedisConsumer::register(self.inner.clone(), subscription).await?;
            Ok(Arc::new(consumer) as Arc<dyn Consumer>)
        })
    }

    fn revoke<'a>(&'a self, ids: &'a [TaskId]) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            let (link, keys) = (&self.inner.link, &self.inner.keys);
            let texts: Vec<String> = ids.iter().map(TaskId::to_string).collect();
            self.inner
                .told(control::remember(link, keys, &texts, Running::Interrupt).await)?;
            self.inner.told(control::broadcast(link, keys, ids).await)
        })
    }

    fn results(&self) -> Option<Arc<dyn ResultBackend>> {
        Some(Arc::new(self.clone()))
    }

    fn bus(&self) -> Option<Arc<dyn Bus>> {
        Some(Arc::new(self.inner.bus.clone()))
    }

    fn host(&self, coroutine: Coroutine) -> Result<(), Coroutine> {
        runtime().spawn(coroutine);
        Ok(())
    }

    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueInfo>, BrokerError>> {
        Box::pin(async move { self.inner.told(depth::queues(&self.inner).await) })
    }

    fn consumers(&self) -> BoxFuture<'_, Result<Vec<ConsumerInfo>, BrokerError>> {
        Box::pin(async move { self.inner.told(depth::consumers(&self.inner).await) })
    }

    fn purge<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<u64, BrokerError>> {
        Box::pin(async move { self.inner.told(depth::purge(&self.inner, queue).await) })
    }

    fn dead(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadMessage>, BrokerError>> {
        Box::pin(async move { self.inner.told(dead::list(&self.inner, limit).await) })
    }

    fn retry_dead<'a>(&'a self, numbers: &'a [i64]) -> BoxFuture<'a, Result<u64, BrokerError>> {
        Box::pin(async move { self.inner.told(dead::retry(&self.inner, numbers).await) })
    }

    fn drop_dead<'a>(&'a self, numbers: &'a [i64]) -> BoxFuture<'a, Result<u64, BrokerError>> {
        Box::pin(async move { self.inner.told(dead::drop(&self.inner, numbers).await) })
    }
}

impl ResultBackend for RedisStore {
    fn host(&self, coroutine: Coroutine) -> Result<(), Coroutine> {
        Broker::host(self, coroutine)
    }

    fn store(&self, results: Vec<StoredResult>) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move { self.inner.told(results::store(&self.inner, &results).await) })
    }

    fn store_encoded(&self, results: Vec<EncodedResult>) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            let stored = results::store_encoded(&self.inner, &results).await;
            self.inner.told(stored)
        })
    }

    fn fetch<'a>(
        &'a self,
        ids: &'a [TaskId],
    ) -> BoxFuture<'a, Result<Vec<Option<StoredResult>>, BrokerError>> {
        Box::pin(async move { self.inner.told(results::fetch(&self.inner, ids).await) })
    }

    fn watch(&self) -> BoxFuture<'_, Result<Box<dyn ResultWatch>, BrokerError>> {
        Box::pin(async move {
            let watch = RedisWatch::start(&self.inner);
            Ok(Box::new(watch) as Box<dyn ResultWatch>)
        })
    }

    fn forget<'a>(&'a self, ids: &'a [TaskId]) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move { self.inner.told(results::forget(&self.inner, ids).await) })
    }

    fn chords(&self) -> Option<Arc<dyn ChordStore>> {
        Some(Arc::new(self.clone()))
    }
}

impl ChordStore for RedisStore {
    fn open<'a>(&'a self, group: &'a str, size: u64) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.inner
                .told(chords::open(&self.inner, group, size).await)
        })
    }

    fn count<'a>(
        &'a self,
        claimant: &'a str,
        parts: Vec<ChordPart>,
    ) -> BoxFuture<'a, Result<Vec<Joined>, BrokerError>> {
        Box::pin(async move {
            let counted = chords::count(&self.inner, claimant, parts).await;
            self.inner.told(counted)
        })
    }

    fn close<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move { self.inner.told(chords::close(&self.inner, group).await) })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
