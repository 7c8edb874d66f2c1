//! Children that do not come in the way children do, and pools that do not wait for them for ever.
#![expect(
    unsafe_code,
    reason = "a constructor is how a program gets ahead of its children's entry point"
)]

use std::time::{Duration, Instant};

use celeriac_executor::processes::{ProcessPool, ProcessSettings};

use super::harness::*;
use super::helper;
use super::tasks::*;

/// Says which impostor the children of a process are.
const IMPOSTOR: &str = "TEST_IMPOSTOR";

/// What marks a child; part of the contract with programs that look at their environment.
const MARKER: &str = "CELERIAC_CHILD";

/// If the guard fails, so many of them are enough.
const ENOUGH: usize = 30;

/// Run before the entry point of children, which is a constructor too, of a later rank.
// SAFETY: the section holds pointers to functions of this type, which is what the loader calls.
#[used]
#[unsafe(link_section = ".init_array.00200")]
static GET_AHEAD: extern "C" fn() = get_ahead;

extern "C" fn get_ahead() {
    if std::env::var_os(MARKER).is_none() {
        return;
    }
    match std::env::var(IMPOSTOR).as_deref() {
        Ok("mute") => stay_mute(),
        Ok("program") => run_the_program_again(),
        _ => {}
    }
}

/// A child that hangs before it has said anything.
fn stay_mute() {
    note(&ledger_here(), std::process::id());
    loop {
        std::thread::park();
    }
}

/// What every child of a program does whose constructors are not run: it begins as its parent began.
#[expect(clippy::exit, reason = "a program ends")]
fn run_the_program_again() {
    let path = ledger_here();
    if lines(&path).len() < ENOUGH {
        match ProcessPool::start(settings(1)) {
            Ok(_) => note(&path, "it started"),
            Err(refused) => note(&path, refused),
        }
    }
    std::process::exit(7)
}

fn ledger_here() -> String {
    helper::ledger_of_parent().expect("the parent's environment is inherited")
}

/// Runs `test` as a parent whose children are impostors; what was noted meanwhile.
fn with_impostors(impostor: &str, test: &str) -> Vec<String> {
    let (_folder, path) = ledger();
    let status = helper::command(&format!("entries::{test}"), &path, None)
        .env(IMPOSTOR, impostor)
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    lines(&path)
}

#[test]
fn a_child_that_never_says_hello_is_given_up_in_time() {
    if let Some(path) = helper::ledger_of_parent() {
        let begun = Instant::now();
        let pool = ProcessPool::start(ProcessSettings {
            start_timeout: Duration::from_millis(300),
            ..settings(1)
        })
        .unwrap();
        let error = call::<add>(&pool, (1, 1)).unwrap_err();
        // Three children, one after the other, and a pause in between.
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(900), "{took:?}");
        assert!(took < Duration::from_secs(5), "{took:?}");
        note(&path, error);
        return;
    }
    let said = with_impostors("mute", "a_child_that_never_says_hello_is_given_up_in_time");
    let (error, pids) = said.split_last().unwrap();
    assert!(error.contains("3 in a row were lost"), "{error}");
    assert!(error.contains("it was not ready within 300ms"), "{error}");
    assert_eq!(pids.len(), 3);
    for pid in pids {
        assert!(!exists(pid.parse().unwrap()), "{pid} is left");
    }
}

#[test]
fn a_program_whose_children_do_not_enter_is_refused_and_does_not_multiply() {
    if let Some(path) = helper::ledger_of_parent() {
        let pool = pool(1);
        let error = call::<add>(&pool, (1, 1)).unwrap_err();
        note(&path, error);
        return;
    }
    let said = with_impostors(
        "program",
        "a_program_whose_children_do_not_enter_is_refused_and_does_not_multiply",
    );
    let (error, refusals) = said.split_last().unwrap();
    assert!(error.contains("3 in a row were lost"), "{error}");
    assert!(error.contains("exited with status 7"), "{error}");
    assert_eq!(refusals.len(), 3, "{refusals:?}");
    for refusal in refusals {
        assert!(
            refusal.contains("cannot start a pool of its own"),
            "{refusal}"
        );
    }
}
