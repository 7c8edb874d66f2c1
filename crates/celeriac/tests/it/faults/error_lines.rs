//! What a server refuses is one clear line with the remedy, and work goes on by itself when the cause
//! has ended.

use std::time::{Duration, Instant};

use celeriac_testkit::block_on;
use celeriac_testkit::peers::{OwnedChild, RedisServer, VirtualHost, rabbitmqctl, unique};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};

use super::ground::{Ground, Kind, QUEUE};

/// How long a cause lasts: a worker meets it many times meanwhile.
const LASTS: Duration = Duration::from_secs(4);

/// How soon a good task is run after the cause has ended: the longest pause between tries is 5 s.
const SOON: Duration = Duration::from_secs(15);

/// Breaks something, mends it after a while, and has a good task run. What a worker says meanwhile is
/// one line with `words`, and few besides.
async fn told_once(
    ground: &Ground,
    worker: &OwnedChild,
    words: [&str; 2],
    break_it: impl AsyncFnOnce(),
    mend: impl AsyncFnOnce(),
) {
    ground.canary().await;
    let before = worker.printed().len();
    break_it().await;
    worker.wait_for_line(words[0]);
    tokio::time::sleep(LASTS).await;
    mend().await;
    let mended = Instant::now();
    while !ground.try_canary().await {
        assert!(mended.elapsed() < SOON, "it does not recover");
    }
    let took = mended.elapsed();
    assert!(took < SOON, "it took {took:?} to recover");
    let printed = worker.printed()[before..].to_owned();
    let complaints = printed
        .lines()
        .filter(|line| line.contains("WARN") || line.contains("ERROR"));
    let complaints: Vec<_> = complaints.collect();
    let clear = |line: &&&str| words.iter().all(|word| line.contains(word));
    assert_eq!(complaints.iter().filter(clear).count(), 1, "{printed}");
    assert!(complaints.len() <= 4, "{printed}");
}

/// A Redis of the test's own, with a worker.
async fn on_redis() -> (RedisServer, Ground, OwnedChild) {
    let server = RedisServer::start();
    let ground = Ground::at(Kind::Redis, server.url()).await;
    let worker = ground.worker("threads=2");
    (server, ground, worker)
}

#[test]
fn a_password_that_is_asked_for_suddenly() {
    block_on(async {
        let (server, ground, worker) = on_redis().await;
        let words = ["NOAUTH", "give the password in the URL"];
        let ask_for_it = async || {
            server.ask(&["CONFIG", "SET", "requirepass", "sesame"]);
            server.ask(&["-a", "sesame", "CLIENT", "KILL", "TYPE", "normal"]);
        };
        let forget_it = async || {
            server.ask(&["-a", "sesame", "CONFIG", "SET", "requirepass", ""]);
        };
        told_once(&ground, &worker, words, ask_for_it, forget_it).await;
    });
}

#[test]
fn a_master_that_becomes_a_replica() {
    block_on(async {
        let (server, ground, worker) = on_redis().await;
        let words = ["READONLY", "connect to the master"];
        let demote = async || drop(server.ask(&["REPLICAOF", "127.0.0.1", "1"]));
        let promote = async || drop(server.ask(&["REPLICAOF", "NO", "ONE"]));
        told_once(&ground, &worker, words, demote, promote).await;
    });
}

#[test]
fn a_server_that_is_out_of_memory() {
    block_on(async {
        let (server, ground, worker) = on_redis().await;
        let words = ["OOM", "raise `maxmemory`"];
        let fill = async || drop(server.ask(&["CONFIG", "SET", "maxmemory", "1"]));
        let empty = async || drop(server.ask(&["CONFIG", "SET", "maxmemory", "0"]));
        told_once(&ground, &worker, words, fill, empty).await;
    });
}

#[test]
fn commands_that_are_forbidden_to_the_user() {
    block_on(async {
        let (server, ground, worker) = on_redis().await;
        let words = ["NOPERM", "ACL SETUSER"];
        // Its scripts need them.
        let rules = |rules: &[&str]| {
            let words = [&["ACL", "SETUSER", "default"], rules].concat();
            assert_eq!(server.ask(&words), "OK");
        };
        let forbid = async || rules(&["-@sortedset", "-@list"]);
        let allow = async || rules(&["+@all"]);
        told_once(&ground, &worker, words, forbid, allow).await;
    });
}

#[test]
fn a_server_that_loads_its_data() {
    block_on(async {
        let (mut server, ground, worker) = on_redis().await;
        // Loaded at a millisecond each.
        let fill = "for n = 1, 6000 do redis.call('SET', 'filler:' .. n, n) end";
        server.ask(&["EVAL", fill, "0"]);
        let words = ["LOADING", "it loads its data"];
        ground.canary().await;
        let slowly = [
            "--key-load-delay",
            "1000",
            "--loading-process-events-interval-bytes",
            "1024",
        ];
        let load = async || server.restart(&slowly);
        told_once(&ground, &worker, words, load, async || ()).await;
    });
}

#[test]
fn a_binding_that_is_deleted() {
    block_on(async {
        let (server, ground, worker) = on_redis().await;
        let words = ["no longer bound", "find out who deletes bindings"];
        let table = format!("_kombu.binding.{QUEUE}");
        let delete = async || drop(server.ask(&["DEL", &table]));
        told_once(&ground, &worker, words, delete, async || ()).await;
        let bound = server.ask(&["SCARD", &table]);
        assert_eq!(bound.trim(), "1");
    });
}

