//! Children die in every way there is; each death costs one call, and its cause is named.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use celeriac_core::outcome::ErrorKind;
use celeriac_executor::processes::{ProcessPool, ProcessSettings};

use super::harness::*;
use super::tasks::*;

/// Kills the child in the middle of a chunk, and checks the account of it to the last call.
fn dies_in_the_middle(how: &str, cause: &str) {
    let pool = pool(1);
    let (_folder, path) = ledger();
    let count = 400;
    let doomed = 200;
    let calls = chunk::<noted>(
        &pool,
        (0..count).map(|n| (path.clone(), n, doomed, how.to_owned())),
    );
    for (n, outcome) in (0..).zip(calls.all::<noted>()) {
        if n == doomed {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Lost);
            assert!(error.message().contains(cause), "{error}");
        } else {
            assert_eq!(outcome, Ok(n));
        }
    }
    let ledger: Vec<u64> = lines(&path)
        .iter()
        .map(|line| line.parse().unwrap())
        .collect();
    assert_eq!(
        ledger,
        (0..count).collect::<Vec<_>>(),
        "each ran once, in order"
    );
}

#[test]
fn killed() {
    dies_in_the_middle("kill", "killed by signal 9 (SIGKILL)");
}

#[test]
fn segmentation_fault() {
    dies_in_the_middle("segv", "killed by signal 11 (SIGSEGV)");
}

#[test]
fn aborted() {
    dies_in_the_middle("abort", "aborted (SIGABRT)");
}

#[test]
fn exited() {
    dies_in_the_middle("exit", "exited with status 3");
}

#[test]
fn exited_as_if_all_were_well() {
    dies_in_the_middle("exit0", "exited with status 0");
}

#[test]
fn stack_overflow() {
    dies_in_the_middle("stack", "stack overflow");
}

#[test]
fn large_outcomes_that_were_finished_survive_the_death_of_their_child() {
    let pool = pool(1);
    let (_folder, path) = ledger();
    let mut calls = Vec::new();
    for n in 0..6 {
        calls.push(one::<grow>(&pool, (100_000 + n,)));
    }
    let killer = one::<noted>(&pool, (path, 1, 1, "kill".into()));
    for (n, calls) in calls.into_iter().enumerate() {
        assert_eq!(calls.only::<grow>().unwrap().len(), 100_000 + n);
    }
    assert_eq!(killer.only::<noted>().unwrap_err().kind(), ErrorKind::Lost);
}

#[test]
fn a_dead_child_is_replaced_within_half_a_second() {
    let pool = pool(1);
    call::<add>(&pool, (1, 1)).unwrap();
    let mut worst = Duration::ZERO;
    for _ in 0..20 {
        call::<noted>(&pool, ("/dev/null".into(), 1, 1, "kill".into())).unwrap_err();
        let begun = Instant::now();
        call::<add>(&pool, (1, 1)).unwrap();
        worst = worst.max(begun.elapsed());
    }
    assert!(worst < Duration::from_millis(500), "{worst:?}");
}

#[test]
fn a_child_that_dies_between_calls_costs_nothing() {
    let pool = pool(1);
    let child = call::<who>(&pool, (0,)).unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(child).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let next = call::<who>(&pool, (0,)).unwrap();
    assert_ne!(next, child);
    assert!(!exists(child), "it was reaped");
}

#[test]
fn random_kills_from_outside_lose_one_call_each_at_most_and_repeat_none() {
    let pool = pool(2);
    let (_folder, path) = ledger();
    let (finished, kills) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut outcomes = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| kill_now_and_then(&path, &finished, &kills));
        // A busy machine may not let the killer in for a while.
        while outcomes.len() < 3000 || kills.load(Ordering::SeqCst) < 5 {
            let next = outcomes.len() as u64;
            let calls: Vec<_> = (0..30)
                .map(|part| next + part * 10)
                .map(|first| (first..first + 10).map(|n| (path.clone(), n)))
                .map(|calls| chunk::<noted_with_pid>(&pool, calls))
                .collect();
            outcomes.extend(calls.into_iter().flat_map(Calls::all::<noted_with_pid>));
        }
        finished.store(true, Ordering::SeqCst);
    });
    let kills = kills.into_inner();
    let errors: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| outcome.as_ref().err())
        .map(ToString::to_string)
        .collect();
    let lost = errors.len();
    let mut ran: Vec<u64> = lines(&path)
        .iter()
        .map(|line| line.split(' ').next().unwrap().parse().unwrap())
        .collect();
    let begun = ran.len();
    ran.sort_unstable();
    ran.dedup();
    assert_eq!(ran.len(), begun, "a call ran twice");
    assert!(lost <= kills, "{lost} lost by {kills} kills: {errors:?}");
    for (n, outcome) in (0..).zip(&outcomes) {
        if outcome.is_ok() {
            assert!(
                ran.binary_search(&n).is_ok(),
                "{n} has a value and never ran"
            );
        }
    }
}

