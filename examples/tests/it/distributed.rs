//! Takers on other machines: all results come, a wrong secret is refused, and what a killed one had is done.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use celeriac_testkit::peers::OwnedChild;

use crate::networks::Networks;
use crate::support::path;

/// The example, on one of the machines, with the secret that is in this file.
fn start(networks: &Networks, machine: usize, key: &Path, arguments: &[&str]) -> OwnedChild {
    let mut words = networks.inside(machine);
    let program = path("distributed_queue");
    words.extend(
        [
            program.to_str().unwrap(),
            "--key-file",
            key.to_str().unwrap(),
        ]
        .map(str::to_owned),
    );
    let words = words.iter().map(String::as_str);
    let mut words = words.chain(arguments.iter().copied());
    let program = words.next().unwrap();
    OwnedChild::start(arguments[0], program, words, |_| {})
}

/// A secret in a file that only its owner can read.
fn write_key(path: &Path, secret: &str) {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    file.unwrap()
        .write_all(secret.repeat(8).as_bytes())
        .unwrap();
}

#[test]
fn all_is_squared_although_a_secret_is_wrong_and_a_taker_is_killed() {
    let networks = Networks::prepare();
    let folder = tempfile::tempdir().unwrap();
    let [right, wrong] = ["right", "wrong"].map(|name| folder.path().join(name));
    write_key(&right, "right");
    write_key(&wrong, "wrong");

    let bind = format!("{}:0", networks.host(0));
    let mut server = start(&networks, 0, &right, &["serve", "--bind", &bind]);
    let serving = server.wait_for_line("serving at ");
    let at = serving.trim_end().strip_prefix("serving at ").unwrap();
    let take = |machine, key, name, pause| {
        let how = ["--name", name, "--pause", pause, "--lease", "1000"];
        let arguments = [&["take", "--at", at][..], &how].concat();
        start(&networks, machine, key, &arguments)
    };

    let mut refused = take(1, &wrong, "a stranger", "0");
    refused.wait_for_line("have different keys");
    assert_eq!(refused.wait().code(), Some(1));

    // It would have its number for an hour.
    let killed = take(1, &right, "the dead", "3600000");
    let had = killed.wait_for_line("took ");
    drop(killed);

    let mut takers = [(1, "the first"), (2, "the second")]
        .map(|(machine, name)| take(machine, &right, name, "5"));
    server.wait_for_line("20 numbers were squared");
    assert!(server.wait().success());
    let printed = server.printed();
    let lines: Vec<_> = printed.lines().skip(1).collect();
    assert_eq!(lines.len(), 21, "{printed}");
    for (number, line) in (1..=20).zip(lines) {
        let by = line.strip_prefix(&format!(
            "{number} squared is {}, says the ",
            number * number
        ));
        assert!(["first", "second"].contains(&by.unwrap()), "{printed}");
    }

    let mut again = 0;
    for taker in &mut takers {
        taker.wait_until_printed("nothing more comes");
        assert!(taker.wait().success());
        let printed = taker.printed();
        again += printed
            .lines()
            .filter(|line| *line == had.trim_end())
            .count();
    }
    assert_eq!(again, 1, "{had}");
}
