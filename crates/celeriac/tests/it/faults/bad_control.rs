//! What is broadcast to workers and is no command: not heeded, and the next command is.

use std::time::Duration;

use celeriac::ErrorKind;
use celeriac::canvas::remote;
use celeriac_testkit::block_on;
use lapin::BasicProperties;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::FieldTable;

use super::draft::SECRET;
use super::ground::{Ground, Kind, QUEUE, publish};

/// The exchange of commands.
const PIDBOX: &str = "celery.pidbox";

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
    for garbage in garbage() {
        broadcast(&ground, &garbage).await;
    }
    ground.canary().await;
    // It still hears.
    let call = remote::<(i64, i64), i64>("add").call((1, 1)).queue(QUEUE);
    let call = call.countdown(Duration::from_secs(600));
    let mut handle = ground.app.send(call).await.unwrap();
    handle.cancel().await.unwrap();
    let error = handle.get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(!worker.printed().contains(SECRET), "{}", worker.printed());
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

/// Sends it bare, and where Redis has an envelope, in one too.
async fn broadcast(ground: &Ground, body: &[u8]) {
    match ground.kind {
        Kind::Redis => {
            let mut connection = Ground::redis();
            let channel = ground.key(&format!("/0.{PIDBOX}"));
            let mut tell = |payload: &[u8]| {
                let mut publish = redis::cmd("PUBLISH");
                let heard: u64 = publish
                    .arg(&channel)
                    .arg(payload)
                    .query(&mut connection)
                    .unwrap();
                assert!(heard > 0, "nobody listens");
            };
            tell(body);
            let body = base64_simd::STANDARD.encode_to_string(body);
            tell(format!(
                r#"{{"body": "{body}", "content-type": "application/json", "content-encoding": "utf-8", "headers": {{}}, "properties": {{"body_encoding": "base64", "delivery_tag": "x", "delivery_info": {{"exchange": "{PIDBOX}", "routing_key": ""}}}}}}"#
            ).as_bytes());
        }
        Kind::Amqp => {
            let channel = ground.channel().await;
            let (options, none) = (ExchangeDeclareOptions::default(), FieldTable::default());
            let kind = lapin::ExchangeKind::Fanout;
            // As workers have it, or this fails.
            channel
                .exchange_declare(PIDBOX.into(), kind, options, none)
                .await
                .unwrap();
            let json = BasicProperties::default().with_content_type("application/json".into());
            for properties in [json, BasicProperties::default()] {
                publish(&channel, PIDBOX, "", properties, body).await;
            }
        }
    }
}
