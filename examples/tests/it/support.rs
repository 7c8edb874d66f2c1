//! Finds and runs the examples.

use std::path::PathBuf;
use std::time::Duration;

use assert_cmd::Command;

/// The example's binary, which cargo builds beside this test's.
pub(crate) fn path(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    // From `target/<profile>/deps/it-<hash>` to `target/<profile>/examples/<name>`.
    path.pop();
    path.pop();
    path.push("examples");
    path.push(name);
    assert!(
        path.exists(),
        "{} is missing; `cargo test -p celeriac-examples` builds it, `--test it` alone does not",
        path.display()
    );
    path
}

/// A command that runs the example, and fails if it takes over a minute.
pub(crate) fn example(name: &str) -> Command {
    let mut command = Command::new(path(name));
    command
        .timeout(Duration::from_secs(60))
        .env_remove("CELERIAC_ON");
    command
}

/// What the example prints, run on `place`; it must succeed.
pub(crate) fn printed(name: &str, place: &str, arguments: &[&str]) -> String {
    let assert = example(name)
        .args(["--on", place])
        .args(arguments)
        .assert()
        .success();
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}
