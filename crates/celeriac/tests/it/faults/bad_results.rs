//! Results as nobody should store them: an error for who waits, rather than no end.

use celeriac::ErrorKind;
use celeriac::canvas::remote;
use celeriac_testkit::block_on;

use super::ground::{Ground, Kind};

#[test]
fn a_result_that_is_none_is_an_error_for_who_waits() {
    block_on(crate::support::in_time(async {
        let ground = Ground::new(Kind::Redis).await;
        for (payload, expected) in payloads() {
            let call = remote::<(i64, i64), i64>("add")
                .call((1, 1))
                .queue("nobodys");
            let mut handle = ground.app.send(call).await.unwrap();
            let key = ground.key(&format!("celery-task-meta-{}", handle.id()));
            let mut store = redis::pipe();
            store
                .set(&key, &payload)
                .ignore()
                .cmd("PUBLISH")
                .arg(&key)
                .arg(&payload)
                .ignore();
            let _: () = store.query(&mut Ground::redis()).unwrap();
            let ended = handle.get().await.map_err(|error| error.kind());
            assert_eq!(ended, expected, "{}", String::from_utf8_lossy(&payload));
        }
    }));
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
