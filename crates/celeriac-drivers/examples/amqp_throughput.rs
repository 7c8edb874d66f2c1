//! Measures the amqp driver: sending, draining, and one call at a time.
//!
//! `cargo run --release -p celeriac-drivers --example amqp_throughput [-- URL [MESSAGES]]`
//!
//! The URL is `amqp://guest:guest@localhost//` unless given. Queues of its own are deleted after.
#![allow(
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it measures and says what it found"
)]

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use celeriac_core::broker::Subscription;
use celeriac_core::task::encode_body;
use celeriac_core::{
    Broker, CallOptions, Consumer, ContentType, Delivery, Destination, Message, Payload, Place,
    QueueName, ResultState, Settlement, StoredResult, TaskId, TaskOptions, Trail, Verdict,
};
use celeriac_drivers::DriverOptions;
use celeriac_drivers::amqp::{self, AmqpBroker};
use jiff::Timestamp;

const BATCH: usize = 500;

const PINGS: usize = 500;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let server = arguments
        .first()
        .map_or("amqp://guest:guest@localhost//", String::as_str);
    let count: usize = arguments.get(1).map_or(100_000, |it| it.parse().unwrap());
    let prefix = format!("throughput-{}-", std::process::id());
    let Place::Broker(url) =
        format!("{server}?queue_name_prefix={prefix}&control_exchange={prefix}celery")
            .parse()
            .unwrap()
    else {
        panic!("{server} is no broker");
    };
    let (client, worker) = (open(&url).await, open(&url).await);

    for (what, results) in [("without results", false), ("with results", true)] {
        let started = Instant::now();
        for start in (0..count).step_by(BATCH) {
            let end = count.min(start + BATCH);
            let batch = (start..end).map(|_| call(TaskId::new(), results)).collect();
            client.publish(batch).await.unwrap();
        }
        report(
            &format!("send, confirmed, {what}"),
            count,
            started.elapsed(),
        );
        let started = Instant::now();
        settle_most(&subscribe(&worker).await, count, results).await;
        report(
            &format!("drain, late ack, {what}"),
            count,
            started.elapsed(),
        );
    }
    let consumer = subscribe(&worker).await;
    let serving = tokio::spawn(async move { settle_most(&consumer, usize::MAX, true).await });
    ping(&client).await;
    serving.abort();
    client.delete_what_it_knows(&client).await.unwrap();
}

async fn open(url: &celeriac_core::BrokerUrl) -> Arc<AmqpBroker> {
    Arc::new(amqp::open(url, &DriverOptions::default()).await.unwrap())
}

/// Sends calls one by one and waits for the result of each.
async fn ping(client: &Arc<AmqpBroker>) {
    let mut watch = client.results().unwrap().watch().await.unwrap();
    let mut times = Vec::new();
    for _ in 0..PINGS {
        let id = TaskId::new();
        let started = Instant::now();
        watch.add(std::slice::from_ref(&id));
        // The result may be here before the server has confirmed the call.
        let publishing = client.publish(vec![call(id, true)]);
        let (published, ()) = tokio::join!(publishing, async {
            watch.next().await.unwrap();
            times.push(started.elapsed());
        });
        published.unwrap();
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

fn call(id: TaskId, result: bool) -> (Destination, Message) {
    let body = encode_body(ContentType::Json, &(1,)).unwrap();
    let options = CallOptions {
        id: Some(id),
        ignore_result: Some(!result),
        ..CallOptions::default()
    };
    let now = Timestamp::now();
    let message = Message::new("empty", body, &options, &TaskOptions::DEFAULT, now);
    (Destination::default(), message)
}

async fn subscribe(store: &Arc<AmqpBroker>) -> Arc<dyn Consumer> {
    let subscription = Subscription::new("bench", vec![QueueName::default()]);
    store.consume(subscription).await.unwrap()
}

fn ending(delivery: &Delivery, result: bool) -> Settlement {
    let now = Timestamp::now();
    let stored = || StoredResult {
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
    };
    Settlement {
        tag: delivery.tag,
        verdict: Verdict::Ack,
        result: result.then(stored),
        follow_ups: Vec::new(),
    }
}

/// Receives and settles until `most` deliveries are done, settling one batch while the next comes.
async fn settle_most(consumer: &Arc<dyn Consumer>, most: usize, results: bool) {
    let credit = NonZeroUsize::new(2 * BATCH).unwrap();
    let mut settling = None;
    let mut done = 0;
    while done < most {
        let got = consumer.receive(credit).await.unwrap();
        done += got.len();
        let endings = got.iter().map(|it| ending(it, results)).collect();
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
