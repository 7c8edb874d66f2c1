//! `manager`: what it says of its place, and how bad options end it.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{ChildStdout, Stdio};

use celeriac::sync::cluster::{Cluster, Lock, Options};
use celeriac_testkit::peers::certify;
use serde_json::{Deserializer, Value};

use super::{Shop, Worker};

impl Shop {
    /// Makes the files that a manager is given.
    fn with_files() -> Self {
        let shop = Self::new();
        certify(shop.0.path());
        let key = shop.path("key");
        std::fs::write(&key, "k".repeat(40)).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        shop
    }

    /// Starts a manager, and gives what it prints.
    fn manager(&self, words: &[&str]) -> (Worker, ChildStdout) {
        let mut command = self.command(&["manager", "--bind", "127.0.0.1:0"]);
        let log = self.path("worker.log");
        command.args(words).stdout(Stdio::piped());
        let mut child = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
        let printed = child.stdout.take().unwrap();
        (Worker { child, log }, printed)
    }
}

#[test]
fn a_manager_is_held_by_programs_until_it_is_told_to_stop() {
    let shop = Shop::new();
    let (manager, printed) = shop.manager(&["--json"]);
    let mut documents = Deserializer::from_reader(printed).into_iter::<Value>();
    let told = documents.next().unwrap().unwrap();
    let place = told["place"].as_str().unwrap();

    // Two programs, as far as the manager knows.
    let [first, second] = [(), ()].map(|()| Cluster::connect(place).unwrap());
    let held = Lock::named(&first, "till").unwrap().lock().unwrap().fence();
    let till = Lock::named(&second, "till").unwrap();
    assert!(till.lock().unwrap().fence() > held);

    manager.signal("TERM");
    manager.ended();
}

#[test]
fn a_manager_that_others_can_reach_needs_a_key() {
    let shop = Shop::new();
    let ran = shop.run(&["manager", "--bind", "0.0.0.0:0"]);
    assert_eq!(ran.code, 3);
    assert!(
        ran.err.contains("give it a key with --key-file"),
        "{}",
        ran.err
    );

    std::fs::write(shop.path("key"), "too short").unwrap();
    let key = shop.path("key");
    let ran = shop.run(&["manager", "--key-file", key.to_str().unwrap()]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("umask 077"), "{}", ran.err);
}

#[test]
fn a_manager_speaks_tls_with_the_files_that_it_is_given() {
    let shop = Shop::with_files();
    for (words, scheme) in [
        ("", "manager"),
        ("--tls-cert own.pem --tls-key own.key", "managers"),
    ] {
        let words = ["--key-file key", words].join(" ");
        let words: Vec<_> = words.split_whitespace().collect();
        let (_manager, printed) = shop.manager(&words);
        let mut line = String::new();
        BufReader::new(printed).read_line(&mut line).unwrap();
        let said = format!("listening at {scheme}://127.0.0.1:");
        let port = line.trim_end().strip_prefix(&said).unwrap();
        let place = Options::new(&format!("{scheme}://localhost:{port}"))
            .key_file(shop.path("key"))
            .ca_file(shop.path("ca.pem"))
            .connect()
            .unwrap();
        assert!(Lock::named(&place, "till").unwrap().lock().is_ok());
    }
}

#[test]
fn files_for_tls_that_cannot_be_used_are_a_matter_of_configuration() {
    let shop = Shop::with_files();
    let manager = ["manager", "--bind", "127.0.0.1:0", "--key-file", "key"];
    for (certificate, key, named) in [
        ("none.pem", "own.key", "none.pem"),
        ("own.pem", "none.key", "none.key"),
        ("own.pem", "ca.key", "ca.key"),
        ("own.csr", "own.key", "own.csr"),
    ] {
        let words = ["--tls-cert", certificate, "--tls-key", key];
        let ran = shop.run(&[&manager[..], &words].concat());
        assert_eq!(ran.code, 3, "{}", ran.err);
        let said = format!("error: the file {named} cannot be used for TLS");
        assert!(ran.err.starts_with(&said), "{}", ran.err);
        assert!(
            ran.err.contains("caused by:") && ran.err.contains("help:"),
            "{}",
            ran.err
        );
    }
    let alone = shop.run(&[&manager[..], &["--tls-cert", "own.pem"]].concat());
    assert_eq!(alone.code, 2);
    assert!(alone.err.contains("--tls-key <FILE>"), "{}", alone.err);
}
