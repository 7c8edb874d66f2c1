//! How children come and go: recycling, shutdown, the death of the parent.

use std::collections::HashSet;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use celeriac_core::outcome::ErrorKind;
use celeriac_core::{Executor, ShutdownMode};
use celeriac_executor::processes::{ProcessPool, ProcessSettings, StartError};

use super::harness::*;
use super::helper;
use super::tasks::*;

#[test]
fn a_child_is_replaced_after_its_number_of_calls() {
    let pool = ProcessPool::start(ProcessSettings {
        max_tasks: NonZeroU64::new(10),
        ..settings(1)
    })
    .unwrap();
    let pids: Vec<u32> = chunk::<who>(&pool, (0..35).map(|n| (n,)))
        .all::<who>()
        .into_iter()
        .map(Result::unwrap)
        .collect();
    for ten in pids.chunks(10) {
        assert!(ten.iter().all(|pid| *pid == ten[0]), "{pids:?}");
    }
    assert_eq!(pids.iter().collect::<HashSet<_>>().len(), 4);
    until("their end", || (!exists(pids[0])).then_some(()));
}

#[test]
fn a_child_that_holds_too_much_memory_after_a_call_is_replaced() {
    let pool = ProcessPool::start(ProcessSettings {
        max_memory_bytes: NonZeroU64::new(1_000_000),
        ..settings(1)
    })
    .unwrap();
    let first = call::<sleep_ms>(&pool, (50,)).unwrap();
    until("a replacement", || {
        (call::<sleep_ms>(&pool, (50,)).unwrap() != first).then_some(())
    });
    until("its end", || (!exists(first)).then_some(()));
}

#[test]
fn a_patient_shutdown_finishes_everything() {
    let pool = pool(2);
    let calls: Vec<_> = (0..20).map(|_| one::<sleep_ms>(&pool, (20,))).collect();
    shut_down(&pool, ShutdownMode::Wait);
    let children: HashSet<u32> = calls
        .into_iter()
        .map(|calls| calls.only::<sleep_ms>().unwrap())
        .collect();
    assert!(
        children.iter().all(|&child| !exists(child)),
        "orphan or zombie"
    );
    let late = call::<add>(&pool, (1, 1)).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Shutdown);
}

#[test]
fn a_shutdown_that_cancels_the_queue_finishes_what_runs() {
    let pool = pool(1);
    let (_folder, path) = ledger();
    let calls = chunk::<noted_sleep>(&pool, (0..50).map(|n| (path.clone(), n, 300)));
    let queued = one::<add>(&pool, (1, 1));
    wait_for_line(&path);
    let took = shut_down(&pool, ShutdownMode::CancelQueued);
    assert!(took < Duration::from_secs(3), "{took:?}");
    let outcomes = calls.all::<noted_sleep>();
    assert!(outcomes[0].is_ok());
    assert!(
        outcomes[49]
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::Shutdown)
    );
    let finished = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(finished, lines(&path).len(), "what was begun was finished");
    assert_eq!(
        queued.only::<add>().unwrap_err().kind(),
        ErrorKind::Shutdown
    );
}

/// Kills a pool that is busy for long, after what `first` does to it.
fn kill_a_busy_pool(first: impl FnOnce(&ProcessPool)) {
    let pool = pool(1);
    let mut calls = one::<sleep_ms>(&pool, (60_000,));
    calls.wait_started();
    first(&pool);
    let took = shut_down(&pool, ShutdownMode::Kill);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(
        calls.only::<sleep_ms>().unwrap_err().kind(),
        ErrorKind::Shutdown
    );
}

#[test]
fn a_shutdown_that_kills_ends_at_once() {
    kill_a_busy_pool(|_| {});
}

#[test]
fn a_harder_shutdown_overtakes_a_softer_one() {
    // Dropping the future does not stop the shutdown.
    kill_a_busy_pool(|pool| drop(Executor::shutdown(pool, ShutdownMode::Wait)));
}

#[test]
fn dropping_a_pool_leaves_no_process() {
    let pool = pool(2);
    let (_folder, path) = ledger();
    let idle = call::<who>(&pool, (0,)).unwrap();
    let calls = one::<noted_early>(&pool, (path.clone(), 60_000));
    wait_for_line(&path);
    let busy: u32 = lines(&path)[0].parse().unwrap();
    drop(pool);
    assert!(!exists(idle) && !exists(busy));
    assert_eq!(
        calls.only::<noted_early>().unwrap_err().kind(),
        ErrorKind::Shutdown
    );
}

#[test]
fn a_pool_of_more_children_than_can_be_is_refused() {
    let refused = ProcessPool::start(settings(1_000_000));
    assert!(matches!(
        refused,
        Err(StartError::TooMany {
            asked: 1_000_000,
            unit: "children"
        })
    ));
}

#[test]
fn a_pool_that_can_start_no_child_says_why_instead_of_waiting() {
    if let Some(path) = helper::ledger_of_parent() {
        return helper::no_replacement_to_be_had(&path);
    }
    let (_folder, path) = ledger();
    let mut parent = helper::start(
        "lives::a_pool_that_can_start_no_child_says_why_instead_of_waiting",
        &path,
        None,
    );
    assert!(parent.wait().unwrap().success());
    let said = lines(&path).join(" ");
    assert!(said.contains("3 in a row were lost"), "{said}");
    assert!(said.contains("Too many open files"), "{said}");
}

#[test]
fn children_die_with_a_parent_that_is_killed() {
    if let Some(path) = helper::ledger_of_parent() {
        return helper::children_for_a_killed_parent(&path);
    }
    let (_folder, path) = ledger();
    let mut parent = helper::start(
        "lives::children_die_with_a_parent_that_is_killed",
        &path,
        None,
    );
    let children = until("two children", || {
        let pids: HashSet<u32> = lines(&path)
            .iter()
            .map(|line| line.parse().unwrap())
            .collect();
        (pids.len() == 2).then_some(pids)
    });
    parent.kill().unwrap();
    parent.wait().unwrap();
    let begun = Instant::now();
    for child in children {
        until("its end", || (!is_alive(child)).then_some(()));
    }
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_binary_replaced_on_disk_goes_on_with_the_children_it_knows() {
    if let Some(path) = helper::ledger_of_parent() {
        return helper::replacement_after_the_binary_changed(&path);
    }
    let (folder, path) = ledger();
    let copy = folder.path().join("copy");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let mut parent = helper::start(
        "lives::a_binary_replaced_on_disk_goes_on_with_the_children_it_knows",
        &path,
        Some(&copy),
    );
    let status = parent.wait().unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(lines(&path), ["the same version"]);
}
