//! What an operator does to Celery is done to a worker in Rust with the same tools.

use std::time::Duration;

use celeriac::worker::{Shutdown, Worker, WorkerSettings};
use celeriac::{Context, Interrupted, QueueName};
use celeriac_testkit::peers::{CeleryVersion, OPERATOR, unique};
use serde_json::{Value, json};

use super::fleet::{Fleet, Kind};

/// Runs until it is told to stop.
#[celeriac::task(name = "rust.linger")]
async fn linger(context: &Context, _order: u64) -> Result<(), Interrupted> {
    Err(context.interrupted().await)
}

/// Operates a worker of a fleet. Much is asked of it, which takes its time on a busy machine.
fn operate(kind: Kind, version: CeleryVersion) {
    celeriac_testkit::block_on(async {
        let fleet = Fleet::assemble(kind, version).await;
        an_operator_is_answered_as_by_celery(&fleet).await;
    });
}

#[test]
fn redis_celery_5_7() {
    operate(Kind::Redis, CeleryVersion::V57);
}

#[test]
fn redis_celery_5_4() {
    operate(Kind::Redis, CeleryVersion::V54);
}

#[test]
fn amqp_celery_5_7() {
    operate(Kind::Amqp, CeleryVersion::V57);
}

async fn an_operator_is_answered_as_by_celery(fleet: &Fleet) {
    let (node, queue) = (format!("{}@localhost", unique("rust")), unique("q"));
    let mut settings = WorkerSettings::default();
    settings.name.clone_from(&node);
    settings.queues = vec![QueueName::new(&queue).unwrap()];
    settings.prefetch.multiplier = 4;
    let worker = Worker::new(
        fleet.app.broker().unwrap().clone(),
        celeriac_executor::open(&"coroutines=1".parse().unwrap()).unwrap(),
        fleet.app.registry().clone(),
        settings,
    );
    let worker = worker.start().await.unwrap();
    let script = include_str!("control.py");
    let script = format!("NODE, QUEUE = {node:?}, {queue:?}\n{OPERATOR}{script}");
    let script = fleet.python.script(&script);
    let mut answer = tokio_free(move || script.answer()).await;

    let running = answer["active"][0].take();
    assert_eq!(running["args"], json!([7]));
    assert_eq!(running["hostname"], json!(node));
    assert!(running["time_start"].as_f64().unwrap() > 1e9, "{running}");
    assert_eq!(answer["active safe"][0]["args"], "(7,)");
    let refused = answer["add"][3].take();
    let reason = refused["error"].as_str().unwrap();
    assert!(reason.contains("cannot be topic and direct"), "{refused}");
    let added = |name: &str| json!({"ok": format!("add consumer {queue}-{name}")});
    let once = [added("more"), added("more"), added("topic"), Value::Null];
    assert_eq!(answer["add"], json!(once));
    let left = |name: &str| json!({"ok": format!("no longer consuming from {name}")});
    let left = [left(&format!("{queue}-more")), left("nowhere")];
    assert_eq!(answer["cancel"], json!(left));
    let registered = answer["registered"].take();
    for name in ["rust.add", "rust.linger"] {
        let names = registered.as_array().unwrap();
        assert!(names.contains(&json!(name)), "{registered}");
    }
    let ok = |text: &str| json!({"ok": text});
    let error = |text: &str| json!({"error": text});
    let already = |what: &str| ok(&format!("task events already {what}"));
    let expected = [
        ("enable", ok("task events enabled")),
        ("ping", ok("pong")),
        ("ping by pattern", json!([true, true, false])),
        (
            "reserved",
            json!([[true, "rust.echo", null], [true, "rust.echo", null]]),
        ),
        ("scheduled", json!([])),
        ("query", json!(true)),
        ("active_queues", json!(true)),
        (
            "stats",
            json!([
                {"rust.linger": 1},
                ["broker", "clock", "pid", "pool", "prefetch_count", "rusage", "total", "uptime"],
                1,
            ]),
        ),
        ("clock", json!(true)),
        ("conf", json!(1)),
        ("report", json!(true)),
        ("hello", json!(["clock", "revoked"])),
        (
            "rate",
            json!([
                ok("new rate limit set successfully"),
                error("unknown task"),
                error("KeyError('y')"),
                ok("rate limit disabled successfully"),
            ]),
        ),
        (
            "time",
            json!([ok("time limits set successfully"), error("unknown task")]),
        ),
        (
            "events",
            json!([
                already("enabled"),
                ok("task events disabled"),
                already("disabled"),
                ok("task events enabled"),
            ]),
        ),
        ("unknown", error("KeyError('no_such_command')")),
        (
            "missing",
            error("TypeError(\"revoke() missing 1 required positional argument: 'task_id'\")"),
        ),
        ("heartbeat", Value::Null),
        ("revoke", json!(true)),
        (
            "stamped",
            ok("headers {'customer': ['c42']} flagged as revoked, but not terminated"),
        ),
        ("revoked", json!([true, true])),
        ("terminate", json!(true)),
        ("terminate unknown", ok("terminate: tasks unknown")),
        (
            "ends",
            json!(["TaskRevokedError", "TaskRevokedError", "TaskRevokedError"]),
        ),
        ("results", json!([5, "FAILURE", 2])),
        (
            "resize",
            json!([
                ok("pool will grow"),
                3,
                ok("pool will shrink"),
                2,
                error("ValueError(\"Can't shrink pool. A pool has at least one slot\")"),
                2,
            ]),
        ),
        (
            "no children",
            json!([
                error("ValueError('Autoscale not enabled')"),
                error("ValueError('Pool restarts not enabled')"),
            ]),
        ),
        ("added", json!(true)),
        ("bound", json!([true, "topic", "a.*"])),
        ("from added", json!([8, 10])),
        ("left", json!(true)),
        ("not from cancelled", json!([14, "PENDING"])),
        ("from cancelled", json!(12)),
        ("courses", json!({})),
        (
            "told",
            json!([
                [true, false, 15],
                [false, false, null],
                "5",
                "CardRefused('card refused for order 7')",
                [true, true, true],
            ]),
        ),
        (
            "states",
            json!(["REVOKED", "REVOKED", "SUCCESS", "FAILURE", "SUCCESS"]),
        ),
        ("beat", json!([2.0, "celeriac", 3, true])),
        ("shutdown", json!("SILENT")),
        ("offline", json!(true)),
    ];
    let mut wrong = Vec::from(expected);
    wrong.retain(|(case, expected)| answer[case] != *expected);
    assert_eq!(wrong, [], "{answer:#}");
    // It was told to stop, and has.
    let report = worker.wait().await.unwrap();
    assert_eq!((report.revoked, report.held), (3, 0), "{report:?}");
}

