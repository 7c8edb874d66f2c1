//! Measures the redis driver with a producer and a consumer in separate processes.
//!
//! `cargo run --release -p celeriac-drivers --example redis_throughput [-- URL [MESSAGES]]`
//!
//! It uses keys of its own, which it deletes at the end, in a database that may hold others.
#![allow(
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it measures and says what it found"
)]

use std::num::NonZeroUsize;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use celeriac_core::broker::Subscription;
use celeriac_core::task::encode_body;
use celeriac_core::{
    Broker, CallOptions, Consumer, ContentType, Delivery, Destination, Message, Payload, Place,
    QueueName, ResultState, Settlement, StoredResult, TaskId, TaskOptions, Trail, Verdict,
};
use celeriac_drivers::{DriverOptions, redis};
use jiff::Timestamp;

const BATCH: usize = 500;

const PINGS: usize = 1000;

/// How many single sends are under way at once.
const WINDOW: usize = 1000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["produce", url, count] => produce(&open(url).await, count.parse().unwrap()).await,
        ["consume", url] => consume(&open(url).await).await,
        _ => measure(&words).await,
    }
}

/// Runs the measurements.
async fn measure(words: &[&str]) {
    let server = words.first().copied().unwrap_or("redis://localhost/15");
    let count: usize = words.get(1).map_or(200_000, |it| it.parse().unwrap());
    let run = uuid::Uuid::new_v4().simple().to_string();
    let url = format!("{server}?global_keyprefix={run}:&result_keyprefix={run}:");
    let store = open(&url).await;

    let started = Instant::now();
    produce(&store, count).await;
    report("bulk enqueue", count, started.elapsed());
    for (what, results) in [("with", true), ("without", false)] {
        if !results {
            produce(&store, count).await;
        }
        let started = Instant::now();
        drain(&store, count, results).await;
        let what = format!("claim and settle {what} results, alone");
        report(&what, count, started.elapsed());
    }
    send_singly(&store, count / 4).await;
    store.purge(&QueueName::default()).await.unwrap();

    let mut consumer = start(&["consume", &url]);
    while store.consumers().await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ping(&store).await;
    let mut watch = store.results().unwrap().watch().await.unwrap();
    watch.add(&(0..count).map(id).collect::<Vec<_>>());
    let started = Instant::now();
    let mut producer = start(&["produce", &url, &count.to_string()]);
    let mut seen = 0;
    while seen < count {
        seen += watch.next().await.unwrap().len();
    }
    report(
        "whole cycle, producer and consumer apart, results seen",
        count,
        started.elapsed(),
    );
    assert!(producer.wait().unwrap().success());
    consumer.kill().unwrap();
    consumer.wait().unwrap();
    clean(server, &run);
}

/// Sends calls one by one to the other process and waits for the result of each.
async fn ping(store: &Arc<redis::RedisStore>) {
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

/// Sends calls each for itself, without waiting for one before the next.
async fn send_singly(store: &Arc<redis::RedisStore>, count: usize) {
    let started = Instant::now();
    let mut under_way = tokio::task::JoinSet::new();
    for number in 0..count {
        while under_way.len() >= WINDOW {
            under_way.join_next().await;
        }
        let store = store.clone();
        under_way.spawn(async move { store.publish(vec![call(id(number))]).await.unwrap() });
    }
    while under_way.join_next().await.is_some() {}
    report(
        "send one by one, without waiting for each",
        count,
        started.elapsed(),
    );
}

fn report(what: &str, count: usize, time: Duration) {
    let rate = count as f64 / time.as_secs_f64();
    println!("{what}: {count} in {time:.2?}, {rate:.0}/s");
}

async fn open(url: &str) -> Arc<redis::RedisStore> {
    let Ok(Place::Broker(url)) = url.parse() else {
        panic!("{url} is no URL")
    };
    redis::open(&url, &DriverOptions::default()).await.unwrap()
}

fn start(words: &[&str]) -> Child {
    let program = std::env::current_exe().unwrap();
    Command::new(program).args(words).spawn().unwrap()
}

/// The id of a call, the same in every process.
fn id(number: usize) -> TaskId {
    format!("call-{number}").into()
}

fn call(id: TaskId) -> (Destination, Message) {
    let body = encode_body(ContentType::Json, &(17, "a text of some length")).unwrap();
    let options = CallOptions {
        id: Some(id),
        ..CallOptions::default()
    };
    let now = Timestamp::now();
    let message = Message::new("bench.add", body, &options, &TaskOptions::DEFAULT, now);
    (Destination::default(), message)
}

async fn produce(store: &Arc<redis::RedisStore>, count: usize) {
    let mut sent = 0;
    while sent < count {
        let end = count.min(sent + BATCH);
        let messages = (sent..end).map(|number| call(id(number))).collect();
        store.publish(messages).await.unwrap();
        sent = end;
    }
}

async fn subscribe(store: &Arc<redis::RedisStore>) -> Arc<dyn Consumer> {
    let subscription = Subscription::new("bench", vec![QueueName::default()]);
    store.consume(subscription).await.unwrap()
}

/// Settles whatever comes, with results, for ever.
async fn consume(store: &Arc<redis::RedisStore>) {
    let consumer = subscribe(store).await;
    settle_all(&consumer, usize::MAX, true).await;
}

async fn drain(store: &Arc<redis::RedisStore>, count: usize, results: bool) {
    let consumer = subscribe(store).await;
    settle_all(&consumer, count, results).await;
    consumer.close().await.unwrap();
}

/// Fetches the next batch while the last one is settled, as a worker does.
async fn settle_all(consumer: &Arc<dyn Consumer>, count: usize, results: bool) {
    let credit = NonZeroUsize::new(BATCH).unwrap();
    let mut settled = 0;
    let mut settling: Option<tokio::task::JoinHandle<usize>> = None;
    let mut fetched = 0;
    while settled < count {
        if fetched < count {
            let deliveries = consumer.receive(credit).await.unwrap();
            fetched += deliveries.len();
            let settlements: Vec<_> = deliveries.iter().map(|it| ending(it, results)).collect();
            let consumer = consumer.clone();
            let next = tokio::spawn(async move {
                let done = settlements.len();
                consumer.settle(settlements).await.unwrap();
                done
            });
            if let Some(before) = settling.replace(next) {
                settled += before.await.unwrap();
            }
        } else if let Some(last) = settling.take() {
            settled += last.await.unwrap();
        }
    }
}

fn ending(delivery: &Delivery, results: bool) -> Settlement {
    let now = Timestamp::now();
    let result = StoredResult {
        id: delivery.message.headers.id.clone(),
        task: delivery.message.headers.task.clone(),
        state: ResultState::Success,
        value: Some(Payload::encode(ContentType::Json, &19).unwrap()),
        error: None,
        attempt: 1,
        stored_at: now,
        expires_at: now + Duration::from_secs(3600),
        trail: Trail::default(),
    };
    Settlement {
        tag: delivery.tag,
        verdict: Verdict::Ack,
        result: results.then_some(result),
        follow_ups: Vec::new(),
    }
}

/// Deletes what this run has written.
fn clean(server: &str, run: &str) {
    let delete =
        "for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do redis.call('UNLINK', key) end";
    let mut connection = ::redis::Client::open(server)
        .unwrap()
        .get_connection()
        .unwrap();
    let script = ::redis::Script::new(delete);
    script.arg(run).invoke::<()>(&mut connection).unwrap();
}
