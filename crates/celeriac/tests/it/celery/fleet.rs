//! A part of a broker that nobody else uses, and what is on it: an app in Rust and one in Python.

use celeriac::worker::{Prefetch, RunningWorker, Worker, WorkerSettings};
use celeriac::{App, QueueName};
use celeriac_testkit::peers::{
    CeleryApp, CeleryVersion, VirtualHost, redis_62_url, redis_url, unique,
};

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Redis, which keeps the results too. 0 is its most urgent priority.
    Redis,
    /// The same on the oldest server that we work with.
    Redis62,
    /// RabbitMQ, with results in messages. 9 is its most urgent priority.
    Amqp,
    /// RabbitMQ, with results in Redis.
    AmqpRedis,
    /// Redis, with results in MessagePack.
    RedisMsgpack,
    /// Redis, with results in YAML, which Python compresses.
    RedisYaml,
}

impl Kind {
    fn is_amqp(self) -> bool {
        matches!(self, Self::Amqp | Self::AmqpRedis)
    }
}

/// The Python half, but for where it is.
const PEER: &str = include_str!("peer.py");

/// Two apps that meet nowhere but at the broker.
pub(super) struct Fleet {
    pub(super) kind: Kind,
    version: CeleryVersion,
    pub(super) app: App,
    pub(super) python: CeleryApp,
    // After the apps, which are on it.
    _host: Option<VirtualHost>,
}

impl Fleet {
    pub(super) async fn assemble(kind: Kind, version: CeleryVersion) -> Self {
        let serializer = match kind {
            Kind::RedisMsgpack => "msgpack",
            Kind::RedisYaml => "yaml",
            _ => "json",
        };
        let redis = match kind {
            Kind::Amqp => None,
            Kind::Redis62 => Some(redis_62_url()),
            _ => Some(redis_url()),
        };
        let redis = redis.map(|url| (url, unique("fleet")));
        // Celery puts `_` after the prefix of results.
        let ours_on_redis = redis.as_ref().map(|(url, prefix)| {
            format!(
                "{url}?global_keyprefix={prefix}&result_keyprefix={prefix}_&result_serializer={serializer}"
            )
        });
        let host = kind.is_amqp().then(VirtualHost::create);
        let prefix = redis
            .as_ref()
            .map_or_else(|| "None".to_owned(), |(_, prefix)| format!("{prefix:?}"));
        let backend = redis.as_ref().map_or("rpc://", |(url, _)| url.as_str());
        let (ours, theirs, priorities) = match &host {
            None => (ours_on_redis.clone().unwrap(), backend.to_owned(), "None"),
            Some(host) => (format!("{}?max_priority=9", host.url()), host.url(), "9"),
        };
        let mut builder = App::builder();
        if let (Some(_), Some(results)) = (&host, ours_on_redis) {
            builder = builder.results(results);
        }
        let peer =
            format!("PREFIX, PRIORITIES, RESULTS = {prefix}, {priorities}, {serializer:?}\n{PEER}");
        Self {
            kind,
            version,
            app: builder.on(ours).await.unwrap(),
            python: CeleryApp::new(version, &theirs, backend, &peer),
            _host: host,
        }
    }

    /// Rising priorities, as this broker delivers them.
    pub(super) fn most_urgent_first(&self, mut priorities: [u8; 4]) -> [u8; 4] {
        if self.kind.is_amqp() {
            priorities.reverse();
        }
        priorities
    }

    /// Whether Python lets a message lie for up to 10 s now and then, also with nothing of ours
    /// around: before 5.7 on RabbitMQ. Hundreds of calls would then take minutes.
    pub(super) fn dawdles(&self) -> bool {
        self.kind.is_amqp() && self.version != CeleryVersion::V57
    }

    /// A worker in Rust that takes from `queue` no more than it has room for.
    pub(super) async fn rust_worker(&self, queue: &str, threads: usize) -> RunningWorker {
        self.rust_worker_on(queue, &format!("threads={threads}"))
            .await
    }

    /// The same on another pool.
    pub(super) async fn rust_worker_on(&self, queue: &str, pool: &str) -> RunningWorker {
        let pool = pool.parse().unwrap();
        let mut settings = WorkerSettings::default();
        settings.name = format!("{}@localhost", unique("rust"));
        settings.queues = vec![QueueName::new(queue).unwrap()];
        settings.prefetch = Prefetch {
            multiplier: 0,
            most: 1,
            ..Prefetch::default()
        };
        let worker = Worker::new(
            self.app.broker().unwrap().clone(),
            celeriac_executor::open(&pool).unwrap(),
            self.app.registry().clone(),
            settings,
        );
        worker.start().await.unwrap()
    }
}
