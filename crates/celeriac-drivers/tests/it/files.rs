//! Files that cannot be used are refused with the reason, and never made anew.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use celeriac_core::{Broker, BrokerError};
use celeriac_drivers::DriverOptions;
use celeriac_drivers::sqlite::{self, SqliteStore, check};
use celeriac_testkit::{call, queue, within};

async fn open(path: &Path) -> Result<Arc<SqliteStore>, BrokerError> {
    within(sqlite::open(path, &DriverOptions::default())).await
}

async fn publish(store: &SqliteStore, count: usize) -> Result<(), BrokerError> {
    let batch = (0..count)
        .map(|n| (queue("jobs").into(), call("t", n)))
        .collect();
    within(store.publish(batch)).await
}

/// Opens `path`, which must be refused as unusable for a reason that contains `part`; what is there
/// stays as it is.
async fn refused(path: &Path, part: &str) {
    let before = fs::read(path).ok();
    let error = open(path).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, BrokerError::Unusable { .. }), "{error:?}");
    assert!(text.contains(part), "{text}");
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    assert!(!error.help().unwrap().is_empty());
    assert_eq!(fs::read(path).ok(), before, "the file was changed");
}

#[tokio::test]
async fn what_is_no_database_of_ours_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    refused(directory.path(), "it is a directory").await;
    refused(&at("no/such/jobs.db"), "no/such does not exist").await;

    fs::write(at("empty"), b"").unwrap();
    refused(&at("empty"), "it is an empty file").await;
    fs::write(at("text"), "hello\n".repeat(2000)).unwrap();
    refused(&at("text"), "it is not a database").await;
    let other = rusqlite::Connection::open(at("other")).unwrap();
    other
        .execute_batch(include_str!("sql/other_application.sql"))
        .unwrap();
    drop(other);
    refused(&at("other"), "another application").await;
    refused(Path::new("/dev/null"), "no regular file").await;
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jobs.db");
    drop(open(&path).await.unwrap());
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    refused(&path, "its schema has version 99").await;
    assert!(check(&path).problems[0].contains("version 99"));
}

#[tokio::test]
async fn every_file_is_for_its_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jobs.db");
    let store = open(&path).await.unwrap();
    publish(&store, 1).await.unwrap();
    let mut names = Vec::new();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let name = entry.file_name().into_string().unwrap();
        assert_eq!(mode, 0o600, "{name}");
        names.push(name);
    }
    names.sort_unstable();
    assert_eq!(
        names,
        ["jobs.db", "jobs.db-shm", "jobs.db-wake", "jobs.db-wal"]
    );
}

#[tokio::test]
async fn handles_that_make_one_file_at_once_share_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jobs.db");
    let opening: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            tokio::spawn(async move {
                let store = open(&path).await.unwrap();
                publish(&store, 1).await.unwrap();
            })
        })
        .collect();
    for one in opening {
        one.await.unwrap();
    }
    let store = open(&path).await.unwrap();
    assert_eq!(store.queues().await.unwrap()[0].ready, 8);
    let drafts = fs::read_dir(directory.path()).unwrap();
    let drafts = drafts.filter(|it| {
        let name = it.as_ref().unwrap().file_name();
        name.to_str().unwrap().contains("-new-")
    });
    assert_eq!(drafts.count(), 0);
}

#[tokio::test]
async fn a_file_that_vanishes_is_missed_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jobs.db");
    let store = open(&path).await.unwrap();
    publish(&store, 1).await.unwrap();
    let aside = directory.path().join("aside.db");
    fs::rename(&path, &aside).unwrap();
    for error in [
        publish(&store, 1).await.unwrap_err(),
        within(store.queues()).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("removed or replaced"), "{error}");
    }
    assert!(!path.exists(), "it is not made anew");
    fs::rename(&aside, &path).unwrap();
    publish(&store, 1).await.unwrap();
    assert_eq!(store.queues().await.unwrap()[0].ready, 2);
}

#[tokio::test]
async fn a_full_database_refuses_and_recovers_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let mounted = Mount::tmpfs(directory.path());
    let path = directory.path().join("jobs.db");
    let store = open(&path).await.unwrap();
    let mut accepted = 0;
    let error = loop {
        match publish(&store, 500).await {
            Ok(()) => accepted += 500,
            Err(error) => break error,
        }
        assert!(accepted < 1_000_000, "it is never full");
    };
    assert!(matches!(error, BrokerError::Full { .. }), "{error:?}");
    assert!(error.is_transient());
    assert_eq!(store.queues().await.unwrap()[0].ready, accepted);

    mounted.enlarge();
    publish(&store, 500).await.unwrap();
    assert_eq!(store.queues().await.unwrap()[0].ready, accepted + 500);
    drop(store);
    assert_eq!(check(&path).problems, [""; 0]);
}

/// A small file system of its own, unmounted when dropped.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    fn tmpfs(path: &'a Path) -> Self {
        run(&[
            "mount",
            "-t",
            "tmpfs",
            "-o",
            "size=3m",
            "tmpfs",
            path.to_str().unwrap(),
        ]);
        Self(path)
    }

    fn enlarge(&self) {
        run(&["mount", "-o", "remount,size=64m", self.0.to_str().unwrap()]);
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        run(&["umount", "-l", self.0.to_str().unwrap()]);
    }
}

fn run(words: &[&str]) {
    let done = std::process::Command::new(words[0])
        .args(&words[1..])
        .status();
    assert!(done.unwrap().success(), "{words:?} needs to be root");
}

#[tokio::test]
async fn a_foreign_lock_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jobs.db");
    let store = open(&path).await.unwrap();
    let foreign = rusqlite::Connection::open(&path).unwrap();
    foreign.execute_batch(include_str!("sql/lock.sql")).unwrap();
    let waiting = publish(&store, 1);
    let (published, ()) = tokio::join!(waiting, async {
        // Questions are answered meanwhile.
        assert!(store.queues().await.unwrap().is_empty());
        foreign
            .execute_batch(include_str!("sql/unlock.sql"))
            .unwrap();
    });
    published.unwrap();
}

#[tokio::test]
async fn an_older_schema_is_brought_up_to_date_with_what_it_holds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jobs.db");
    let older = rusqlite::Connection::open(&path).unwrap();
    older
        .pragma_update(None, "application_id", 0x6365_6c72)
        .unwrap();
    older.pragma_update(None, "journal_mode", "wal").unwrap();
    older
        .execute_batch(include_str!("../../src/sqlite/migrations/1.sql"))
        .unwrap();
    older
        .execute_batch(include_str!("sql/one_dead.sql"))
        .unwrap();
    older.pragma_update(None, "user_version", 1).unwrap();
    drop(older);
    let store = open(&path).await.unwrap();
    assert_eq!(within(store.dead(10)).await.unwrap().len(), 1);
    let chords = store.results().unwrap().chords().unwrap();
    within(chords.open("g", 1)).await.unwrap();
    drop((store, chords));
    assert_eq!(check(&path).schema_version, Some(2));
}
