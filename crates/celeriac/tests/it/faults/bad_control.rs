//! What is broadcast to workers and is no command: not heeded, and the next command is.

use std::time::Duration;

use celeriac::ErrorKind;
use celeriac::canvas::remote;
use celeriac_testkit::block_on;
use serde_json::json;

use super::broadcaster::Broadcaster;
use super::draft::SECRET;
use super::ground::{Ground, Kind, QUEUE};
use super::operator::Operator;

#[test]
fn garbage_among_commands_is_not_heeded_on_redis() {
    block_on(crate::support::in_time(not_heeded(Kind::Redis)));
}

#[test]
fn garbage_among_commands_is_not_heeded_on_amqp() {
    block_on(crate::support::in_time(not_heeded(Kind::Amqp)));
}

async fn not_heeded(kind: Kind) {
    let ground = Ground::new(kind).await;
    let worker = ground.worker("threads=2");
    ground.canary().await;
    let mut broadcaster = Broadcaster::new(&ground).await;
    for garbage in garbage().into_iter().chain(nonsense()) {
        broadcaster.send(&garbage).await;
    }
    ground.canary().await;
    // It still hears.
    let call = remote::<(i64, i64), i64>("add").call((1, 1)).queue(QUEUE);
    let call = call.countdown(Duration::from_secs(600));
    let mut handle = ground.app.send(call).await.unwrap();
    handle.cancel().await.unwrap();
    let error = handle.get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let printed = worker.printed();
    assert!(
        !printed.contains(SECRET) && !printed.contains("panicked"),
        "{printed}"
    );
    // Nothing of it was carried out.
    let answer = Operator::at(&ground.url).ask("inspect stats -t 5s");
    let stats = answer.as_object().unwrap().values().next().unwrap();
    assert_eq!(stats["pool"]["max-concurrency"], 2, "{answer}");
}

fn garbage() -> Vec<Vec<u8>> {
    let texts = [
        "",
        "7",
        "null",
        "{}",
        "this is S3CRET",
        r#"{"method": 7}"#,
        r#"{"method": "revoke"}"#,
        r#"{"method": "revoke", "arguments": "S3CRET"}"#,
        r#"{"method": "revoke", "arguments": {"task_id": 7}}"#,
        r#"{"method": "revoke", "arguments": {"task_id": {"a": []}}, "destination": "S3CRET"}"#,
        r#"{"method": "no_such_method", "arguments": {}, "destination": null}"#,
        r#"{"method": "election", "arguments": {"id": "S3CRET", "topic": "x", "action": {}}}"#,
    ];
    let deep = "[".repeat(100_000);
    let texts = texts.into_iter().chain([deep.as_str()]);
    texts
        .map(|text| text.as_bytes().to_vec())
        .chain([vec![0xff; 1000], vec![0; 1000]])
        .collect()
}

/// Commands of the right form that make no sense, or that would do harm.
fn nonsense() -> Vec<Vec<u8>> {
    let much = "S3CRET".repeat(100_000);
    let ids: Vec<_> = (0..100_000).map(|id| id.to_string()).collect();
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let mut commands = vec![
        json!({"method": much, "arguments": {}}),
        json!({"method": "ping", "arguments": {(much.as_str()): 1}, "ticket": much}),
        json!({"method": "ping", "arguments": {}, "destination": ids}),
        json!({"method": "ping", "arguments": {}, "pattern": much, "matcher": "pcre"}),
        json!({"method": "ping", "arguments": {}, "pattern": much, "matcher": much}),
        json!({"method": "ping", "arguments": {}, "pattern": "((a{1000}){1000}){1000}", "matcher": "pcre"}),
        json!({"method": "ping", "arguments": {}, "reply_to": {"exchange": "elsewhere", "routing_key": "x"}}),
        json!({"method": "ping", "arguments": {}, "reply_to": {"exchange": 7, "routing_key": []}}),
        json!({"method": "ping", "arguments": {}, "reply_to": "S3CRET", "ticket": deep}),
    ];
    let arguments = [
        ("pool_grow", json!({"n": 1_000_000_000})),
        ("pool_grow", json!({"n": -1})),
        ("pool_grow", json!({"n": u64::MAX})),
        ("pool_grow", json!({"n": "S3CRET"})),
        ("pool_shrink", json!({"n": 1_000_000_000})),
        ("pool_shrink", json!({"n": 2})),
        (
            "autoscale",
            json!({"max": 1_000_000_000, "min": 1_000_000_000}),
        ),
        ("pool_restart", json!({"modules": [much], "reload": true})),
        (
            "rate_limit",
            json!({"task_name": "add", "rate_limit": "nan/s"}),
        ),
        (
            "rate_limit",
            json!({"task_name": "add", "rate_limit": "-1e308/h"}),
        ),
        (
            "rate_limit",
            json!({"task_name": "add", "rate_limit": deep}),
        ),
        (
            "rate_limit",
            json!({"task_name": much, "rate_limit": "1/s"}),
        ),
        (
            "time_limit",
            json!({"task_name": "add", "hard": -1, "soft": 1e300}),
        ),
        ("time_limit", json!({"task_name": "add", "hard": "nan"})),
        ("time_limit", json!({"task_name": "add", "hard": deep})),
        ("revoke", json!({"task_id": [deep, null, {}]})),
        (
            "revoke",
            json!({"task_id": "x", "terminate": true, "signal": "S3CRET"}),
        ),
        (
            "revoke",
            json!({"task_id": "x", "terminate": true, "signal": 1_000_000_000}),
        ),
        (
            "revoke",
            json!({"task_id": "x", "terminate": true, "signal": 0}),
        ),
        ("revoke_by_stamped_headers", json!({"headers": deep})),
        (
            "revoke_by_stamped_headers",
            json!({"headers": {(much.as_str()): [deep, deep]}}),
        ),
        ("query_task", json!({"ids": {"S3CRET": deep}})),
        ("registered", json!({"taskinfoitems": [much, deep, 7]})),
        ("hello", json!({"from_node": deep, "revoked": much})),
        (
            "hello",
            json!({"from_node": "x", "revoked": {(much.as_str()): deep}}),
        ),
        ("add_consumer", json!({"queue": ""})),
        ("add_consumer", json!({"queue": "a\u{0}b\n"})),
        ("add_consumer", json!({"queue": much, "exchange": much})),
        (
            "add_consumer",
            json!({"queue": "q", "exchange_type": deep, "queue_arguments": much}),
        ),
        ("cancel_consumer", json!({"queue": much})),
        ("conf", json!({"with_defaults": deep})),
        ("memdump", json!({"samples": u64::MAX})),
        (
            "election",
            json!({"id": much, "topic": deep, "action": much}),
        ),
    ];
    commands.extend(
        arguments.map(|(method, arguments)| json!({"method": method, "arguments": arguments})),
    );
    commands
        .iter()
        .map(|it| it.to_string().into_bytes())
        .collect()
}
