//! What Celery stores of a call is read, and written the same.

use celeriac_core::{ErrorKind, ResultState};
use celeriac_wire::result;
use jiff::Timestamp;
use serde_json::Value;

use crate::captures;

#[test]
fn every_captured_result_is_written_as_it_was_read() {
    let mut count = 0;
    for (file, found) in captures::all() {
        for bytes in &found.results {
            let stored = result::decode(bytes, Timestamp::UNIX_EPOCH)
                .unwrap_or_else(|e| panic!("{file}: {e}"));
            let written: Value = serde_json::from_slice(&result::encode(&stored).unwrap()).unwrap();
            let read: Value = serde_json::from_slice(bytes).unwrap();
            assert_eq!(written, read, "{file}");
            count += 1;
        }
    }
    assert!(count > 40, "{count} results");
}

#[test]
fn what_ended_a_task_is_known_by_its_kind() {
    let captures = captures::all();
    for (file, state, kind) in [
        ("expired", ResultState::Revoked, ErrorKind::Expired),
        ("revoked", ResultState::Revoked, ErrorKind::Cancelled),
        ("terminated", ResultState::Revoked, ErrorKind::Cancelled),
        ("hard-limit", ResultState::Failure, ErrorKind::TimeLimit),
        ("soft-limit", ResultState::Failure, ErrorKind::TimeLimit),
        ("worker-lost", ResultState::Failure, ErrorKind::Lost),
        (
            "unregistered",
            ResultState::Failure,
            ErrorKind::Unregistered,
        ),
        (
            "unserializable-result",
            ResultState::Failure,
            ErrorKind::BadResult,
        ),
        ("failure", ResultState::Failure, ErrorKind::Failed),
        ("retry-state", ResultState::Retry, ErrorKind::Failed),
    ] {
        let bytes = &captures[&format!("results-redis/{file}.json")].results[0];
        let stored = result::decode(bytes, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(stored.state, state, "{file}");
        assert_eq!(stored.error.unwrap().kind(), kind, "{file}");
    }
}
