//! More than anybody would ask: a worker misses what is too much, says so, and works on.

use std::time::{Duration, Instant};

use celeriac::canvas::remote;
use celeriac_testkit::block_on;
use celeriac_testkit::peers::{OwnedChild, http_get, unique};
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::broadcaster::{Broadcaster, PIDBOX};
use super::ground::{Ground, Kind, QUEUE, peak_bytes};
use super::operator::Operator;

/// How many commands come as fast as they can be sent: far more than are heard ahead.
const FLOOD: usize = 20_000;

/// How many askers they come from, none of which waits for its answers.
const ASKERS: usize = 50;

/// How much memory a flood may cost a worker: what may wait to be heard, and as much again for what it is
/// read into.
const MOST_BYTES: u64 = 2 * 32 * 1024 * 1024;

/// How long an answer is kept that nobody reads.
const KEPT_S: i64 = 60;

/// A worker, the operator who asks it, and how much memory it has had at most.
struct Flooded {
    node: String,
    worker: OwnedChild,
    address: String,
    before: u64,
}

impl Flooded {
    async fn start(ground: &Ground) -> Self {
        let node = format!("{}@here", unique("flooded"));
        let words = ["-P", "threads=2", "-n", &node, "--http", "127.0.0.1:0"];
        let worker = ground.worker_with(&ground.url, &words);
        let line = worker.wait_for_line("health is served at http://");
        let (_, address) = line.trim().split_once("http://").unwrap();
        let address = address.to_owned();
        worker.wait_for_line("worker is ready");
        ground.canary().await;
        let before = peak_bytes(&worker);
        Self {
            node,
            worker,
            address,
            before,
        }
    }

    /// How much more memory it has had than before.
    fn growth_bytes(&self) -> u64 {
        peak_bytes(&self.worker) - self.before
    }

    fn page(&self) -> String {
        http_get(&self.address, "/metrics").1
    }
}

/// A command of the sort of this number.
fn command(number: usize) -> Value {
    let asker = format!("asker-{}", number % ASKERS);
    let mut command = match number % 5 {
        0 => json!({"method": "ping", "arguments": {}}),
        1 => json!({"method": format!("unknown_{number}"), "arguments": {"x": number}}),
        2 => json!({"method": "revoke", "arguments": {"task_id": format!("call-{number}")}}),
        3 => json!({"method": "stats", "pattern": "flooded-*", "matcher": "glob"}),
        _ => {
            json!({"method": "active", "pattern": "(nobody|[a-z]{1,50}x){1,20}@there", "matcher": "pcre"})
        }
    };
    command["ticket"] = json!(number.to_string());
    command["reply_to"] = json!({"exchange": format!("reply.{PIDBOX}"), "routing_key": asker});
    command
}

async fn misses_what_is_too_much(kind: Kind) {
    let ground = Ground::new(kind).await;
    let flooded = Flooded::start(&ground).await;
    if kind == Kind::Redis {
        let mut connection = Ground::redis();
        for asker in (0..ASKERS).map(|number| format!("asker-{number}")) {
            let table = ground.key(&format!("_kombu.binding.reply.{PIDBOX}"));
            let binding = format!("{asker}\u{6}\u{16}\u{6}\u{16}{asker}.reply.{PIDBOX}");
            let mut bind = redis::cmd("SADD");
            let _: () = bind.arg(table).arg(binding).query(&mut connection).unwrap();
        }
    }
    let soon = ground.soon().await;
    let mut broadcaster = Broadcaster::new(&ground).await;
    let commands: Vec<_> = (0..FLOOD)
        .map(|number| command(number).to_string())
        .collect();
    let mut slowest = Duration::ZERO;
    for some in commands.chunks(FLOOD / 20) {
        broadcaster.flood(some).await;
        slowest = slowest.max(ground.canary().await);
    }
    assert!(slowest < soon, "a good task took {slowest:?}");
    let operator = Operator::at(&ground.url);
    operator.until_answered(&flooded.node);
    flooded
        .worker
        .wait_until_printed("requests of remote control were too many, and not heard");
    let grown = flooded.growth_bytes();
    assert!(grown < MOST_BYTES, "the worker grew by {grown} bytes");
    if kind == Kind::Redis {
        kept_for_a_while(&ground);
    }
}

