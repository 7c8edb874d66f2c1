//! A part of a broker that nobody else uses, a stranger who sends there what he likes, and a worker in
//! a process of its own.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use celeriac::App;
use celeriac::canvas::remote;
use celeriac_core::DeadMessage;
use celeriac_testkit::peers::{OwnedChild, VirtualHost, redis_url, unique};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tempfile::TempDir;

use super::draft::Shape;
use crate::support::example;

/// The queue that the worker takes from.
pub(super) const QUEUE: &str = "jobs";

/// How soon a good task is run, whatever came before it.
const SOON: Duration = Duration::from_secs(1);

/// A good task that takes this part of it has to share the machine with others.
const BUSY: u32 = 40;

/// More dead messages than any test makes.
const MANY: usize = 1000;

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Redis.
    Redis,
    /// RabbitMQ.
    Amqp,
}

/// See the module.
pub(super) struct Ground {
    pub(super) kind: Kind,
    pub(super) url: String,
    /// What each key in Redis begins with; nothing on a server of the test's own.
    prefix: String,
    pub(super) app: App,
    folder: TempDir,
    // After the app, which is on it.
    _host: Option<VirtualHost>,
}

impl Ground {
    /// A part of the broker that all tests share.
    pub(super) async fn new(kind: Kind) -> Self {
        match kind {
            Kind::Redis => {
                let prefix = format!("{}:", unique("ground"));
                let url = redis_url();
                let url = format!("{url}?global_keyprefix={prefix}&result_keyprefix={prefix}");
                Self::open(kind, url, prefix, None).await
            }
            Kind::Amqp => {
                let host = VirtualHost::create();
                Self::open(kind, host.url(), String::new(), Some(host)).await
            }
        }
    }

    /// All of a broker that is the test's own.
    pub(super) async fn at(kind: Kind, url: String) -> Self {
        Self::open(kind, url, String::new(), None).await
    }

    async fn open(kind: Kind, url: String, prefix: String, host: Option<VirtualHost>) -> Self {
        Self {
            kind,
            app: App::on(url.as_str()).await.unwrap(),
            url,
            prefix,
            folder: tempfile::tempdir().unwrap(),
            _host: host,
        }
    }

    /// A file in the folder in which workers run.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a worker of the example `app` and waits until it takes deliveries.
    pub(super) fn worker(&self, pool: &str) -> OwnedChild {
        let worker = self.worker_at(&self.url, pool);
        worker.wait_for_line("worker is ready");
        worker
    }

    /// Starts one on another broker than this, which may refuse it.
    pub(super) fn worker_at(&self, url: &str, pool: &str) -> OwnedChild {
        self.worker_with(url, &["-P", pool])
    }

    /// Starts one that serves HTTP, waits until it takes deliveries, and says where it serves.
    pub(super) fn watched_at(&self, url: &str) -> (OwnedChild, String) {
        let words = ["-P", "threads=2", "--http", "127.0.0.1:0"];
        let worker = self.worker_with(url, &words);
        let line = worker.wait_for_line("health is served at http://");
        worker.wait_for_line("worker is ready");
        let (_, address) = line.trim().split_once("http://").unwrap();
        (worker, address.to_owned())
    }

    /// Starts one with these words besides.
    pub(super) fn worker_with(&self, url: &str, words: &[&str]) -> OwnedChild {
        let arguments = ["worker", "-Q", QUEUE, "--on", url];
        let arguments = arguments.into_iter().chain(words.iter().copied());
        let program = example("app");
        let program = program.to_str().unwrap();
        OwnedChild::start("the worker", program, arguments, |command| {
            command.current_dir(self.folder.path());
        })
    }

    /// Sends a good task and waits until its result is there.
    pub(super) async fn canary(&self) -> Duration {
        let begun = Instant::now();
        let call = remote::<(i64, i64), i64>("add").call((20, 22)).queue(QUEUE);
        let mut handle = self.app.send(call).await.unwrap();
        assert_eq!(handle.get().await, Ok(42));
        begun.elapsed()
    }

    /// How long a good task may take after anything that is bad: a second. On a machine that has other
    /// things to do, where good tasks are slow by themselves, that much longer.
    pub(super) async fn soon(&self) -> Duration {
        let mut slowest = Duration::ZERO;
        self.canary().await;
        for _ in 0..5 {
            slowest = slowest.max(self.canary().await);
        }
        SOON.max(slowest * BUSY)
    }

