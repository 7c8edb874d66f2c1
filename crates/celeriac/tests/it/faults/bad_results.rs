//! Results as nobody should store them: an error for who waits, rather than no end.

use celeriac::canvas::remote;
use celeriac::{ErrorKind, TaskId};
use celeriac_testkit::block_on;
use lapin::BasicProperties;
use lapin::options::BasicGetOptions;

use super::ground::{Ground, Kind, publish};
use crate::support::in_time;

/// Where nobody works, so that no good result comes.
const NOBODYS: &str = "nobodys";

#[test]
fn a_result_that_is_none_is_an_error_for_who_waits_on_redis() {
    block_on(in_time(is_an_error(Kind::Redis)));
}

#[test]
fn a_result_that_is_none_is_an_error_for_who_waits_on_amqp() {
    block_on(in_time(is_an_error(Kind::Amqp)));
}

async fn is_an_error(kind: Kind) {
    let ground = Ground::new(kind).await;
    for (payload, expected) in payloads() {
        let call = remote::<(i64, i64), i64>("add").call((1, 1)).queue(NOBODYS);
        let mut handle = ground.app.send(call).await.unwrap();
        let payload = named(payload, handle.id());
        match kind {
            Kind::Redis => store(&ground, handle.id(), &payload),
            Kind::Amqp => answer(&ground, &payload).await,
        }
        let ended = handle.get().await.map_err(|error| error.kind());
        assert_eq!(ended, expected, "{}", String::from_utf8_lossy(&payload));
    }
}

/// Stores a result as Celery's workers do.
fn store(ground: &Ground, id: &TaskId, payload: &[u8]) {
    let key = ground.key(&format!("celery-task-meta-{id}"));
    let mut store = redis::pipe();
    store.set(&key, payload).ignore();
    store.cmd("PUBLISH").arg(&key).arg(payload).ignore();
    let _: () = store.query(&mut Ground::redis()).unwrap();
}

/// Takes the call that waits, and answers it as Celery's workers do.
async fn answer(ground: &Ground, payload: &[u8]) {
    let channel = ground.channel().await;
    let acknowledged = BasicGetOptions { no_ack: true };
    let taken = channel.basic_get(NOBODYS.into(), acknowledged).await;
    let asked = taken.unwrap().expect("it was sent").delivery.properties;
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("utf-8".into())
        .with_correlation_id(asked.correlation_id().clone().unwrap());
    let to = asked.reply_to().clone().unwrap();
    publish(&channel, "", to.as_str(), properties, payload).await;
}

/// The payload with the id of the call in the place of `x`.
fn named(payload: Vec<u8>, id: &TaskId) -> Vec<u8> {
    match String::from_utf8(payload) {
        Ok(text) => text.replace(r#""x""#, &format!("\"{id}\"")).into(),
        Err(torn) => torn.into_bytes(),
    }
}

/// Each with what comes of it.
fn payloads() -> Vec<(Vec<u8>, Result<i64, ErrorKind>)> {
    let none = Err(ErrorKind::BadResult);
    [
        ("", none),
        ("this is no JSON", none),
        ("[1, 2]", none),
        (r#"{"status": 7, "result": 1}"#, none),
        (r#"{"result": 1, "task_id": "x"}"#, none),
        (
            r#"{"status": "SUCCESS", "result": "no number", "task_id": "x"}"#,
            none,
        ),
        (r#"{"status": "SUCCESS", "result": 5}"#, none),
        // A client of Python's fails at these.
        (
            r#"{"status": "FAILURE", "result": "it was a text", "task_id": "x"}"#,
            none,
        ),
        (
            r#"{"status": "FAILURE", "result": null, "task_id": "x"}"#,
            none,
        ),
    ]
    .map(|(text, ended)| (text.as_bytes().to_vec(), ended))
    .into_iter()
    .chain([(vec![0xff; 100], none)])
    .collect()
}