/// What revokes many calls, and then sends the oldest of them. What comes before is an operator's.
const REVOKES: &str = r#"
from kombu.utils.uuid import uuid

ids = [uuid() for _ in range(100_000)]
for start in range(0, len(ids), 1000):
    control.revoke(ids[start:start + 1000])
until(lambda: len(told(asks.revoked())) == len(ids))


def end(call):
    try:
        return call.get(timeout=60)
    except Exception as error:
        return type(error).__name__


calls = [app.send_task("rust.add", (1, 1), queue=QUEUE, task_id=id) for id in ids[:300]]
answer = [sorted({end(call) for call in calls}), app.send_task("rust.add", (1, 1), queue=QUEUE).get(timeout=60)]
"#;

#[test]
fn a_hundred_thousand_revoked_calls_are_remembered() {
    for kind in [Kind::Redis, Kind::AmqpRedis] {
        celeriac_testkit::block_on(async {
            let fleet = Fleet::assemble(kind, CeleryVersion::V57).await;
            let (node, queue) = (format!("{}@localhost", unique("rust")), unique("q"));
            let mut settings = WorkerSettings::default();
            settings.name.clone_from(&node);
            settings.queues = vec![QueueName::new(&queue).unwrap()];
            let worker = Worker::new(
                fleet.app.broker().unwrap().clone(),
                celeriac_executor::open(&"coroutines=1".parse().unwrap()).unwrap(),
                fleet.app.registry().clone(),
                settings,
            );
            let worker = worker.start().await.unwrap();
            let names = format!("NODE, QUEUE = {node:?}, {queue:?}\n");
            let script = fleet.python.script(&format!("{names}{OPERATOR}{REVOKES}"));
            let answer = tokio_free(move || script.answer()).await;
            assert_eq!(answer, json!([["TaskRevokedError"], 2]), "{kind:?}");
            worker.shutdown(Shutdown::Warm);
            let report = worker.wait().await.unwrap();
            assert_eq!((report.revoked, report.succeeded), (300, 1), "{kind:?}");
        });
    }
}

/// Waits on another thread, so that this one is free for what others wait for.
async fn tokio_free<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static) -> T {
    let waiting = tokio::task::spawn_blocking(wait);
    tokio::time::timeout(Duration::from_secs(300), waiting)
        .await
        .expect("it ends")
        .unwrap()
}
