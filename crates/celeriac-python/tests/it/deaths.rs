//! Children that die, lie, or never come to life.

use std::time::Duration;

use celeriac_core::outcome::ErrorKind;
use celeriac_core::runtime::End;
use celeriac_python::{PoolSettings, StartError};
use serde_json::{Value, json};

use crate::stage::{Stage, count, descendants, import};

async fn lost(stage: &mut Stage, what: Value) -> String {
    let tag = stage.call(what);
    stage.started(tag).await;
    let (ended, conclusion) = stage.ended().await;
    let error = conclusion.unwrap_err();
    assert_eq!((ended, error.kind()), (tag, ErrorKind::Lost));
    error.message().to_owned()
}

#[tokio::test]
async fn a_child_that_dies_costs_the_call_that_it_ran_and_is_replaced() {
    let mut stage = Stage::new(1).await;
    for (job, what, words) in [
        (1, json!(["signal", 9]), "signal 9 (SIGKILL)"),
        (2, json!(["signal", 11]), "signal 11 (SIGSEGV)"),
        (3, json!(["exit", 3]), "exitcode 3"),
        (4, json!(["exit", 0]), "exitcode 0"),
    ] {
        let message = lost(&mut stage, what).await;
        let expected = format!("Worker exited prematurely: {words} Job: {job}.");
        assert_eq!(message, expected);
    }
    assert_eq!(stage.value(json!(["echo", 1])).await, 1);
}

#[tokio::test]
async fn what_a_dead_child_had_not_begun_runs_elsewhere() {
    let mut stage = Stage::new(1).await;
    for _ in 0..100 {
        stage.call(json!(["ignore"]));
    }
    let fatal = stage.call(json!(["signal", 9]));
    for _ in 0..100 {
        stage.call(json!(["ignore"]));
    }
    let mut lost = 0;
    for _ in 0..201 {
        let (tag, conclusion) = stage.ended().await;
        match conclusion {
            Ok(conclusion) => assert_eq!(conclusion.end, End::Ignored),
            Err(error) => {
                assert_eq!((tag, error.kind()), (fatal, ErrorKind::Lost));
                lost += 1;
            }
        }
    }
    assert_eq!(lost, 1);
    assert!(stage.nothing_said());
}

#[tokio::test]
async fn junk_ends_the_child_that_sent_it_and_nothing_else() {
    let mut stage = Stage::new(2).await;
    let gate = stage.gate("gate");
    let beside = stage.call(json!(["gate", gate.path()]));
    stage.started(beside).await;
    for junk in [
        "x",
        "\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}\u{9}\u{9}\u{9}\u{9}\u{9}\u{9}",
    ] {
        let message = lost(&mut stage, json!(["junk", junk])).await;
        assert!(message.contains("junk"), "{message}");
    }
    let message = lost(&mut stage, json!(["foreign"])).await;
    assert!(message.contains("which it does not have"), "{message}");
    gate.open();
    let (tag, conclusion) = stage.ended().await;
    assert_eq!((tag, conclusion.unwrap().end), (beside, End::Succeeded));
}

#[tokio::test]
async fn a_task_may_say_that_it_is_lost() {
    let mut stage = Stage::new(1).await;
    assert_eq!(lost(&mut stage, json!(["lost"])).await, "SystemExit(3)");
    lost(&mut stage, json!(["fault"])).await;
    assert_eq!(stage.value(json!(["echo", 1])).await, 1);
}

#[tokio::test]
async fn a_call_of_which_every_child_dies_before_it_begins_is_lost_in_the_end() {
    let app = import(json!({"die_unbegun": true})).await.unwrap();
    let mut stage = Stage::of(app, PoolSettings::prefork(count(1)));
    let tag = stage.call(json!(["ignore"]));
    let (ended, conclusion) = stage.ended().await;
    let error = conclusion.unwrap_err();
    assert_eq!((ended, error.kind()), (tag, ErrorKind::Lost));
    assert!(error.message().contains("exitcode 9"), "{error}");
}

#[tokio::test]
async fn children_that_all_die_at_their_start_are_an_error_of_the_start() {
    let app = import(json!({"die_at_start": true})).await.unwrap();
    let pool = app.start(PoolSettings::prefork(count(2)));
    match pool.ready().await {
        Err(StartError::Children { cause }) => assert_eq!(cause, "exitcode 3"),
        other => panic!("{other:?}"),
    }
    drop(pool);
    assert!(descendants(std::process::id()).is_empty());
}

#[tokio::test]
async fn a_child_that_dies_at_its_start_is_forked_again() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    let options = json!({"die_at_first_start": first});
    let mut stage = Stage::with(PoolSettings::prefork(count(1)), options).await;
    assert!(first.exists());
    assert_eq!(stage.value(json!(["echo", 1])).await, 1);
}

#[tokio::test]
async fn calls_wait_while_no_child_can_start_and_the_pool_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken");
    let options = json!({"die_while": broken});
    let mut stage = Stage::with(PoolSettings::prefork(count(2)), options).await;
    let gate = stage.gate("gate");
    let beside = stage.call(json!(["gate", gate.path()]));
    stage.started(beside).await;
    std::fs::write(&broken, "").unwrap();
    lost(&mut stage, json!(["exit", 4])).await;
    let waits = stage.call(json!(["ignore"]));
    // Where one child lives there is no hindrance.
    gate.open();
    for _ in 0..2 {
        assert!(stage.ended().await.1.is_ok());
    }
    assert_eq!(stage.pool.hindrance().map(|why| why.to_string()), None);
    lost(&mut stage, json!(["signal", 11])).await;
    let waits_too = stage.call(json!(["ignore"]));
    assert_ne!(waits, waits_too);
    let why = loop {
        match stage.pool.hindrance() {
            Some(why) => break why,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    assert!(
        matches!(&why, StartError::Children { cause } if cause == "exitcode 3"),
        "{why}"
    );
    assert!(stage.nothing_said());
    std::fs::remove_file(&broken).unwrap();
    let (ended, conclusion) = stage.ended().await;
    assert_eq!((ended, conclusion.unwrap().end), (waits_too, End::Ignored));
    assert!(stage.pool.hindrance().is_none());
}

#[tokio::test]
async fn children_killed_at_random_lose_only_what_they_ran() {
    let mut stage = Stage::new(3).await;
    let calls = 3_000;
    for n in 0..calls {
        stage.call(json!(["echo", n]));
    }
    let (mut lost, mut ended, mut kills) = (0, 0, 0);
    while ended < calls {
        let (_, conclusion) = stage.ended().await;
        ended += 1;
        lost += i32::from(conclusion.is_err());
        if ended % 100 == 0 {
            let pid = descendants(std::process::id()).pop().unwrap();
            let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
            // It may be gone by now.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            kills += 1;
        }
    }
    assert!(lost <= kills, "{lost} calls lost by {kills} deaths");
    assert!(stage.nothing_said());
}
