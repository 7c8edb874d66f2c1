//! This test binary run again, as a parent that can be killed or whose file can be replaced.
//!
//! A test that needs one starts itself a second time; there it finds a ledger in its environment,
//! and plays the parent instead.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::harness::*;
use super::tasks::*;

const PATH: &str = "TEST_LEDGER";

/// Runs `test`, named with its module, once more in a process of its own.
pub(crate) fn start(test: &str, path: &str, binary: Option<&Path>) -> Child {
    command(test, path, binary).spawn().unwrap()
}

/// What [`start`] starts.
pub(crate) fn command(test: &str, path: &str, binary: Option<&Path>) -> Command {
    let own = std::env::current_exe().unwrap();
    let mut command = Command::new(binary.unwrap_or(&own));
    command
        .args(["--exact", &format!("processes::{test}")])
        .env(PATH, path)
        .stdout(Stdio::null());
    command
}

/// The ledger, if this process is the one that was started so.
pub(crate) fn ledger_of_parent() -> Option<String> {
    std::env::var(PATH).ok()
}

pub(crate) fn children_for_a_killed_parent(path: &str) {
    let pool = pool(2);
    let calls: Vec<_> = (0..2)
        .map(|_| one::<noted_early>(&pool, (path.to_owned(), 60_000)))
        .collect();
    for calls in calls {
        calls.only::<noted_early>().unwrap();
    }
}

pub(crate) fn replacement_after_the_binary_changed(path: &str) {
    let own = std::env::current_exe().unwrap();
    let pool = pool(1);
    let first = call::<who>(&pool, (0,)).unwrap();
    std::fs::remove_file(&own).unwrap();
    std::fs::write(&own, "#!/bin/sh\nexit 1\n").unwrap();
    call::<noted>(&pool, ("/dev/null".into(), 1, 1, "kill".into())).unwrap_err();
    assert_ne!(call::<who>(&pool, (0,)).unwrap(), first);
    note(path, "the same version");
}

pub(crate) fn no_replacement_to_be_had(path: &str) {
    let pool = pool(1);
    call::<add>(&pool, (1, 1)).unwrap();
    let resource = rustix::process::Resource::Nofile;
    let before = rustix::process::getrlimit(resource);
    let none = rustix::process::Rlimit {
        current: Some(3),
        ..before
    };
    rustix::process::setrlimit(resource, none).unwrap();
    call::<die_now>(&pool, ("kill".into(),)).unwrap_err();
    let error = call::<add>(&pool, (1, 1)).unwrap_err();
    let late = call::<add>(&pool, (1, 1)).unwrap_err();
    rustix::process::setrlimit(resource, before).unwrap();
    assert_eq!(error, late);
    note(path, error);
}
