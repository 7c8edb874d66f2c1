//! Rust and Python ask each other, over both brokers; and what is missing is said.

use celeriac_testkit::peers::{CeleryVersion, VirtualHost, redis_url};

use crate::support::{Ended, example};

/// A database of the shared Redis that no other test uses.
const DATABASE: &str = "/17";

fn run(broker: &str, python: &str) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    example("celery_both_ways", folder.path())
        .args(["--on", broker, "--python", python])
        .output()
        .unwrap()
        .into()
}

fn both_ask_and_are_answered(broker: &str) {
    let ended = run(broker, &CeleryVersion::V57.python()).succeeded();
    let lines = ended.lines();
    assert_eq!(lines[0], "Rust asked Python: 6 + 7 = 13", "{ended:?}");
    assert_eq!(lines[1], "Python asked Rust: 6 * 7 = 42", "{ended:?}");
    assert!(lines[2].starts_with("asked both ways on "), "{ended:?}");
}

#[test]
fn both_ask_and_are_answered_over_redis() {
    let url = redis_url();
    let server = url.strip_suffix("/0").unwrap();
    both_ask_and_are_answered(&format!("{server}{DATABASE}"));
}

#[test]
fn both_ask_and_are_answered_over_rabbitmq() {
    both_ask_and_are_answered(&VirtualHost::create().url());
}

#[test]
fn a_place_that_python_cannot_reach_is_refused() {
    let ended = run("threads", "python3");
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("add --on redis://"), "{ended:?}");
}

#[test]
fn a_python_that_is_not_there_is_named() {
    let host = VirtualHost::create();
    let ended = run(&host.url(), "no-such-python");
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("cannot run no-such-python"),
        "{ended:?}"
    );
}
