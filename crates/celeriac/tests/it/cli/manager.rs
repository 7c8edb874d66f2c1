//! `manager`: what it says of its place, and how bad options end it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};

use celeriac::sync::cluster::{Lock, Options};
use celeriac_testkit::peers::certify;

use super::Shop;

struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

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

    /// Starts a manager, and gives what it says of its place.
    fn manager(&self, words: &[&str]) -> (Serving, String) {
        let options = ["manager", "--bind", "127.0.0.1:0", "--key-file", "key"];
        let mut command = self.command(&options);
        let mut child = command.args(words).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let place = line.trim_end().strip_prefix("listening at ").unwrap();
        (Serving(child), place.to_owned())
    }
}

#[test]
fn a_manager_speaks_tls_with_the_files_that_it_is_given() {
    let shop = Shop::with_files();
    for (words, scheme) in [
        (&[][..], "manager"),
        (
            &["--tls-cert", "own.pem", "--tls-key", "own.key"],
            "managers",
        ),
    ] {
        let (_serving, place) = shop.manager(words);
        let port = place
            .strip_prefix(&format!("{scheme}://127.0.0.1:"))
            .unwrap();
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
