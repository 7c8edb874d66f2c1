//! The fork server: apps that cannot be imported, and its death.

use celeriac_core::outcome::ErrorKind;
use celeriac_python::{PoolSettings, StartError};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::stage::{Stage, count, descendants, import};

#[tokio::test]
async fn an_app_that_cannot_be_imported_says_why() {
    match import(json!({"fail": true})).await {
        Err(StartError::App {
            why,
            traceback,
            advice,
        }) => {
            assert_eq!(
                (&*why, &*traceback, &*advice),
                ("import", "Traceback", "check")
            );
        }
        other => panic!("{other:?}"),
    }
    match import(json!({"crash": true})).await {
        Err(StartError::Died { status }) => assert!(status.contains("SIGSEGV"), "{status}"),
        other => panic!("{other:?}"),
    }
    assert!(descendants(std::process::id()).is_empty());
}

#[tokio::test]
async fn an_app_that_is_dropped_takes_its_fork_server_along() {
    let app = import(json!({})).await.unwrap();
    assert_eq!(app.report().app.name.as_deref(), Some("stand_in"));
    assert_eq!(descendants(std::process::id()).len(), 1);
    drop(app);
    assert!(descendants(std::process::id()).is_empty());
}

#[tokio::test]
async fn a_fork_server_that_dies_costs_what_runs_and_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut stage = Stage::with(PoolSettings::prefork(count(1)), json!({"log": log})).await;
    let gate = stage.gate("gate");
    let running = stage.call(json!(["gate", gate.path()]));
    stage.started(running).await;
    let imports = std::fs::read_to_string(&log).unwrap();
    let pid = imports.trim().rsplit(' ').next().unwrap().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let waits = stage.call(json!(["ignore"]));
    let mut lost = false;
    for _ in 0..2 {
        let (tag, conclusion) = stage.ended().await;
        if tag == running {
            assert_eq!(conclusion.unwrap_err().kind(), ErrorKind::Lost);
            lost = true;
        } else {
            assert_eq!(tag, waits);
            conclusion.unwrap();
        }
    }
    assert!(lost);
    assert_eq!(std::fs::read_to_string(&log).unwrap().lines().count(), 2);
    assert_eq!(stage.value(json!(["echo", 1])).await, 1);
}

#[tokio::test]
async fn a_fork_server_that_keeps_dying_ends_the_pool_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let options = json!({"log": log, "die_again": true});
    let mut stage = Stage::with(PoolSettings::prefork(count(1)), options).await;
    let imports = std::fs::read_to_string(&log).unwrap();
    let pid = imports.trim().rsplit(' ').next().unwrap().parse().unwrap();
    let waits = {
        let gate = stage.gate("gate");
        let waits = stage.call(json!(["gate", gate.path()]));
        stage.started(waits).await;
        waits
    };
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    assert_eq!(stage.ended().await.0, waits);
    let unbegun = stage.call(json!(["ignore"]));
    match stage.pool.failed().await {
        StartError::KeepsDying { times, last } => {
            assert!(times > 2, "{times}");
            assert!(last.to_string().contains("exit status: 3"), "{last}");
        }
        other => panic!("{other:?}"),
    }
    let (tag, error) = stage.ended().await;
    assert_eq!(
        (tag, error.unwrap_err().kind()),
        (unbegun, ErrorKind::Shutdown)
    );
    let refused = stage.call(json!(["ignore"]));
    let (tag, error) = stage.ended().await;
    assert_eq!(
        (tag, error.unwrap_err().kind()),
        (refused, ErrorKind::Shutdown)
    );
    let imports = std::fs::read_to_string(&log).unwrap();
    assert_eq!(imports.lines().count(), 8);
}
