//! Hard time limits, cancellation and progress.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use celeriac_core::outcome::ErrorKind;
use celeriac_core::{Interrupt, ShutdownMode};
use celeriac_executor::processes::{ProcessPool, ProcessSettings};

use super::harness::*;
use super::tasks::*;

#[test]
fn a_hard_limit_kills_the_call_in_time_and_the_rest_of_the_chunk_runs() {
    let pool = pool(1);
    call::<add>(&pool, (1, 1)).unwrap();
    let begun = Instant::now();
    let outcomes = submit::<sleep_ms>(&pool, hard(300), [(0,), (60_000,), (1,)]).all::<sleep_ms>();
    let error = outcomes[1].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimeLimit);
    assert!(error.message().contains("300ms"), "{error}");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(
        begun.elapsed() < Duration::from_millis(1300),
        "{:?}",
        begun.elapsed()
    );
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    assert_ne!(outcomes[0], outcomes[2], "it is another child");
}

#[test]
fn a_limit_is_for_each_call_of_a_chunk() {
    let pool = pool(1);
    let outcomes = submit::<sleep_ms>(&pool, hard(400), [(150,); 6]).all::<sleep_ms>();
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

#[test]
fn a_child_that_was_stopped_is_found_by_the_hard_limit() {
    let pool = pool(1);
    let error = submit::<stop_itself>(&pool, hard(300), [(0,)])
        .only::<stop_itself>()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimeLimit);
    assert_eq!(call::<add>(&pool, (1, 1)), Ok(2));
}

#[test]
fn a_queued_call_is_cancelled_at_once_and_never_runs() {
    let pool = pool(1);
    let (_folder, path) = ledger();
    let mut long = one::<sleep_ms>(&pool, (1000,));
    long.wait_started();
    let queued = one::<noted>(&pool, (path.clone(), 1, 0, String::new()));
    let begun = Instant::now();
    queued.control.interrupt(Interrupt::Cancelled);
    let error = queued.only::<noted>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(begun.elapsed() < Duration::from_millis(800));
    long.only::<sleep_ms>().unwrap();
    call::<add>(&pool, (1, 1)).unwrap();
    assert!(lines(&path).is_empty());
}

#[test]
fn a_running_call_that_listens_is_cancelled_without_a_death() {
    let pool = pool(1);
    let before = call::<who>(&pool, (0,)).unwrap();
    let (_folder, path) = ledger();
    let calls = one::<give_up_when_asked>(&pool, (path.clone(),));
    wait_for_line(&path);
    calls.control.interrupt(Interrupt::Cancelled);
    let error = calls.only::<give_up_when_asked>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(call::<who>(&pool, (0,)), Ok(before));
}

#[test]
fn the_calls_behind_a_cancelled_one_in_its_chunk_do_not_run() {
    let pool = pool(1);
    let (_folder, path) = ledger();
    let calls = chunk::<give_up_when_asked>(&pool, (0..50).map(|_| (path.clone(),)));
    wait_for_line(&path);
    calls.control.interrupt(Interrupt::Cancelled);
    for outcome in calls.all::<give_up_when_asked>() {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Cancelled);
    }
    assert_eq!(lines(&path).len(), 1);
}

#[test]
fn a_running_call_that_does_not_listen_is_killed_after_the_grace() {
    let pool = ProcessPool::start(ProcessSettings {
        cancel_grace: Duration::from_millis(200),
        ..settings(1)
    })
    .unwrap();
    let (_folder, path) = ledger();
    let calls = one::<noted_early>(&pool, (path.clone(), 60_000));
    wait_for_line(&path);
    let begun = Instant::now();
    calls.control.interrupt(Interrupt::Cancelled);
    let error = calls.only::<noted_early>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert!(
        begun.elapsed() < Duration::from_millis(1200),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(call::<add>(&pool, (1, 1)), Ok(2));
}

#[test]
fn an_async_task_is_cancelled_at_its_next_await() {
    for pool in [pool(1), coroutine_pool(1, 5)] {
        let (_folder, path) = ledger();
        let calls = one::<noted_nap>(&pool, (path.clone(), 1, 60_000, String::new()));
        wait_for_line(&path);
        calls.control.interrupt(Interrupt::Cancelled);
        let error = calls.only::<noted_nap>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
}

#[test]
fn coroutines_keep_their_limits_without_a_death() {
    let pool = coroutine_pool(1, 10);
    let (_folder, path) = ledger();
    let mut beside = one::<nap>(&pool, (1500,));
    beside.wait_started();
    let error = submit::<nap>(&pool, hard(200), [(60_000,)])
        .only::<nap>()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimeLimit);
    let said = submit::<wait_for_interrupt>(&pool, soft(100), [(path,)]);
    assert_eq!(said.only::<wait_for_interrupt>().unwrap(), "SoftTimeLimit");
    assert!(beside.only::<nap>().is_ok(), "the one beside them goes on");
}

#[test]
fn a_coroutine_that_blocks_past_its_limit_is_killed_from_outside() {
    let pool = coroutine_pool(1, 2);
    let (_folder, path) = ledger();
    let outcomes = submit::<block_in_coroutine>(
        &pool,
        hard(200),
        [(path.clone(), 60_000), (path.clone(), 60_000)],
    )
    .all::<block_in_coroutine>();
    let kinds: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap_err().kind())
        .collect();
    assert!(kinds.contains(&ErrorKind::TimeLimit), "{kinds:?}");
    assert!(call::<nap>(&pool, (1,)).is_ok());
}

