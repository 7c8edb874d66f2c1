//! Workers that are killed, whose part a child plays.

#![allow(clippy::print_stdout, reason = "a child tells its parent through it")]

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use celeriac_core::Broker;
use celeriac_core::broker::Subscription;
use celeriac_drivers::redis::open;
use celeriac_testkit::{message, queue, within};

use super::keys::ack;
use super::{Store, broker_url};
use crate::conformance::options;
use crate::player::{self, Player};

/// A lease that the test can wait for.
const LEASE: Duration = Duration::from_secs(2);

fn subscription(name: &str) -> Subscription {
    Subscription {
        lease: LEASE,
        delivery_limit: 1000.try_into().unwrap(),
        suspects: NonZeroUsize::MAX,
        ..Subscription::new(name, vec![queue("jobs")])
    }
}

/// Claims and settles until it is killed.
async fn play(url: &str) {
    let store = open(&broker_url(url), &options()).await.unwrap();
    let consumer = store.consume(subscription("mortal")).await.unwrap();
    println!("> ready");
    loop {
        let got = consumer
            .receive(NonZeroUsize::new(7).unwrap())
            .await
            .unwrap();
        let settlements: Vec<_> = got.iter().map(ack).collect();
        for delivery in &got {
            println!("> run {}", delivery.message.headers.id);
        }
        consumer.settle(settlements).await.unwrap();
        for delivery in &got {
            println!("> done {}", delivery.message.headers.id);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_loses_nothing() {
    const MESSAGES: usize = 3000;
    const KILLS: usize = 10;
    const TEST: &str = "redis::kills::a_killed_worker_loses_nothing";
    if let Some(url) = player::part() {
        return play(&url).await;
    }
    let place = Store::new("kills", "");
    let store = place.store().await;
    for start in (0..MESSAGES).step_by(500) {
        let batch = start..start + 500;
        let batch = batch.map(|n| {
            (
                queue("jobs").into(),
                message(n.to_string().into(), "t", n, 0),
            )
        });
        store.publish(batch.collect()).await.unwrap();
    }
    let mut done: HashMap<String, usize> = HashMap::new();
    let mut ran = 0;
    for kill in 0..KILLS {
        let url = place.url.clone();
        let (said, count) = tokio::task::spawn_blocking(move || {
            let mut player = Player::start(TEST, &url);
            assert_eq!(player.says().as_deref(), Some("ready"));
            let mut said = Vec::new();
            // Somewhere between a claim and its settlement, or just after it.
            while said.len() < 40 + 11 * kill {
                said.extend(player.says());
            }
            player.child.kill().unwrap();
            while let Some(line) = player.says() {
                said.push(line);
            }
            let count = said.iter().filter(|line| line.starts_with("run ")).count();
            (said, count)
        })
        .await
        .unwrap();
        ran += count;
        for line in said {
            if let Some(id) = line.strip_prefix("done ") {
                *done.entry(id.to_owned()).or_default() += 1;
            }
        }
    }
    let consumer = store.consume(subscription("survivor")).await.unwrap();
    let started = Instant::now();
    let mut again = 0;
    let mut settled = 0;
    within(async {
        loop {
            let depth = store.queues().await.unwrap();
            if depth[0].ready + depth[0].held == 0 {
                return;
            }
            let wait = Duration::from_millis(300);
            let received = consumer.receive(NonZeroUsize::new(500).unwrap());
            let Ok(got) = tokio::time::timeout(wait, received).await else {
                continue;
            };
            let got = got.unwrap();
            again += got.iter().filter(|it| it.deliveries > 1).count();
            settled += got.len();
            for delivery in &got {
                *done
                    .entry(delivery.message.headers.id.to_string())
                    .or_default() += 1;
            }
            consumer
                .settle(got.iter().map(ack).collect())
                .await
                .unwrap();
        }
    })
    .await;
    // Some were settled by one who was killed before it could say so.
    let unsaid = MESSAGES - done.len();
    assert!(unsaid <= 7 * KILLS, "{unsaid} messages are nowhere");
    assert!(ran + settled >= MESSAGES, "each was run");
    assert!(again <= 7 * KILLS, "{again} were delivered again");
    assert!(
        done.values().all(|times| *times == 1),
        "none was settled twice"
    );
    assert!(started.elapsed() < LEASE + Duration::from_secs(10));
    assert!(store.dead(1).await.unwrap().is_empty());
}