    /// Sends one where the broker may refuse it, or lose the queue of its result; whether it ran.
    pub(super) async fn try_canary(&self) -> bool {
        let call = remote::<(i64, i64), i64>("add").call((20, 22)).queue(QUEUE);
        let Ok(mut handle) = self.app.send(call).await else {
            return false;
        };
        let ended = tokio::time::timeout(Duration::from_secs(3), handle.get()).await;
        ended == Ok(Ok(42))
    }

    /// The dead messages, oldest first.
    pub(super) async fn dead(&self) -> Vec<DeadMessage> {
        let mut dead = self.app.broker().unwrap().dead(MANY).await.unwrap();
        dead.sort_by_key(|dead| dead.number);
        dead
    }

    /// Who sends here what he likes.
    pub(super) async fn stranger(&self) -> Stranger {
        match self.kind {
            Kind::Redis => Stranger::Redis(Self::redis(), self.key(QUEUE)),
            Kind::Amqp => Stranger::Amqp(self.channel().await),
        }
    }

    /// A key in Redis.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A connection to Redis.
    pub(super) fn redis() -> redis::Connection {
        let client = redis::Client::open(redis_url()).unwrap();
        client.get_connection().unwrap()
    }

    /// A channel to RabbitMQ on which each message is confirmed.
    pub(super) async fn channel(&self) -> Channel {
        let connected = Connection::connect(&self.url, ConnectionProperties::default());
        let channel = connected.await.unwrap().create_channel().await.unwrap();
        let confirm = channel.confirm_select(ConfirmSelectOptions::default());
        confirm.await.unwrap();
        channel
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if !self.prefix.is_empty() {
            let mut connection = Self::redis();
            let keys: Vec<Vec<u8>> = redis::cmd("KEYS")
                .arg(self.key("*"))
                .query(&mut connection)
                .unwrap_or_default();
            for key in keys {
                let _: Result<(), _> = redis::cmd("UNLINK").arg(key).query(&mut connection);
            }
        }
    }
}

/// Somebody with a connection of his own.
pub(super) enum Stranger {
    /// With the list of the queue.
    Redis(redis::Connection, String),
    Amqp(Channel),
}

impl Stranger {
    /// Sends a shape, as the broker takes it.
    pub(super) async fn send(&mut self, shape: &Shape) {
        match self {
            Self::Redis(connection, list) => {
                let element = shape.element.as_deref().unwrap();
                let mut push = redis::cmd("LPUSH");
                let _: () = push.arg(&*list).arg(element).query(connection).unwrap();
            }
            Self::Amqp(channel) => {
                let (properties, body) = shape.published.clone().unwrap();
                publish(channel, "", QUEUE, properties, &body).await;
            }
        }
    }

    /// How long the broker takes by itself to move a shape from one key to another, in which time it
    /// serves nobody; none on RabbitMQ, which goes on meanwhile.
    pub(super) fn time_to_move(&mut self, shape: &Shape) -> Duration {
        let Self::Redis(connection, list) = self else {
            return Duration::ZERO;
        };
        let element = shape.element.as_deref().unwrap();
        let keys = [format!("{list}-from"), format!("{list}-to")];
        let mut push = redis::cmd("LPUSH");
        let _: () = push.arg(&keys[0]).arg(element).query(connection).unwrap();
        let script = redis::Script::new(
            "redis.call('HSET', KEYS[2], 'message', redis.call('RPOP', KEYS[1]))
            return redis.call('UNLINK', KEYS[2])",
        );
        let begun = Instant::now();
        let mut script = script.prepare_invoke();
        let moved: i64 = script.key(&keys[..]).invoke(connection).unwrap();
        assert_eq!(moved, 1);
        begun.elapsed()
    }
}

/// Publishes one message, and returns when the server has it.
pub(super) async fn publish(
    channel: &Channel,
    exchange: &str,
    routing_key: &str,
    properties: BasicProperties,
    body: &[u8],
) {
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish(
        exchange.into(),
        routing_key.into(),
        options,
        body,
        properties,
    );
    sent.await.unwrap().await.unwrap();
}

/// The most memory that a process has had so far, in bytes.
pub(super) fn peak_bytes(process: &OwnedChild) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes * 1024
}