#[test]
fn a_coroutine_that_never_awaits_is_killed_when_it_is_cancelled_or_shut_down() {
    for (interrupt, kind) in [
        (Interrupt::Cancelled, ErrorKind::Cancelled),
        (Interrupt::Shutdown, ErrorKind::Shutdown),
    ] {
        let pool = coroutine_pool(1, 2);
        let (_folder, path) = ledger();
        let mut beside = one::<nap>(&pool, (60_000,));
        beside.wait_started();
        let blocked = one::<block_in_coroutine>(&pool, (path.clone(), 60_000));
        let behind = one::<nap>(&pool, (1,));
        wait_for_line(&path);
        let begun = Instant::now();
        blocked.control.interrupt(interrupt);
        let error = blocked.only::<block_in_coroutine>().unwrap_err();
        assert_eq!(error.kind(), kind);
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(1), "{took:?}");
        assert!(took < Duration::from_millis(2500), "{took:?}");
        let error = beside.only::<nap>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Lost);
        assert!(error.message().contains("did not stop when cancelled"));
        assert!(behind.only::<nap>().is_ok(), "what was not begun runs");
    }
}

#[test]
fn a_coroutine_that_awaits_is_cancelled_without_harm_to_the_one_beside_it() {
    let pool = coroutine_pool(1, 2);
    let mut beside = one::<nap>(&pool, (1500,));
    beside.wait_started();
    let mut calls = one::<nap>(&pool, (60_000,));
    calls.wait_started();
    calls.control.interrupt(Interrupt::Cancelled);
    let error = calls.only::<nap>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(beside.only::<nap>().is_ok());
}

#[test]
fn a_shutdown_that_kills_does_not_wait_for_a_coroutine_that_never_awaits() {
    let pool = coroutine_pool(1, 2);
    let (_folder, path) = ledger();
    let blocked =
        chunk::<block_in_coroutine>(&pool, [(path.clone(), 60_000), (path.clone(), 60_000)]);
    until("both", || (lines(&path).len() == 2).then_some(()));
    let took = shut_down(&pool, ShutdownMode::Kill);
    assert!(took < Duration::from_secs(2), "{took:?}");
    for outcome in blocked.all::<block_in_coroutine>() {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Shutdown);
    }
}

#[test]
fn progress_is_heard_in_order_before_the_outcome() {
    for pool in [pool(1), coroutine_pool(1, 1)] {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (_folder, path) = ledger();
        // A call in front of it, so that the hook is in place in time.
        let mut front = one::<noted_early>(&pool, (path, 50));
        front.wait_started();
        let calls = one::<progress>(&pool, (20,));
        let ear = heard.clone();
        calls.control.on_progress(move |progress| {
            ear.lock()
                .unwrap()
                .push((progress.done, progress.total, progress.message.clone()));
        });
        let control = calls.control.clone();
        assert_eq!(calls.only::<progress>(), Ok(20));
        let newest = control.progress().unwrap();
        assert_eq!((newest.done, newest.total), (20, 20));
        let heard = heard.lock().unwrap();
        assert!(heard.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(heard.last().unwrap(), &(20, 20, "step 20".to_owned()));
        front.only::<noted_early>().unwrap();
    }
}
