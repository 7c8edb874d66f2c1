//! Damage is found or harmless; nothing panics and nothing is made anew.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use celeriac_core::broker::Subscription;
use celeriac_core::{Broker, BrokerError, ResultState, TaskId};
use celeriac_drivers::DriverOptions;
use celeriac_drivers::sqlite::{self, check};
use celeriac_testkit::{block_on, call, queue, result, within};

const MESSAGES: usize = 300;

/// A database with messages, results and a dead one, closed.
fn sample(path: &Path) {
    block_on(async {
        let store = sqlite::open(path, &DriverOptions::default()).await.unwrap();
        let batch = (0..MESSAGES).map(|n| (queue("jobs").into(), call("t", n)));
        store.publish(batch.collect()).await.unwrap();
        let results = (0..50).map(|_| result(&TaskId::new(), ResultState::Success, 1));
        let backend = store.results().unwrap();
        backend.store(results.collect()).await.unwrap();
    });
}

/// Uses the database for everything; what fails says why, and nothing panics.
async fn use_it(path: &Path) -> Result<(), BrokerError> {
    let options = DriverOptions {
        create: false,
        ..DriverOptions::default()
    };
    let store = within(sqlite::open(path, &options)).await?;
    store.queues().await?;
    store.dead(10).await?;
    store
        .publish(vec![(queue("jobs").into(), call("t", 0))])
        .await?;
    let subscription = Subscription::new("c", vec![queue("jobs")]);
    let consumer = within(store.consume(subscription)).await?;
    let all = NonZeroUsize::new(2 * MESSAGES).unwrap();
    let got = tokio::time::timeout(Duration::from_secs(5), consumer.receive(all)).await;
    let got = got.unwrap_or_else(|_| Ok(Vec::new()))?;
    let endings = got.iter().map(|delivery| celeriac_core::Settlement {
        tag: delivery.tag,
        verdict: celeriac_core::Verdict::Ack,
        result: Some(result(
            &delivery.message.headers.id,
            ResultState::Success,
            1,
        )),
        follow_ups: Vec::new(),
    });
    within(consumer.settle(endings.collect())).await?;
    within(consumer.close()).await
}

#[test]
fn flipped_bytes_anywhere_are_found_or_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let whole = directory.path().join("whole.db");
    sample(&whole);
    let bytes = fs::read(&whole).unwrap();
    let path = directory.path().join("flipped.db");
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let (mut found, mut harmless) = (0, 0);
    for round in 0..100 {
        let mut damaged = bytes.clone();
        for _ in 0..4 {
            // xorshift: the same offsets in every run.
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            // Every other round in the first pages, where the structure is.
            let range = if round % 2 == 0 { 8192 } else { damaged.len() };
            let offset = usize::try_from(seed % range as u64).unwrap();
            damaged[offset] ^= 1 << (seed >> 60 & 7);
        }
        for side in ["-wal", "-shm", "-wake"] {
            let _ = fs::remove_file(directory.path().join(format!("flipped.db{side}")));
        }
        fs::write(&path, &damaged).unwrap();
        let report = check(&path);
        let mut outcome = Ok(());
        block_on(async { outcome = use_it(&path).await });
        match outcome {
            Err(error) => {
                assert!(matches!(error, BrokerError::Unusable { .. }), "{error:?}");
                found += 1;
            }
            Ok(()) if !report.is_ok() => found += 1,
            Ok(()) => harmless += 1,
        }
    }
    assert_eq!(found + harmless, 100);
    // How many bits matter depends on how full the pages are; that some do shows the check at work.
    assert!(found > 10, "only {found} of 100 were found");
}

#[test]
fn a_truncated_file_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jobs.db");
    sample(&path);
    let bytes = fs::read(&path).unwrap();
    for length in [1, 50, 100, 512, 4096, bytes.len() / 2, bytes.len() - 4096] {
        fs::write(&path, &bytes[..length]).unwrap();
        let report = check(&path);
        assert!(!report.is_ok(), "truncated to {length} bytes");
        block_on(async {
            let error = use_it(&path).await.unwrap_err();
            assert!(
                matches!(error, BrokerError::Unusable { .. }),
                "{length}: {error:?}"
            );
        });
    }
}

#[test]
fn a_whole_database_adds_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jobs.db");
    sample(&path);
    let report = check(&path);
    assert_eq!(report.problems, [""; 0]);
    let counts = report.counts.unwrap();
    assert_eq!(
        (counts.messages, counts.ready, counts.results),
        (300, 300, 50)
    );
    assert_eq!(report.schema_version, Some(2));
}

#[test]
fn a_message_in_two_places_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jobs.db");
    sample(&path);
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute_batch(include_str!("sql/misplace.sql"))
        .unwrap();
    drop(connection);
    let problems = check(&path).problems.join("; ");
    assert!(
        problems.contains("1 messages are not in exactly one place"),
        "{problems}"
    );
    assert!(problems.contains("held by nobody"), "{problems}");
}
