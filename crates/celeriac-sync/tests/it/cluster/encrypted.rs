//! A manager over TLS, with certificates that are trusted and others.

use std::path::Path;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use celeriac_sync::cluster::{Cluster, Error, Manager, Options, Queue};
use celeriac_testkit::peers::certify;

use super::served::{Served, write_key};

/// A manager over TLS in this process, for all tests that share one.
fn place() -> Cluster {
    static SERVED: LazyLock<(tempfile::TempDir, u16)> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        certify(folder.path());
        let manager = Manager::bind("127.0.0.1:0", None).unwrap();
        let file = |name| folder.path().join(name);
        let manager = manager.encrypted(&file("own.pem"), &file("own.key"));
        let manager = manager.unwrap();
        assert!(manager.place().starts_with("managers://127.0.0.1:"));
        let port = manager.address().port();
        thread::spawn(|| manager.run());
        (folder, port)
    });
    let (folder, port) = &*SERVED;
    let authority = folder.path().join("ca.pem");
    let address = format!("managers://localhost:{port}?ca={}", authority.display());
    Cluster::connect(&address).unwrap()
}

super::scope::types!(super::place);
crate::suite::queues!();

/// What a connection is refused with, and what that says.
fn refused(options: Options) -> (Error, String) {
    let error = options.connect().unwrap_err();
    let mut said = error.to_string();
    let mut next = std::error::Error::source(&error);
    while let Some(cause) = next {
        said = format!("{said}: {cause}");
        next = cause.source();
    }
    (error, said)
}

#[test]
fn large_items_and_many_calls_pass() {
    let served = Served::start_encrypted();
    let place = served.connect();
    assert!(place.address().starts_with("managers://localhost:"));
    let queue = Queue::named(&place, "large", 100).unwrap();
    let item = "x".repeat(5 << 20);
    for _ in 0..3 {
        queue.put(item.clone()).unwrap();
    }
    let other = Queue::<String>::named(&served.connect(), "large", 100).unwrap();
    for _ in 0..3 {
        assert_eq!(*other.get().unwrap(), item);
    }
}

#[test]
fn a_certificate_of_an_unknown_authority_or_for_another_name_is_not_trusted() {
    let served = Served::start_encrypted();
    let at = |host: &str| Options::new(&served.place_at("managers", host)).key_file(&served.key);
    let (error, said) = refused(at("localhost"));
    assert!(matches!(error, Error::Untrusted { .. }), "{said}");
    assert!(
        said.contains("not trusted") && said.contains("UnknownIssuer"),
        "{said}"
    );
    assert!(!error.is_transient());
    let (error, said) = refused(at("127.0.0.1").ca_file(served.authority()));
    assert!(matches!(error, Error::Untrusted { .. }), "{said}");
    assert!(said.contains("not valid for name"), "{said}");
    assert!(
        at("localhost")
            .ca_file(served.authority())
            .connect()
            .is_ok()
    );
}

#[test]
fn the_key_is_proved_within() {
    let served = Served::start_encrypted();
    let folder = tempfile::tempdir().unwrap();
    let wrong = write_key(folder.path(), "wrong", &"w".repeat(40));
    let (error, said) = refused(served.options().key_file(wrong));
    assert!(matches!(error, Error::Key { .. }), "{said}");
}

#[test]
fn who_speaks_plainly_to_tls_and_the_other_way_round_is_told_at_once() {
    let (encrypted, plain) = (Served::start_encrypted(), Served::start());
    let start = Instant::now();
    let spoken = Options::new(&encrypted.place_at("manager", "localhost"));
    let (error, said) = refused(spoken.key_file(&encrypted.key));
    assert!(matches!(error, Error::OtherSpeech { .. }), "{said}");
    assert!(
        said.ends_with("speaks TLS; its address begins with managers://"),
        "{said}"
    );
    let spoken = Options::new(&plain.place_at("managers", "localhost"));
    let (error, said) = refused(spoken.key_file(&plain.key));
    assert!(matches!(error, Error::OtherSpeech { .. }), "{said}");
    assert!(
        said.ends_with("does not speak TLS; its address begins with manager://"),
        "{said}"
    );
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let other = tempfile::tempdir().unwrap();
    certify(other.path());
    let (mine, theirs) = (
        |name| folder.path().join(name),
        |name| other.path().join(name),
    );
    for (certificate, key, named) in [
        (mine("none.pem"), mine("own.key"), "none.pem"),
        (mine("own.pem"), mine("none.key"), "none.key"),
        (mine("own.key"), mine("own.key"), "own.key"),
        (mine("own.pem"), mine("own.pem"), "own.pem"),
        (mine("own.pem"), theirs("own.key"), "own.key"),
    ] {
        let manager = Manager::bind("127.0.0.1:0", None).unwrap();
        let error = manager.encrypted(&certificate, &key).unwrap_err();
        let Error::TlsFile { path, .. } = &error else {
            panic!("{error:?}");
        };
        assert!(path.ends_with(named), "{error:?}");
    }
    let missing = Options::new("managers://localhost:1").ca_file(Path::new("/nowhere.pem"));
    let (error, said) = refused(missing);
    assert!(matches!(error, Error::TlsFile { .. }), "{said}");
    assert!(said.contains("/nowhere.pem"), "{said}");
}

/// The beginning of a handshake that is never ended: a record of so many bytes, of which few come.
const HELLO: [u8; 9] = [22, 3, 1, 0x02, 0x00, 1, 0, 1, 0xfc];

#[test]
fn half_open_handshakes_make_room_and_good_clients_do_not_notice() {
    Served::start_encrypted().bears_half_open_connections(&HELLO);
}
