//! A manager that is spoken to by those who should not, or who speak nonsense.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;
use std::{fs, thread};

use celeriac_sync::SyncError;
use celeriac_sync::cluster::{Cluster, Dict, Error, Lock, Manager, ManagerKey, Options, Queue};

use super::served::{PATIENCE, Served, write_key};

/// Carries a handshake from one to the other, and gives the words of the client.
fn relay(near: &mut TcpStream, far: &mut TcpStream) -> [u8; 83] {
    let (mut greeting, mut words, mut verdict) = ([0; 42], [0; 83], [0; 33]);
    far.read_exact(&mut greeting).unwrap();
    near.write_all(&greeting).unwrap();
    near.read_exact(&mut words).unwrap();
    far.write_all(&words).unwrap();
    far.read_exact(&mut verdict).unwrap();
    near.write_all(&verdict).unwrap();
    assert_eq!(verdict[0], 0);
    words
}

/// The words of a client that knows the key, as one hears them who is between the two.
fn overheard(served: &Served) -> [u8; 83] {
    let between = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("manager://{}", between.local_addr().unwrap());
    thread::scope(|scope| {
        let client = scope.spawn(move || Options::new(&place).key_file(&served.key).connect());
        let (mut near, _) = between.accept().unwrap();
        let words = relay(&mut near, &mut served.stream());
        drop(between);
        drop(near);
        assert!(client.join().unwrap().is_err());
        words
    })
}

/// What it says last to these words, and whether it says more after that.
fn answer(served: &Served, words: &[u8]) -> (u8, bool) {
    let mut stream = served.stream();
    let mut greeting = [0; 42];
    stream.read_exact(&mut greeting).unwrap();
    stream.write_all(words).unwrap();
    let mut verdict = [0; 33];
    stream.read_exact(&mut verdict).unwrap();
    (verdict[0], stream.read(&mut [0]).is_ok_and(|more| more > 0))
}

#[test]
fn a_wrong_key_or_none_is_refused() {
    let served = Served::start();
    let folder = tempfile::tempdir().unwrap();
    let wrong = write_key(folder.path(), "wrong", &"w".repeat(40));
    let refused = served.options().key_file(wrong).connect();
    assert!(matches!(refused, Err(Error::Key { .. })), "{refused:?}");
    let refused = Cluster::connect(&served.place_at("manager", "localhost"));
    assert!(matches!(refused, Err(Error::Key { .. })), "{refused:?}");
    assert!(
        served
            .connect()
            .address()
            .ends_with(&served.address.port().to_string())
    );
}

#[test]
fn a_key_file_that_others_can_read_or_that_is_short_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let short = write_key(folder.path(), "short", "secret");
    let open = write_key(folder.path(), "open", &"k".repeat(40));
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    for path in [short, open, folder.path().join("none")] {
        let refused = ManagerKey::read(&path);
        assert!(matches!(refused, Err(Error::KeyFile { .. })), "{refused:?}");
    }
}

#[test]
fn without_a_key_it_listens_for_this_machine_only() {
    let refused = Manager::bind("0.0.0.0:0", None);
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    assert!(Manager::bind("127.0.0.1:0", None).is_ok());
}

#[test]
fn a_handshake_that_was_overheard_opens_nothing() {
    let served = Served::start();
    let words = overheard(&served);
    assert_eq!(answer(&served, &words), (2, false));
}

#[test]
fn an_unknown_version_is_told_so() {
    let served = Served::start();
    let mut words = overheard(&served);
    words[8..10].copy_from_slice(&9_u16.to_be_bytes());
    assert_eq!(answer(&served, &words), (1, false));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("manager://{}", listener.local_addr().unwrap());
    let other = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.write_all(&[7; 42]).unwrap();
        // It keeps the connection until the client goes.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let refused = Cluster::connect(&place);
    assert!(matches!(refused, Err(Error::Foreign { .. })), "{refused:?}");
    other.join().unwrap();
}

#[test]
fn nonsense_and_promises_cost_nothing() {
    let served = Served::start();
    let good = served.connect();
    let lock = Lock::named(&good, "good").unwrap();
    let before = served.memory();
    // As a frame, before anything is proved: 4 GB, and what a browser would say.
    for words in [
        &[0xff_u8; 83][..],
        &b"GET / HTTP/1.1\r\nHost: manager\r\nAccept: */*\r\n\r\n".repeat(2)[..83],
    ] {
        assert_ne!(answer(&served, words).0, 0);
    }
    drop(lock.lock_for(PATIENCE).unwrap());
    let more = served.memory().saturating_sub(before);
    assert!(more < 50 << 20, "{more}");
}

#[test]
fn half_open_connections_make_room_and_good_clients_do_not_notice() {
    Served::start().bears_half_open_connections(&[]);
}

#[test]
fn a_name_is_of_one_type_and_its_items_too() {
    let served = Served::start();
    let place = served.connect();
    let _queue = Queue::<u32>::named(&place, "taken", 10).unwrap();
    let other = served.connect();
    assert_eq!(
        Lock::named(&other, "taken").unwrap_err(),
        SyncError::OtherType
    );
    assert_eq!(
        Queue::<String>::named(&other, "taken", 10).unwrap_err(),
        SyncError::OtherType
    );
    assert!(Queue::<u32>::named(&other, "taken", 10).is_ok());
}

#[test]
fn what_is_too_large_is_told_and_nothing_is_lost() {
    let served = Served::start();
    let place = served.connect();
    let dict = Dict::<String, u32>::named(&place, "dict").unwrap();
    let lock = Lock::named(&place, "lock").unwrap();
    let held = lock.lock().unwrap();
    // A key of 1 MB is large, and fits.
    dict.set("k".repeat(1 << 20), 1).unwrap();
    assert_eq!(dict.get(&"k".repeat(1 << 20)), Ok(Some(1)));
    let refused = dict.set("k".repeat(9 << 20), 1);
    assert_eq!(refused, Err(SyncError::TooLarge { most: 8 << 20 }));
    assert_eq!(dict.len(), Ok(1));
    held.release().unwrap();
}

/// A client that is admitted and promises 4 GB is cut off, and costs nothing.
#[test]
fn a_promise_of_4_gb_ends_the_connection() {
    let served = Served::start();
    let before = served.memory();
    let between = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("manager://{}", between.local_addr().unwrap());
    let key = &served.key;
    thread::scope(|scope| {
        let client = scope.spawn(move || {
            let options = Options::new(&place).key_file(key);
            let place = options.lease(Duration::from_millis(200)).connect().unwrap();
            Lock::named(&place, "lock").map(drop)
        });
        let mut kept = Vec::new();
        loop {
            let (mut near, _) = between.accept().unwrap();
            let mut far = served.stream();
            let words = relay(&mut near, &mut far);
            if words[42] == 0 {
                far.write_all(&[0xff; 4]).unwrap();
                assert!(!far.read(&mut [0]).is_ok_and(|more| more > 0));
                break;
            }
            kept.push((near, far));
        }
        drop(between);
        kept.clear();
        assert_eq!(client.join().unwrap(), Err(SyncError::Unreachable));
    });
    let more = served.memory().saturating_sub(before);
    assert!(more < 50 << 20, "{more}");
    assert!(Lock::named(&served.connect(), "lock").is_ok());
}