/// Answers that nobody reads are there, and will not be for long.
fn kept_for_a_while(ground: &Ground) {
    let mut connection = Ground::redis();
    let mut find = redis::cmd("KEYS");
    let pattern = ground.key(&format!("asker-*.reply.{PIDBOX}"));
    let lists: Vec<String> = find.arg(pattern).query(&mut connection).unwrap();
    assert!((1..=ASKERS).contains(&lists.len()), "{lists:?}");
    for list in lists {
        let mut ask = redis::cmd("TTL");
        let left_s: i64 = ask.arg(&list).query(&mut connection).unwrap();
        assert!((0..=KEPT_S).contains(&left_s), "{list}: {left_s}");
    }
}

#[test]
fn a_flood_of_commands_is_missed_on_redis() {
    block_on(misses_what_is_too_much(Kind::Redis));
}

#[test]
fn a_flood_of_commands_is_missed_on_amqp() {
    block_on(misses_what_is_too_much(Kind::Amqp));
}

/// Commands of these sizes, in bytes: the largest that is heard is 8 MiB.
const HUGE: [usize; 4] = [5_000_000, 9_000_000, 40_000_000, 100_000_000];

async fn misses_what_is_too_large(kind: Kind) {
    let ground = Ground::new(kind).await;
    let flooded = Flooded::start(&ground).await;
    let operator = Operator::at(&ground.url);
    let mut broadcaster = Broadcaster::new(&ground).await;
    for size_bytes in HUGE {
        let argument = "x".repeat(size_bytes);
        let command = json!({"method": "ping", "arguments": {"x": argument}}).to_string();
        broadcaster.flood(&[command]).await;
        operator.until_answered(&flooded.node);
        ground.canary().await;
    }
    // As much as the transport has to take in before it can be looked at, on Redis in Base64.
    let most = HUGE[3] as u64 * 3;
    let grown = flooded.growth_bytes();
    assert!(grown < most, "the worker grew by {grown} bytes");
}

#[test]
fn a_huge_command_is_missed_on_redis() {
    block_on(misses_what_is_too_large(Kind::Redis));
}

#[test]
fn a_huge_command_is_missed_on_amqp() {
    block_on(misses_what_is_too_large(Kind::Amqp));
}

/// How many tasks are called that nobody has registered, each by a name of its own.
const NAMES: usize = 10_000;

/// How long a worker may take for all of them.
const LIMIT: Duration = Duration::from_secs(90);

async fn names_without_end(kind: Kind) {
    let ground = Ground::new(kind).await;
    let flooded = Flooded::start(&ground).await;
    let samples = |page: &str| page.lines().filter(|line| line.contains("task=")).count();
    let before = samples(&flooded.page());
    for some in (0..NAMES).collect::<Vec<_>>().chunks(500) {
        let call = |number| {
            remote::<(), ()>(format!("made.up.{number}"))
                .call(())
                .queue(QUEUE)
        };
        try_join_all(some.iter().map(|number| ground.app.send(call(number))))
            .await
            .unwrap();
    }
    let other = "celeriac_tasks_received_total{task=\"other\",queue=\"other\"}";
    let other = format!("{other} {NAMES}\n");
    let begun = Instant::now();
    while !flooded.page().contains(&other) {
        assert!(begun.elapsed() < LIMIT, "{}", flooded.page());
        sleep(Duration::from_millis(50)).await;
    }
    let page = flooded.page();
    assert!(!page.contains("made.up"), "{page}");
    assert!(samples(&page) <= 2 * before, "{page}");
    ground.canary().await;
    let grown = flooded.growth_bytes();
    assert!(grown < MOST_BYTES, "the worker grew by {grown} bytes");
}

#[test]
fn names_without_end_are_counted_together_on_redis() {
    block_on(names_without_end(Kind::Redis));
}

#[test]
fn names_without_end_are_counted_together_on_amqp() {
    block_on(names_without_end(Kind::Amqp));
}
