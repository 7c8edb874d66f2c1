//! Measures the sqlite driver with a producer and a consumer in separate processes.
//!
//! `cargo run --release -p celeriac-drivers --example sqlite_throughput [-- DIRECTORY [MESSAGES]]`
#![allow(
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it measures and says what it found"
)]

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use celeriac_core::broker::Subscription;
use celeriac_core::task::encode_body;
use celeriac_core::{
    Broker, CallOptions, Consumer, ContentType, Delivery, Destination, Message, Payload, QueueName,
    ResultState, Settlement, StoredResult, TaskId, TaskOptions, Trail, Verdict,
};
use celeriac_drivers::{DriverOptions, sqlite};
use jiff::Timestamp;

const BATCH: usize = 500;

const PINGS: usize = 500;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["produce", path, count] => produce(Path::new(path), count.parse().unwrap()).await,
        ["consume", path] => consume(Path::new(path)).await,
        _ => measure(&words).await,
    }
}

/// Runs the three measurements, each on a new file.
async fn measure(words: &[&str]) {
    let directory = match words.first() {
        Some(place) => tempfile::tempdir_in(place),
        None => tempfile::tempdir(),
    };
    let directory = directory.unwrap();
    let count: usize = words.get(1).map_or(200_000, |it| it.parse().unwrap());

    let started = Instant::now();
    let path = directory.path().join("enqueue.db");
    produce(&path, count).await;
    report("bulk enqueue", count, started.elapsed());

    let started = Instant::now();
    drain(&path, count).await;
    report(
        "claim and settle with results, alone",
        count,
        started.elapsed(),
    );

    let path = directory.path().join("cycle.db");
    let store = open(&path).await;
    let mut consumer = start(&["consume", path.to_str().unwrap()]);
    until_consumed(&store).await;
    let started = Instant::now();
    let mut producer = start(&["produce", path.to_str().unwrap(), &count.to_string()]);
    let mut watch = store.results().unwrap().watch().await.unwrap();
    watch.add(&[id(count - 1)]);
    watch.next().await.unwrap();
    report(
        "whole cycle, producer and consumer apart",
        count,
        started.elapsed(),
    );
    assert!(producer.wait().unwrap().success());

    ping(&store).await;
    consumer.kill().unwrap();
    consumer.wait().unwrap();
}

/// Sends calls one by one to the other process and waits for the result of each.
async fn ping(store: &Arc<sqlite::SqliteStore>) {
    let mut watch = store.results().unwrap().watch().await.unwrap();
    let mut times = Vec::new();
    for _ in 0..PINGS {
        let id = TaskId::new();
        let started = Instant::now();
        watch.add(std::slice::from_ref(&id));
        store.publish(vec![call(id)]).await.unwrap();
        watch.next().await.unwrap();
        times.push(started.elapsed());
    }
    times.sort();
    println!(
        "send to result seen, one at a time: p50 {:?}, p99 {:?}",
        times[PINGS / 2],
        times[PINGS * 99 / 100]
    );
}

fn report(what: &str, count: usize, time: Duration) {
    let rate = count as f64 / time.as_secs_f64();
    println!("{what}: {count} in {time:.2?}, {rate:.0}/s");
}

async fn open(path: &Path) -> Arc<sqlite::SqliteStore> {
    sqlite::open(path, &DriverOptions::default()).await.unwrap()
}

fn start(words: &[&str]) -> Child {
    let program = std::env::current_exe().unwrap();
    Command::new(program).args(words).spawn().unwrap()
}

async fn until_consumed(store: &Arc<sqlite::SqliteStore>) {
    while store.consumers().await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn queue() -> QueueName {
    QueueName::default()
}

/// The id of the `index`-th call, so that another process knows it.
fn id(index: usize) -> TaskId {
    format!("01234567-89ab-7def-8000-{index:012x}").into()
}

fn call(id: TaskId) -> (Destination, Message) {
    let body = encode_body(ContentType::Json, &(1,)).unwrap();
    let options = CallOptions {
        id: Some(id),
        ..CallOptions::default()
    };
    let message = Message::new(
        "empty",
        body,
        &options,
        &TaskOptions::DEFAULT,
        Timestamp::now(),
    );
    (queue().into(), message)
}

async fn produce(path: &Path, count: usize) {
    let store = open(path).await;
    // Two publications under way: one is encoded while the other is written.
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Vec<_>>(1);
    let writing = tokio::spawn(async move {
        while let Some(batch) = receiver.recv().await {
            store.publish(batch).await.unwrap();
        }
    });
    for start in (0..count).step_by(BATCH) {
        let end = count.min(start + BATCH);
        let batch = (start..end).map(|index| call(id(index))).collect();
        sender.send(batch).await.unwrap();
    }
    drop(sender);
    writing.await.unwrap();
}

async fn subscribe(store: &Arc<sqlite::SqliteStore>) -> Arc<dyn Consumer> {
    let subscription = Subscription::new("bench", vec![queue()]);
    store.consume(subscription).await.unwrap()
}

fn ending(delivery: &Delivery) -> Settlement {
    let now = Timestamp::now();
    Settlement {
        tag: delivery.tag,
        verdict: Verdict::Ack,
        result: Some(StoredResult {
            id: delivery.message.headers.id.clone(),
            task: delivery.message.headers.task.clone(),
            state: ResultState::Success,
            value: Some(Payload {
                content_type: ContentType::Json,
                bytes: "null".into(),
            }),
            error: None,
            attempt: 1,
            stored_at: now,
            expires_at: now + Duration::from_secs(3600),
            trail: Trail::default(),
        }),
        follow_ups: Vec::new(),
    }
}

/// Receives and settles until `most` deliveries are done, settling one batch while the next comes.
async fn settle_most(consumer: &Arc<dyn Consumer>, most: usize) {
    let credit = NonZeroUsize::new(BATCH).unwrap();
    let mut settling = None;
    let mut done = 0;
    while done < most {
        let got = consumer.receive(credit).await.unwrap();
        done += got.len();
        let endings = got.iter().map(ending).collect();
        let consumer = consumer.clone();
        let next = tokio::spawn(async move { consumer.settle(endings).await.unwrap().len() });
        if let Some(before) = settling.replace(next) {
            before.await.unwrap();
        }
    }
    if let Some(last) = settling {
        last.await.unwrap();
    }
}

async fn drain(path: &Path, count: usize) {
    let store = open(path).await;
    settle_most(&subscribe(&store).await, count).await;
}

async fn consume(path: &Path) {
    let store = open(path).await;
    settle_most(&subscribe(&store).await, usize::MAX).await;
}
