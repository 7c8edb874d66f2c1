//! Soft limits: what they interrupt, when, and what they leave alone.

use std::time::Duration;

use celeriac_core::outcome::ErrorKind;
use celeriac_core::task::Task;
use celeriac_core::{Interrupt, Limits};

use super::harness::*;
use super::tasks::*;

/// The number of milliseconds in `EINTR after 120 ms`.
fn millis(said: &str) -> u64 {
    said.split(' ').nth(2).unwrap().parse().unwrap()
}

#[test]
fn each_call_of_a_chunk_is_interrupted_anew() {
    let pool = pool(1);
    let (_folder, path) = ledger();
    let outcomes = submit::<listen>(&pool, soft(200), [(path.clone(),), (path.clone(),)]);
    for outcome in outcomes.all::<listen>() {
        let said = outcome.unwrap();
        assert!(said.starts_with("SoftTimeLimit"), "{said}");
        assert!((150..1000).contains(&millis(&said)), "{said}");
    }
}

#[test]
fn an_interrupt_is_at_most_ten_milliseconds_late() {
    let pool = pool(1);
    let (_folder, path) = ledger();
    let outcomes = submit::<listen>(&pool, soft(50), (0..10).map(|_| (path.clone(),)));
    let late = outcomes
        .all::<listen>()
        .into_iter()
        .map(|outcome| millis(&outcome.unwrap()).saturating_sub(50));
    // The machine may be busy for some of them, but not for all.
    assert!(late.min().unwrap() <= 10);
}

#[test]
fn a_task_that_gives_up_has_a_time_out() {
    let pool = pool(1);
    let (_folder, path) = ledger();
    let error = submit::<give_up_when_asked>(&pool, soft(50), [(path,)])
        .only::<give_up_when_asked>()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimeLimit);
}

#[test]
fn it_comes_before_the_hard_limit() {
    let (_folder, path) = ledger();
    for pool in [pool(1), coroutine_pool(1, 3)] {
        let order = Order {
            limits: Limits {
                soft: Some(Duration::from_millis(100)),
                hard: Some(Duration::from_secs(20)),
            },
            ..Order::default()
        };
        let said = submit::<listen>(&pool, order, [(path.clone(),)]).only::<listen>();
        assert!(said.unwrap().starts_with("SoftTimeLimit"));
    }
}

fn ends_a_system_call<T: Task<Args = (String,), Output = String>>() {
    for pool in [pool(1), coroutine_pool(1, 3)] {
        let (_folder, path) = ledger();
        let said = submit::<T>(&pool, soft(100), [(path,)])
            .only::<T>()
            .unwrap();
        assert!(said.starts_with("EINTR"), "{said}");
        assert!((50..1000).contains(&millis(&said)), "{said}");
    }
}

#[test]
fn a_system_call_of_the_task_ends() {
    ends_a_system_call::<wait_in_a_read>();
}

#[test]
fn a_system_call_ends_of_a_task_that_has_no_context() {
    ends_a_system_call::<wait_without_context>();
}

#[test]
fn a_system_call_ends_that_blocks_a_coroutine() {
    ends_a_system_call::<wait_in_a_poll>();
}

#[test]
fn a_cancelled_call_has_its_system_call_ended_too() {
    let pool = pool(1);
    let before = call::<who>(&pool, (0,)).unwrap();
    let (_folder, path) = ledger();
    let calls = one::<wait_in_a_read>(&pool, (path.clone(),));
    wait_for_line(&path);
    // Between the note and the read there is time in which a signal finds nothing to end.
    until("its read", || {
        let threads = std::fs::read_dir(format!("/proc/{before}/task")).unwrap();
        threads
            .flatten()
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok())
            .any(|stat| stat.contains("(celeriac-task) S"))
            .then_some(())
    });
    calls.control.interrupt(Interrupt::Cancelled);
    let said = calls.only::<wait_in_a_read>().unwrap();
    assert!(said.starts_with("EINTR"), "{said}");
    assert_eq!(call::<who>(&pool, (0,)), Ok(before));
}

#[test]
fn no_call_is_hit_but_the_one_that_is_over_its_limit() {
    for pool in [pool(1), coroutine_pool(1, 1)] {
        // Around the limit, so that signals meet calls that are about to end.
        let naps = (0..300).map(|n| (4_000 + n % 20 * 100,));
        let ends = submit::<sleep_once>(&pool, soft(5), naps).all::<sleep_once>();
        let (mut cut, mut whole) = (0, 0);
        for (cut_short, asked) in ends.into_iter().map(Result::unwrap) {
            assert!(
                asked || !cut_short,
                "it was hit by a signal for another call"
            );
            cut += usize::from(cut_short);
            whole += usize::from(!cut_short);
        }
        assert!(cut > 0 && whole > 0, "{cut} cut short, {whole} not");
    }
}

#[test]
fn each_coroutine_has_a_limit_of_its_own() {
    let pool = coroutine_pool(1, 2);
    let naps = [50, 60_000, 100, 150, 60_000, 150, 150].map(|ms| (ms,));
    let ends = submit::<nap_if_it_may>(&pool, soft(400), naps).all::<nap_if_it_may>();
    let slept: Vec<_> = ends.into_iter().map(Result::unwrap).collect();
    assert_eq!(slept, [true, false, true, true, false, true, true]);
}

#[test]
fn a_call_without_a_limit_is_left_alone_beside_one_that_has_one() {
    let pool = coroutine_pool(1, 2);
    let mut free = one::<nap_if_it_may>(&pool, (600,));
    free.wait_started();
    let bound = submit::<nap_if_it_may>(&pool, soft(50), [(60_000,)]);
    assert_eq!(bound.only::<nap_if_it_may>(), Ok(false));
    assert_eq!(free.only::<nap_if_it_may>(), Ok(true));
}

#[test]
fn a_call_that_is_interrupted_before_its_child_has_begun_with_it_still_runs() {
    let pool = pool(1);
    let (_folder, path) = ledger();
    // The pool learns that the task is short, and so sends it ahead.
    let quick = (0..200).map(|n| (path.clone(), n, 0));
    for outcome in chunk::<noted_sleep>(&pool, quick).all::<noted_sleep>() {
        outcome.unwrap();
    }
    let long = one::<noted_sleep>(&pool, (path.clone(), 200, 300));
    let behind = one::<noted_sleep>(&pool, (path.clone(), 201, 0));
    until("the long one", || (lines(&path).len() == 201).then_some(()));
    behind.control.interrupt(Interrupt::SoftTimeLimit);
    assert!(behind.only::<noted_sleep>().is_ok());
    assert!(long.only::<noted_sleep>().is_ok());
}
