//! A worker that is stuck, and one that only seems to be.
#![allow(
    clippy::unwrap_used,
    reason = "a test that unwraps nothing fails, as it should"
)]

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac_core::task::encode_body;
use celeriac_core::{
    BoxFuture, Broker, BrokerUrl, CallOptions, ContentType, Executor, Invocation, Message, Place,
    QueueName, Registry, Run, ShutdownMode, TaskDefinition, TaskOptions,
};
use celeriac_drivers::DriverOptions;
use celeriac_health::{Health, HealthArgs};
use celeriac_testkit::peers::http_get;
use celeriac_worker::{RunningWorker, Worker, WorkerSettings};
use jiff::Timestamp;

static TASKS: [TaskDefinition; 1] = [TaskDefinition {
    name: "plain",
    signature: "plain",
    parameters: &[],
    is_async: false,
    wants_context: false,
    options: TaskOptions::DEFAULT,
    call: |_, _, _| Run::Ready(Ok(Vec::new())),
}];

/// An executor that blocks whoever submits, until it is let go.
#[derive(Debug)]
struct Blocking {
    /// Whether it says so.
    honest: bool,
    begun: SyncSender<()>,
    go: Mutex<Receiver<()>>,
}

impl Executor for Blocking {
    fn slots(&self) -> NonZeroUsize {
        NonZeroUsize::MIN
    }

    fn content_type(&self) -> Option<ContentType> {
        None
    }

    fn submit(&self, invocation: Invocation) {
        self.begun.send(()).unwrap();
        // The test has ended otherwise.
        let _ = self.go.lock().unwrap().recv();
        drop(invocation);
    }

    fn blocks(&self) -> bool {
        self.honest
    }

    fn shutdown(&self, _: ShutdownMode) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// A worker in the middle of a call that blocks it, until the sender is dropped.
struct Blocked {
    health: Health,
    _worker: RunningWorker,
    _go: SyncSender<()>,
}

impl Blocked {
    async fn new(honest: bool, file: &Path) -> Self {
        let Ok(Place::Broker(url)) = "memory:".parse::<Place>() else {
            panic!("memory is a broker");
        };
        let broker = open(&url).await;
        let body = encode_body(ContentType::Json, &()).unwrap();
        let options = CallOptions::default();
        let message = Message::new(
            "plain",
            body,
            &options,
            &TaskOptions::DEFAULT,
            Timestamp::now(),
        );
        let to = QueueName::default().into();
        broker.publish(vec![(to, message)]).await.unwrap();
        let ((begun, has_begun), (go, gone)) = (sync_channel(1), sync_channel(0));
        let executor = Arc::new(Blocking {
            honest,
            begun,
            go: Mutex::new(gone),
        });
        let args = HealthArgs {
            http: Some("127.0.0.1:0".parse().unwrap()),
            health_file: Some(file.to_owned()),
            ..HealthArgs::default()
        };
        let mut health = Health::open(&args, "worker@box").await.unwrap();
        let registry = Registry::of(&TASKS).unwrap();
        let worker = Worker::new(broker, executor, registry, WorkerSettings::default());
        let worker = worker.start().await.unwrap();
        let begun = move || has_begun.recv().unwrap();
        tokio::task::spawn_blocking(begun).await.unwrap();
        health.attend(&worker);
        Self {
            health,
            _worker: worker,
            _go: go,
        }
    }

    async fn get(&self, path: &'static str) -> (u16, String) {
        let address = self.health.address().unwrap().to_string();
        let asked = tokio::task::spawn_blocking(move || http_get(&address, path));
        asked.await.unwrap()
    }
}

async fn open(url: &BrokerUrl) -> Arc<dyn Broker> {
    let options = DriverOptions::default();
    celeriac_drivers::open(url, &options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_worker_whose_dispatcher_is_stuck_is_not_alive() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("alive");
    let blocked = Blocked::new(false, &file).await;
    let stuck = (503, "the dispatcher does not answer\n".to_owned());
    assert_eq!(blocked.get("/livez").await, stuck);
    assert_eq!(blocked.get("/readyz").await, stuck);
    let (status, page) = blocked.get("/metrics").await;
    assert!(
        status == 200 && page.contains("\nceleriac_ready 0\n"),
        "{page}"
    );
    assert!(!file.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn one_that_runs_a_call_in_the_dispatchers_place_is_alive() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("alive");
    let blocked = Blocked::new(true, &file).await;
    let ok = (200, "ok\n".to_owned());
    assert_eq!(blocked.get("/livez").await, ok);
    assert_eq!(blocked.get("/readyz").await, ok);
    let written = async {
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let written = tokio::time::timeout(Duration::from_secs(30), written);
    written.await.expect("the file is written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn before_there_is_a_worker_it_is_alive_and_not_ready() {
    let args = HealthArgs {
        http: Some("127.0.0.1:0".parse().unwrap()),
        ..HealthArgs::default()
    };
    let health = Health::open(&args, "worker@box").await.unwrap();
    let address = health.address().unwrap().to_string();
    let get = move |path: &str| http_get(&address, path);
    let answers = tokio::task::spawn_blocking(move || [get("/livez"), get("/readyz")]);
    let [livez, readyz] = answers.await.unwrap();
    assert_eq!(livez.0, 200);
    assert_eq!(readyz, (503, "the worker is starting\n".to_owned()));
}