/// A virtual host and a user of the test's own, with a worker.
async fn on_amqp() -> (User, VirtualHost, Ground, OwnedChild) {
    let host = VirtualHost::create();
    let user = User::create();
    host.make(&user.0);
    let ground = Ground::at(Kind::Amqp, user.url(&host)).await;
    let worker = ground.worker("threads=2");
    (user, host, ground, worker)
}

/// A user of RabbitMQ, whose password is `right`; deleted when this is dropped.
pub(super) struct User(String);

impl User {
    pub(super) fn create() -> Self {
        let user = Self(unique("user"));
        rabbitmqctl(&["add_user", &user.0, "right"]);
        user
    }

    pub(super) fn url(&self, host: &VirtualHost) -> String {
        host.url()
            .replace("guest:guest", &format!("{}:right", self.0))
    }

    /// Lets it configure, write and read what matches.
    pub(super) fn permit(&self, host: &VirtualHost, what: &str) {
        rabbitmqctl(&[
            "set_permissions",
            "-p",
            host.name(),
            &self.0,
            what,
            what,
            what,
        ]);
    }
}

impl Drop for User {
    fn drop(&mut self) {
        rabbitmqctl(&["delete_user", &self.0]);
    }
}

/// What each of them may do is looked up anew by the next.
pub(super) fn end_connections(host: &VirtualHost) {
    rabbitmqctl(&["close_all_connections", "--vhost", host.name(), "a test"]);
}

#[test]
fn a_password_that_is_wrong_suddenly() {
    block_on(async {
        let (user, host, ground, worker) = on_amqp().await;
        let words = ["it refuses the user", "check user name and password"];
        let change = async || {
            rabbitmqctl(&["change_password", &user.0, "other"]);
            end_connections(&host);
        };
        let change_back = async || rabbitmqctl(&["change_password", &user.0, "right"]);
        told_once(&ground, &worker, words, change, change_back).await;
        assert!(
            !worker.printed().contains("right"),
            "the password is in the log"
        );
    });
}

#[test]
fn a_virtual_host_that_is_gone() {
    block_on(async {
        let (user, host, ground, worker) = on_amqp().await;
        let words = ["not found", "rabbitmqctl add_vhost"];
        let delete = async || rabbitmqctl(&["delete_vhost", host.name()]);
        let make = async || host.make(&user.0);
        told_once(&ground, &worker, words, delete, make).await;
    });
}

#[test]
fn permissions_that_are_taken_away() {
    block_on(async {
        let (user, host, ground, worker) = on_amqp().await;
        let words = ["access to", "rabbitmqctl set_permissions"];
        let take = async || {
            user.permit(&host, "");
            end_connections(&host);
        };
        let give = async || user.permit(&host, ".*");
        told_once(&ground, &worker, words, take, give).await;
    });
}

/// A worker that may take calls and not publish what comes of them.
#[test]
fn results_that_may_not_be_published() {
    block_on(async {
        let host = VirtualHost::create();
        let user = User::create();
        host.make(&user.0);
        // It is another user who sends.
        let ground = Ground::at(Kind::Amqp, host.url()).await;
        let worker = ground.worker_at(&user.url(&host), "threads=2");
        worker.wait_for_line("worker is ready");
        let words = ["access to exchange", "rabbitmqctl set_permissions"];
        let permit = |what: &str| {
            rabbitmqctl(&[
                "set_permissions",
                "-p",
                host.name(),
                &user.0,
                ".*",
                what,
                ".*",
            ]);
        };
        let forbid = async || {
            permit(r"^(?!amq\.default$)");
            // What a connection may do is remembered for as long as it lasts.
            end_connections(&host);
            assert!(!ground.try_canary().await, "its result was published");
        };
        told_once(&ground, &worker, words, forbid, async || permit(".*")).await;
    });
}

#[test]
fn a_queue_that_is_deleted() {
    block_on(async {
        let (_user, _host, ground, worker) = on_amqp().await;
        let words = ["the server cancelled the subscription", QUEUE];
        let delete = async || {
            let channel = ground.channel().await;
            let deleted = channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default());
            deleted.await.unwrap();
        };
        told_once(&ground, &worker, words, delete, async || ()).await;
    });
}

#[test]
fn a_queue_that_is_declared_otherwise() {
    block_on(async {
        let ground = Ground::new(Kind::Amqp).await;
        let channel = ground.channel().await;
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(1000));
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let declared = channel.queue_declare(QUEUE.into(), durable, arguments);
        declared.await.unwrap();
        let worker = ground.worker("threads=2");
        ground.canary().await;
        let printed = worker.printed();
        let clear = |line: &&str| {
            line.contains("declared with other arguments") && line.contains("declare it alike")
        };
        assert_eq!(printed.lines().filter(clear).count(), 1, "{printed}");
    });
}

#[test]
fn who_cannot_log_in_is_told_why_and_ends() {
    block_on(async {
        let ground = Ground::new(Kind::Amqp).await;
        let wrong = ground.url.replace("guest:guest", "guest:sesame");
        let mut worker = ground.worker_at(&wrong, "threads=2");
        assert_eq!(worker.wait().code(), Some(3));
        let printed = worker.printed();
        assert!(
            printed.contains("help: check user name and password"),
            "{printed}"
        );
        assert!(!printed.contains("sesame"), "{printed}");
    });
}
