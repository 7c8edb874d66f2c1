//! What the server says and how it ends, on a server of the test's own.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{Broker, BrokerError, ResultState};
use celeriac_drivers::redis::{RedisStore, open};
use celeriac_testkit::peers::certify;
use celeriac_testkit::{call, queue, result, within};
use redis::Commands;

use super::broker_url;
use super::keys::{ack, consume, receive};
use crate::conformance::options;

/// A server on a socket in a folder, which keeps its data there.
struct Server {
    folder: tempfile::TempDir,
    child: Child,
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = run(folder.path().into());
        let server = Self { folder, child };
        server.answers().await;
        server
    }

    fn socket(&self) -> String {
        self.folder.path().join("redis.sock").display().to_string()
    }

    fn client(&self) -> redis::RedisResult<redis::Connection> {
        redis::Client::open(format!("redis+unix://{}", self.socket()))?.get_connection()
    }

    async fn answers(&self) {
        within(async {
            while self.client().is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    /// Kills it and starts it again on the same data.
    async fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = run(self.folder.path().into());
        self.answers().await;
    }

    fn configure(&self, setting: &str, value: &str) {
        let mut config = redis::cmd("CONFIG");
        config.arg(&["SET", setting, value]);
        let _: () = config.query(&mut self.client().unwrap()).unwrap();
    }

    async fn store(&self) -> Arc<RedisStore> {
        let url = format!("redis+unix://{}?virtual_host=2", self.socket());
        open(&broker_url(&url), &options()).await.unwrap()
    }
}

fn run(folder: PathBuf) -> Child {
    let arguments = "--port 0 --unixsocket redis.sock --appendonly yes --appendfsync always --save";
    Command::new("redis-server")
        .args(arguments.split(' '))
        .arg("")
        .current_dir(folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_server_that_is_killed_and_comes_back_has_lost_nothing() {
    let mut server = Server::start().await;
    let store = server.store().await;
    let both = ["held", "queued"].map(|task| (queue("jobs").into(), call(task, 1)));
    store.publish(both.into()).await.unwrap();
    let consumer = consume(&store, "c").await;
    let held = receive(&consumer).await;
    server.restart().await;
    let id = held.message.headers.id.clone();
    let settled = within(async {
        loop {
            let settlement = celeriac_core::Settlement {
                result: Some(result(&id, ResultState::Success, 1)),
                ..ack(&held)
            };
            match consumer.settle(vec![settlement]).await {
                Ok(settled) => return settled,
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
    });
    assert_eq!(settled.await, [celeriac_core::Settled::Done]);
    assert_eq!(receive(&consumer).await.message.headers.task, "queued");
}

#[tokio::test]
async fn a_full_server_is_full_and_takes_more_when_it_has_room() {
    let server = Server::start().await;
    let store = server.store().await;
    store
        .publish(vec![(queue("jobs").into(), call("t", 1))])
        .await
        .unwrap();
    server.configure("maxmemory", "1mb");
    let refused = store
        .publish(vec![(queue("jobs").into(), call("t", 2))])
        .await;
    let error = refused.unwrap_err();
    assert!(matches!(error, BrokerError::Full { .. }), "{error:?}");
    assert!(error.to_string().contains("maxmemory"), "{error}");
    server.configure("maxmemory", "0");
    store
        .publish(vec![(queue("jobs").into(), call("t", 3))])
        .await
        .unwrap();
}

#[tokio::test]
async fn what_the_server_refuses_for_a_while_passes_by_itself() {
    let server = Server::start().await;
    let store = server.store().await;
    let consumer = consume(&store, "c").await;
    let mut client = server.client().unwrap();
    let mut as_replica = |of: [&str; 2]| {
        let _: () = redis::cmd("REPLICAOF").arg(&of).query(&mut client).unwrap();
    };
    as_replica(["127.0.0.1", "1"]);
    let refused = store
        .publish(vec![(queue("jobs").into(), call("t", 1))])
        .await;
    let error = refused.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    let help = error.help().unwrap();
    assert!(help.contains("replica"), "{help}");
    as_replica(["NO", "ONE"]);
    within(async {
        while let Err(error) = store
            .publish(vec![(queue("jobs").into(), call("t", 1))])
            .await
        {
            assert!(error.is_transient(), "{error}");
        }
    })
    .await;
    within(async {
        loop {
            match consumer.receive(NonZeroUsize::MIN).await {
                Ok(got) => return assert_eq!(got.len(), 1),
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_password_that_is_asked_for_is_named_at_opening_and_waited_for_later() {
    let server = Server::start().await;
    let store = server.store().await;
    let mut client = server.client().unwrap();
    server.configure("requirepass", "s3cret");
    let url = format!("redis+unix://{}", server.socket());
    let refused = open(&broker_url(&url), &options()).await.unwrap_err();
    assert!(
        matches!(refused, BrokerError::Unusable { .. }),
        "{refused:?}"
    );
    assert!(refused.help().unwrap().contains("password"));
    // Its own connections are known already; new ones are not.
    let mut kill = redis::cmd("CLIENT");
    kill.arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let _: i64 = kill.query(&mut client).unwrap();
    let later = store
        .publish(vec![(queue("jobs").into(), call("t", 1))])
        .await;
    assert!(later.unwrap_err().is_transient());
    let _: () = redis::cmd("CONFIG")
        .arg(&["SET", "requirepass", ""])
        .query(&mut client)
        .unwrap();
    within(async {
        while let Err(error) = store
            .publish(vec![(queue("jobs").into(), call("t", 1))])
            .await
        {
            assert!(error.is_transient(), "{error}");
        }
    })
    .await;
}

/// Everything is gone, and whoever is there goes on.
#[tokio::test]
async fn a_flushed_database_is_filled_anew() {
    let server = Server::start().await;
    let store = server.store().await;
    let consumer = consume(&store, "c").await;
    store
        .publish(vec![(queue("jobs").into(), call("lost", 1))])
        .await
        .unwrap();
    let lost = receive(&consumer).await;
    let _: () = server.client().unwrap().flushall().unwrap();
    let settled = within(consumer.settle(vec![ack(&lost)])).await.unwrap();
    assert_eq!(settled, [celeriac_core::Settled::LeaseLost]);
    store
        .publish(vec![(queue("jobs").into(), call("new", 1))])
        .await
        .unwrap();
    assert_eq!(receive(&consumer).await.message.headers.task, "new");
    assert_eq!(store.consumers().await.unwrap().len(), 1);
}

/// A free port, for a server that wants to be told one.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Runs a tool to its end in a folder.
/// A child in a folder, killed when dropped.
struct Guarded(Child);

impl Guarded {
    fn server(folder: &std::path::Path, arguments: &str) -> Self {
        let child = Command::new("redis-server")
            .args(arguments.split_whitespace())
            .current_dir(folder)
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Opens a store, again while nobody listens yet.
async fn open_when_there(url: &str) -> Result<Arc<RedisStore>, BrokerError> {
    within(async {
        loop {
            match open(&broker_url(url), &options()).await {
                Err(error) if error.is_transient() && is_refused(&error) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                opened => return opened,
            }
        }
    })
    .await
}

fn is_refused(error: &BrokerError) -> bool {
    let source = std::error::Error::source(error).map(ToString::to_string);
    source.is_some_and(|text| text.contains("refused") || text.contains("master"))
}

#[tokio::test]
async fn tls_is_spoken_to_a_server_with_a_certificate_and_to_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    certify(path);
    let port = free_port();
    let _server = Guarded::server(
        path,
        &format!(
            "--port 0 --tls-port {port} --bind 127.0.0.1 --tls-cert-file own.pem \
             --tls-key-file own.key --tls-ca-cert-file ca.pem --tls-auth-clients no --save ''"
        ),
    );
    let authority = path.join("ca.pem");
    let url = |host: &str, options: &str| format!("rediss://{host}:{port}/0?{options}");
    let trusted = format!("ssl_ca_certs={}", authority.display());
    let store = open_when_there(&url("localhost", &trusted)).await.unwrap();
    store
        .publish(vec![(queue("jobs").into(), call("t", 1))])
        .await
        .unwrap();
    let consumer = consume(&store, "c").await;
    assert_eq!(receive(&consumer).await.message.headers.task, "t");
    for strange in [url("localhost", ""), url("127.0.0.1", &trusted)] {
        assert!(
            open(&broker_url(&strange), &options()).await.is_err(),
            "{strange}"
        );
    }
    let careless = url("127.0.0.1", "ssl_cert_reqs=none");
    open(&broker_url(&careless), &options()).await.unwrap();
}

#[tokio::test]
async fn sentinels_lead_to_the_master() {
    let folder = tempfile::tempdir().unwrap();
    let (port, watcher) = (free_port(), free_port());
    let _server = Guarded::server(folder.path(), &format!("--port {port} --save ''"));
    let config = format!("port {watcher}\nsentinel monitor mine 127.0.0.1 {port} 1\n");
    std::fs::write(folder.path().join("sentinel.conf"), config).unwrap();
    let _sentinel = Guarded::server(folder.path(), "sentinel.conf --sentinel");
    let url = format!("sentinel://127.0.0.1:{watcher}/0?master_name=mine");
    let store = open_when_there(&url).await.unwrap();
    store
        .publish(vec![(queue("jobs").into(), call("t", 1))])
        .await
        .unwrap();
    let consumer = consume(&store, "c").await;
    assert_eq!(receive(&consumer).await.message.headers.task, "t");
    let unknown = url.replace("mine", "other");
    assert!(open(&broker_url(&unknown), &options()).await.is_err());
}
