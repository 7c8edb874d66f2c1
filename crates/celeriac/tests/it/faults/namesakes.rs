//! Two workers of one name: the second ends at once, unless it may share the name.

use std::time::Duration;

use celeriac_testkit::block_on;
use celeriac_testkit::peers::OwnedChild;
use rustix::process::Signal;
use tokio::time::sleep;

use super::cuts::{LEASE, send_nap, until_ran};
use super::ground::{Ground, Kind};

/// What it says at last.
const REFUSED: &str = "error: another worker answers to the name `same@here`\n\
    help: give each worker a name of its own, such as `-n NAME@%h`, or have them share it with \
    --allow-duplicate-name\n";

fn start(ground: &Ground, words: &[&str]) -> OwnedChild {
    let words = [&["-P", "threads=2", "-n", "same@here"], words].concat();
    ground.worker_with(&ground.url, &words)
}

/// Starts one that takes calls.
fn ready(ground: &Ground, words: &[&str]) -> OwnedChild {
    let worker = start(ground, words);
    worker.wait_for_line("worker is ready");
    worker
}

async fn refused(kind: Kind) {
    let ground = Ground::new(kind).await;
    let first = ready(&ground, &[]);
    for words in [&[][..], &["--without-mingle"]] {
        let mut second = start(&ground, words);
        assert_eq!(second.wait().code(), Some(2));
        second.wait_until_printed("--allow-duplicate-name");
        assert!(second.printed().ends_with(REFUSED), "{}", second.printed());
    }
    let sharing = ready(&ground, &["--allow-duplicate-name"]);
    sharing.wait_until_printed("another worker has the same name");
    drop(sharing);
    ground.canary().await;
    let printed = first.printed();
    assert!(!printed.contains("name"), "it noticed: {printed}");
}

#[test]
fn a_second_worker_of_a_name_is_refused_on_redis() {
    block_on(refused(Kind::Redis));
}

#[test]
fn a_second_worker_of_a_name_is_refused_on_amqp() {
    block_on(refused(Kind::Amqp));
}

async fn succeeded(kind: Kind) {
    let ground = Ground::new(kind).await;
    let mut stopping = ready(&ground, &[]);
    send_nap(&ground, "ran-last", 5000).await;
    until_ran(&ground, 1, LEASE).await;
    stopping.signal(Signal::TERM);
    stopping.wait_for_line("worker is shutting down");
    let mut successor = ready(&ground, &[]);
    ground.canary().await;
    assert!(stopping.wait().success());
    assert_eq!(successor.ended(), None);
    // Who was killed does not answer either.
    successor.signal(Signal::KILL);
    successor.wait();
    let mut last = ready(&ground, &[]);
    ground.canary().await;
    last.signal(Signal::TERM);
    assert!(last.wait().success());
}

#[test]
fn a_worker_that_stops_makes_room_on_redis() {
    block_on(succeeded(Kind::Redis));
}

#[test]
fn a_worker_that_stops_makes_room_on_amqp() {
    block_on(succeeded(Kind::Amqp));
}

async fn together(kind: Kind) {
    let ground = Ground::new(kind).await;
    let mut workers = [(); 3].map(|()| start(&ground, &[]));
    let codes = loop {
        let ended = workers.iter_mut().filter_map(OwnedChild::ended);
        let codes: Vec<_> = ended.map(|status| status.code()).collect();
        if codes.len() >= 2 {
            break codes;
        }
        sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(codes, [Some(2), Some(2)]);
    // The third one stays.
    ground.canary().await;
}

#[test]
fn of_three_that_start_together_one_stays_on_redis() {
    block_on(crate::support::in_time(together(Kind::Redis)));
}

#[test]
fn of_three_that_start_together_one_stays_on_amqp() {
    block_on(crate::support::in_time(together(Kind::Amqp)));
}
