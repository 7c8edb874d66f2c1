//! What a task has started dies with its child, wherever it went, and however that ends.

use std::time::Duration;

use celeriac_core::ShutdownMode;
use celeriac_core::outcome::ErrorKind;
use celeriac_executor::processes::ProcessPool;

use super::harness::*;
use super::helper;
use super::tasks::*;

/// A pool of one child that has started two daemons, and their process numbers.
fn pool_with_daemons() -> (ProcessPool, Vec<u32>) {
    let pool = pool(1);
    let (_folder, path) = ledger();
    call::<leave_daemons>(&pool, (path.clone(),)).unwrap();
    let daemons = numbers(&path);
    assert_eq!(daemons.len(), 2);
    call::<add>(&pool, (1, 1)).unwrap();
    assert!(daemons.iter().all(|&daemon| is_alive(daemon)), "too early");
    (pool, daemons)
}

fn numbers(path: &str) -> Vec<u32> {
    let lines = lines(path);
    lines.iter().map(|line| line.parse().unwrap()).collect()
}

fn assert_gone(daemons: &[u32]) {
    for &daemon in daemons {
        assert!(!is_alive(daemon), "{daemon} is left");
    }
}

#[test]
fn they_die_with_a_child_that_dies_by_itself() {
    for how in ["kill", "segv", "abort", "exit0"] {
        let (pool, daemons) = pool_with_daemons();
        let error = call::<die_now>(&pool, (how.into(),)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Lost);
        assert_gone(&daemons);
    }
}

#[test]
fn they_die_with_a_child_that_is_killed_for_its_limit() {
    let (pool, daemons) = pool_with_daemons();
    let error = submit::<sleep_ms>(&pool, hard(100), [(60_000,)])
        .only::<sleep_ms>()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimeLimit);
    assert_gone(&daemons);
}

#[test]
fn they_die_with_a_child_that_was_stopped() {
    let (pool, daemons) = pool_with_daemons();
    submit::<stop_itself>(&pool, hard(100), [(0,)])
        .only::<stop_itself>()
        .unwrap_err();
    assert_gone(&daemons);
}

#[test]
fn they_die_with_their_pool() {
    for mode in [ShutdownMode::Wait, ShutdownMode::Kill] {
        let (pool, daemons) = pool_with_daemons();
        let took = shut_down(&pool, mode);
        assert_gone(&daemons);
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    let (pool, daemons) = pool_with_daemons();
    drop(pool);
    assert_gone(&daemons);
}

#[test]
fn an_orphan_that_ends_by_itself_is_left_alone_and_leaves_no_zombie() {
    let pool = pool(1);
    let (_folder, path) = ledger();
    let child = call::<who>(&pool, (0,)).unwrap();
    call::<leave_an_orphan>(&pool, (path.clone(),)).unwrap();
    until("its last word", || (lines(&path).len() == 2).then_some(()));
    let orphan = lines(&path)[0].parse().unwrap();
    until("its end", || (!exists(orphan)).then_some(()));
    assert_eq!(call::<who>(&pool, (0,)), Ok(child));
}

#[test]
fn they_die_with_a_parent_that_is_killed() {
    if let Some(path) = helper::ledger_of_parent() {
        let pool = pool(1);
        call::<leave_daemons>(&pool, (path,)).unwrap();
        call::<sleep_ms>(&pool, (60_000,)).unwrap();
        return;
    }
    let (_folder, path) = ledger();
    let mut parent = helper::start(
        "daemons::they_die_with_a_parent_that_is_killed",
        &path,
        None,
    );
    until("two daemons", || (lines(&path).len() == 2).then_some(()));
    parent.kill().unwrap();
    parent.wait().unwrap();
    until("their end", || {
        let left = numbers(&path).into_iter().any(is_alive);
        (!left).then_some(())
    });
}
