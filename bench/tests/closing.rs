//! An app that is dropped leaves nothing of its broker open.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use celeriac::blocking::block_on;
use celeriac::{App, ShutdownMode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

/// How long closing may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

#[celeriac::task]
fn half(n: u64) -> u64 {
    n / 2
}

/// The files in `folder` that this process has open.
fn open_files(folder: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|link| fs::read_link(link.ok()?.path()).ok())
        .filter(|file| file.starts_with(folder))
        .collect()
}

/// Tells when a file in a folder is closed.
struct Closings(OwnedFd);

impl Closings {
    fn of(folder: &Path) -> Self {
        use inotify::{CreateFlags, WatchFlags};
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&inotify, folder, WatchFlags::CLOSE).unwrap();
        Self(inotify)
    }

    /// Waits until nothing in `folder` is open in this process.
    fn wait_for_all(&self, folder: &Path) {
        let end = Instant::now() + LIMIT;
        loop {
            let open = open_files(folder);
            if open.is_empty() {
                return;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "still open after {LIMIT:?}: {open:?}");
            let timeout = Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            };
            poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&timeout)).unwrap();
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut events = inotify::Reader::new(&self.0, &mut buffer);
            while events.next().is_ok() {}
        }
    }
}

#[test]
fn a_dropped_app_closes_its_database() {
    let folder = tempfile::tempdir().unwrap();
    let closings = Closings::of(folder.path());
    block_on(use_and_drop(folder.path()));
    closings.wait_for_all(folder.path());
    // The last to close a database takes its log away.
    assert!(!folder.path().join("jobs.db-wal").exists());
}

async fn use_and_drop(folder: &Path) {
    let app = App::on(format!("sqlite:{}/jobs.db", folder.display()))
        .await
        .unwrap();
    let worker = app.start_worker("threads=2").await.unwrap();
    let mut handle = app.send(half::call(84)).await.unwrap();
    assert_eq!(handle.get().await.unwrap(), 42);
    let mut map = app.map::<half>(0..);
    assert_eq!(map.next().await.unwrap().unwrap(), 0);
    assert!(open_files(folder).len() >= 3);

    worker.stop().await.unwrap();
    // One that nobody answers is under way too.
    let waiting = app.send(half::call(1)).await.unwrap();
    app.shutdown(ShutdownMode::Wait).await;
    drop((app, handle, map, waiting));
}