/// Kills the child that wrote the newest line, once per hundred lines.
fn kill_now_and_then(path: &str, finished: &AtomicBool, kills: &AtomicUsize) {
    let mut seen = 0;
    while !finished.load(Ordering::SeqCst) {
        let lines = lines(path);
        if lines.len() <= seen + 100 {
            std::thread::yield_now();
            continue;
        }
        seen = lines.len();
        let pid = lines[seen - 1].split(' ').nth(1).unwrap().parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        if rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok() {
            kills.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[test]
fn a_grandchild_dies_with_its_child() {
    let pool = pool(1);
    let grandchild = call::<leave_a_grandchild>(&pool, (0,)).unwrap();
    assert!(is_alive(grandchild));
    call::<noted>(&pool, ("/dev/null".into(), 1, 1, "kill".into())).unwrap_err();
    until("the grandchild's death", || {
        (!is_alive(grandchild)).then_some(())
    });
}

#[test]
fn memory_over_the_cap_kills_the_call_and_says_how_much() {
    let pool = ProcessPool::start(ProcessSettings {
        memory_cap_bytes: NonZeroU64::new(200_000_000),
        ..settings(1)
    })
    .unwrap();
    let (_folder, path) = ledger();
    let begun = Instant::now();
    let error = call::<hold_memory>(&pool, (path.clone(), 5000)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert!(
        error.message().contains("over its cap of 200 MB"),
        "{error}"
    );
    let used: u64 = error
        .message()
        .split(' ')
        .find_map(|word| word.parse().ok())
        .unwrap();
    assert!((200..500).contains(&used), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(call::<hold_memory>(&pool, (path, 5)), Ok(5));
}

#[test]
fn junk_kills_the_child_and_not_the_pool() {
    let pool = pool(1);
    let too_long = u32::MAX.to_le_bytes().to_vec();
    let unknown = vec![1, 0, 0, 0, 99];
    let empty = vec![0; 4];
    let second_greeting = vec![5, 0, 0, 0, 2, 1, 0, 0, 0];
    for (junk, words) in [
        (too_long, "a frame of 4294967295 bytes"),
        (unknown, "too short"),
        (empty, "an empty frame"),
        (second_greeting, "a greeting out of place"),
    ] {
        let before = call::<who>(&pool, (0,)).unwrap();
        let error = call::<write_to_sockets>(&pool, (junk.into(),)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Lost);
        assert!(error.message().contains("sent junk"), "{error}");
        assert!(error.message().contains(words), "{error}");
        assert_ne!(call::<who>(&pool, (0,)).unwrap(), before);
    }
}

#[test]
fn a_forged_outcome_is_found_out() {
    let pool = pool(2);
    // The other call waits in the other child: seat 0 there, as the forger's is here.
    let mut victim = one::<sleep_ms>(&pool, (1500,));
    victim.wait_started();
    let mut forged = vec![3];
    forged.extend_from_slice(&0_u32.to_le_bytes());
    forged.extend_from_slice(&12345_u64.to_le_bytes());
    forged.extend_from_slice(&0_u32.to_le_bytes());
    forged.extend_from_slice(&0_u64.to_le_bytes());
    forged.extend_from_slice(&[0, 1, 0, 0, 0, 7]);
    let mut frame = u32::try_from(forged.len()).unwrap().to_le_bytes().to_vec();
    frame.extend(forged);
    let error = call::<write_to_sockets>(&pool, (Bytes::from(frame),)).unwrap_err();
    assert!(
        error
            .message()
            .contains("a frame about a call it was not given"),
        "{error}"
    );
    assert!(victim.only::<sleep_ms>().unwrap() > 7);
}

#[test]
fn a_death_among_coroutines_costs_those_that_were_running() {
    let pool = coroutine_pool(1, 50);
    let (_folder, path) = ledger();
    let none = String::new;
    let quick = chunk::<noted_nap>(&pool, (0..20).map(|n| (path.clone(), n, 0, none())));
    for outcome in quick.all::<noted_nap>() {
        outcome.unwrap();
    }
    let mut running =
        chunk::<noted_nap>(&pool, (20..40).map(|n| (path.clone(), n, 60_000, none())));
    running.wait_started();
    until("all of them", || (lines(&path).len() == 40).then_some(()));
    let killer = one::<noted_nap>(&pool, (path.clone(), 40, 0, "kill".into()));
    let later = one::<noted_nap>(&pool, (path.clone(), 41, 1, none()));
    let error = killer.only::<noted_nap>().unwrap_err();
    assert!(error.message().contains("SIGKILL"), "{error}");
    for outcome in running.all::<noted_nap>() {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Lost);
    }
    // It was either among the running ones or has run since.
    if let Err(error) = later.only::<noted_nap>() {
        assert_eq!(error.kind(), ErrorKind::Lost);
    }
    let mut ran = lines(&path);
    let begun = ran.len();
    ran.sort();
    ran.dedup();
    assert_eq!(ran.len(), begun, "a call ran twice");
}
