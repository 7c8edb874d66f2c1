//! What becomes of what is shared when a process is killed, or stopped for longer than its lease.
//!
//! The other processes are this test binary again: each runs the one test that does what it is told in its
//! environment.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use celeriac_sync::SyncError;
use celeriac_sync::cluster::{Barrier, BoundedSemaphore, Cluster, Fence, Lock, Options, Queue};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

const ROLE: &str = "CELERIAC_CLUSTER_ROLE";
const PLACE: &str = "CELERIAC_CLUSTER_PLACE";
const FOLDER: &str = "CELERIAC_CLUSTER_FOLDER";
const NAME: &str = "CELERIAC_CLUSTER_NAME";

/// Of all who play a role here.
const LEASE: Duration = Duration::from_millis(600);
const LONG: Duration = Duration::from_secs(30);

/// Another process at a place.
struct Other {
    process: Child,
    says: BufReader<ChildStdout>,
}

impl Other {
    fn start(role: &str, place: &str, name: &str, folder: &Path) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", "cluster::kills::plays_its_role", "--nocapture"])
            .env(ROLE, role)
            .env(PLACE, place)
            .env(NAME, name)
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let says = BufReader::new(process.stdout.take().unwrap());
        Self { process, says }
    }

    /// What it says next, after what the test harness says; `None` if it has ended.
    fn said(&mut self) -> Option<String> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.says.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(said) = line.trim_end().strip_prefix("role: ") {
                return Some(said.to_owned());
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.process.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn has_ended(&mut self) -> bool {
        let ended = self.process.try_wait().unwrap();
        assert!(ended.is_none_or(|status| status.success()), "{ended:?}");
        ended.is_some()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn say(what: &str) {
    let line = format!("role: {what}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// What was measured, for who runs it with `--no-capture`.
fn report(what: &str) {
    say(what);
}

fn connect(place: &str) -> Cluster {
    Options::new(place).lease(LEASE).connect().unwrap()
}

/// Waits to be killed.
fn stay() -> ! {
    loop {
        thread::park();
    }
}

/// What the other process does. By itself it is no test.
#[test]
fn plays_its_role() {
    let Ok(role) = env::var(ROLE) else {
        return;
    };
    let place = connect(&env::var(PLACE).unwrap());
    let name = env::var(NAME).unwrap();
    let folder = PathBuf::from(env::var_os(FOLDER).unwrap());
    match role.split_once(' ').unwrap_or((&role, "")) {
        ("holds", _) => {
            let lock = Lock::named(&place, &name).unwrap();
            let held = lock.lock().unwrap();
            say(&held.fence().to_string());
            while held.is_held() {
                thread::sleep(Duration::from_millis(1));
            }
            say("lost");
            assert_eq!(held.release(), Err(SyncError::Lost));
            say("told");
        }
        ("counts", worker) => count(&place, &name, &folder, worker),
        ("takes", _) => {
            let permits = BoundedSemaphore::named(&place, &name, 4).unwrap();
            let _permit = permits.acquire_for(LONG).unwrap();
            say("taken");
            stay()
        }
        ("gets", _) => {
            let queue = Queue::<u32>::named(&place, &name, 1000).unwrap();
            let item = queue.get_for(LONG).unwrap();
            say(&item.to_string());
            stay()
        }
        ("meets", _) => {
            let barrier = Barrier::named(&place, &name, 3).unwrap();
            say("comes");
            let _ = barrier.wait();
        }
        _ => unreachable!("there is no such role"),
    }
}

/// How often each worker counts.
const EACH: usize = 2000;

/// A number in a file, changed in two steps, each of which refuses late holders; and a log of the changes.
struct Ledger {
    file: File,
    log: File,
}

impl Ledger {
    fn open(folder: &Path) -> Self {
        let open = |name| {
            let mut options = OpenOptions::new();
            options.create(true).truncate(false).read(true).write(true);
            options.open(folder.join(name)).unwrap()
        };
        let (file, mut log) = (open("ledger"), open("log"));
        log.seek(SeekFrom::End(0)).unwrap();
        Self { file, log }
    }

    /// One step by the holder with this number: `change` gets what is there, and gives what is to be there.
    fn step(&mut self, fence: u64, change: impl FnOnce(u64) -> Option<u64>) -> Option<u64> {
        flock(&self.file, FlockOperation::LockExclusive).unwrap();
        let mut text = String::new();
        self.file.seek(SeekFrom::Start(0)).unwrap();
        self.file.read_to_string(&mut text).unwrap();
        let mut numbers = text.split_whitespace().map(|word| word.parse().unwrap());
        let (seen, value) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let admitted = Fence::seen(seen).admit(fence).is_ok();
        let result = admitted.then(|| {
            let value = change(value).unwrap_or(value);
            self.file.seek(SeekFrom::Start(0)).unwrap();
            write!(self.file, "{fence:020} {value:020}").unwrap();
            value
        });
        flock(&self.file, FlockOperation::Unlock).unwrap();
        result
    }
}

/// How often a worker has counted, by the log.
fn counted(folder: &Path, worker: &str) -> usize {
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    log.lines()
        .filter(|line| line.split(' ').nth(1) == Some(worker))
        .count()
}

fn count(place: &Cluster, name: &str, folder: &Path, worker: &str) {
    let lock = Lock::named(place, name).unwrap();
    let mut ledger = Ledger::open(folder);
    let mut done = counted(folder, worker);
    while done < EACH {
        let held = lock.lock_for(LONG).unwrap();
        let fence = held.fence();
        let Some(value) = ledger.step(fence, |_| None) else {
            continue;
        };
        let log = &mut ledger.log;
        // Who was stopped since has a smaller number than the next holder, and changes nothing.
        let mut log = log.try_clone().unwrap();
        let changed = ledger.step(fence, |_| {
            log.seek(SeekFrom::End(0)).unwrap();
            let line = format!("{fence} {worker} {}\n", value + 1);
            log.write_all(line.as_bytes()).unwrap();
            Some(value + 1)
        });
        done += usize::from(changed.is_some());
    }
}

fn workers(place: &str, name: &str, folder: &Path) -> Vec<Other> {
    (0..8)
        .map(|worker| Other::start(&format!("counts {worker}"), place, name, folder))
        .collect()
}

/// Numbers in no order that anybody foresees.
fn chance() -> impl FnMut(usize) -> usize {
    let mut state = Instant::now().elapsed().as_nanos() as usize ^ std::process::id() as usize;
    move |below| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

/// 8 processes count 2,000 times each under a lock, while some are killed, and some are stopped for longer
/// than their lease.
fn no_count_is_lost(place: &str) {
    let folder = tempfile::tempdir().unwrap();
    let name = uuid();
    let mut workers = workers(place, &name, folder.path());
    let mut chance = chance();
    let (mut kills, mut stops) = (0, 0);
    let start = Instant::now();
    while kills + stops < 10 {
        thread::sleep(Duration::from_millis(100 + chance(200) as u64));
        let which = chance(workers.len());
        if workers[which].has_ended() {
            break;
        }
        if chance(2) == 0 {
            workers[which].kill();
            let role = format!("counts {which}");
            workers[which] = Other::start(&role, place, &name, folder.path());
            kills += 1;
        } else {
            workers[which].signal(Signal::STOP);
            thread::sleep(LEASE * 3 / 2);
            workers[which].signal(Signal::CONT);
            stops += 1;
        }
    }
    for worker in &mut workers {
        while worker.said().is_some() {}
        assert!(worker.process.wait().unwrap().success());
    }
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    let (mut last, mut count) = (0, 0);
    for line in log.lines() {
        let mut words = line.split(' ');
        let fence: u64 = words.next().unwrap().parse().unwrap();
        let value: u64 = words.nth(1).unwrap().parse().unwrap();
        assert!(fence > last, "{line} after {last}");
        assert_eq!(value, count + 1);
        (last, count) = (fence, value);
    }
    assert_eq!(count, 8 * EACH as u64);
    report(&format!(
        "{count} counts, {kills} kills, {stops} stops in {:?}",
        start.elapsed()
    ));
    assert!(kills + stops > 0);
}

fn uuid() -> String {
    format!("kills-{}-{:?}", std::process::id(), Instant::now())
}

fn who_was_stopped_learns_that_another_has_the_lock(place: &str) {
    let (folder, name) = (tempfile::tempdir().unwrap(), uuid());
    let mut other = Other::start("holds", place, &name, folder.path());
    let late: u64 = other.said().unwrap().parse().unwrap();
    other.signal(Signal::STOP);
    let start = Instant::now();
    let here = connect(place);
    let lock = Lock::named(&here, &name).unwrap();
    let held = lock.lock_for(LONG).unwrap();
    assert!(
        start.elapsed() <= LEASE + LEASE / 2,
        "{:?}",
        start.elapsed()
    );
    assert!(held.recovered() && held.is_held());
    let fence = Fence::new();
    fence.admit(held.fence()).unwrap();
    assert!(fence.admit(late).is_err());
    other.signal(Signal::CONT);
    assert_eq!(other.said().as_deref(), Some("lost"));
    assert_eq!(other.said().as_deref(), Some("told"));
    held.release().unwrap();
    assert!(!lock.lock().unwrap().recovered());
}

fn the_lock_of_who_was_killed_is_had_after_a_lease(place: &str) {
    let (folder, name) = (tempfile::tempdir().unwrap(), uuid());
    let here = connect(place);
    let lock = Lock::named(&here, &name).unwrap();
    let mut longest = Duration::ZERO;
    for _ in 0..5 {
        let mut other = Other::start("holds", place, &name, folder.path());
        other.said().unwrap();
        other.kill();
        let start = Instant::now();
        let held = lock.lock_for(LONG).unwrap();
        longest = longest.max(start.elapsed());
        assert!(held.recovered());
    }
    report(&format!("after at most {longest:?}"));
    assert!(longest <= LEASE + LEASE / 4, "{longest:?}");
}

/// 100 holders of four permits are killed.
fn permits_come_back(place: &str) {
    let (folder, name) = (tempfile::tempdir().unwrap(), uuid());
    let here = connect(place);
    let permits = BoundedSemaphore::named(&here, &name, 4).unwrap();
    for _ in 0..25 {
        let start = || Other::start("takes a permit", place, &name, folder.path());
        let mut others: Vec<_> = (0..4).map(|_| start()).collect();
        // All but the first four wait until the permits of those before come back.
        for other in &mut others {
            other.said().unwrap();
        }
        others.iter_mut().for_each(Other::kill);
    }
    let held: Vec<_> = (0..4).map(|_| permits.acquire_for(LONG).unwrap()).collect();
    assert_eq!(permits.try_acquire().unwrap_err(), SyncError::Busy);
    drop(held);
    assert_eq!(permits.value(), Ok(4));
    assert_eq!(permits.release(), Err(SyncError::NotTaken));
}

/// 100 consumers are killed between `get` and `task_done`.
fn items_come_back(place: &str) {
    let (folder, name) = (tempfile::tempdir().unwrap(), uuid());
    let here = connect(place);
    let queue = Queue::<u32>::named(&here, &name, 1000).unwrap();
    (0..50).for_each(|item| queue.put(item).unwrap());
    for _ in 0..25 {
        let start = || Other::start("gets", place, &name, folder.path());
        let mut others: Vec<_> = (0..4).map(|_| start()).collect();
        for other in &mut others {
            other.said().unwrap();
        }
        others.iter_mut().for_each(Other::kill);
    }
    let mut items: Vec<_> = (0..50)
        .map(|_| queue.get_for(LONG).unwrap().into_inner())
        .collect();
    items.sort_unstable();
    assert_eq!(items, (0..50).collect::<Vec<_>>());
    assert_eq!(queue.join_for(LONG), Ok(()));
    assert_eq!(queue.len(), Ok(0));
}

fn a_barrier_breaks_with_who_dies_at_it(place: &str) {
    let (folder, name) = (tempfile::tempdir().unwrap(), uuid());
    let here = connect(place);
    let barrier = Barrier::named(&here, &name, 3).unwrap();
    let mut other = Other::start("meets", place, &name, folder.path());
    other.said().unwrap();
    while barrier.waiting() == Ok(0) {
        thread::yield_now();
    }
    thread::scope(|scope| {
        let waits = scope.spawn(|| barrier.wait());
        while barrier.waiting() != Ok(2) {
            thread::yield_now();
        }
        other.kill();
        assert_eq!(waits.join().unwrap(), Err(SyncError::Broken));
    });
    assert_eq!(barrier.is_broken(), Ok(true));
}

/// Writes the tests for a place.
macro_rules! kills {
    ($name:ident, $place:path) => {
        mod $name {
            #[test]
            fn no_count_is_lost() {
                super::no_count_is_lost(&$place());
            }

            #[test]
            fn who_was_stopped_learns_that_another_has_the_lock() {
                super::who_was_stopped_learns_that_another_has_the_lock(&$place());
            }

            #[test]
            fn the_lock_of_who_was_killed_is_had_after_a_lease() {
                super::the_lock_of_who_was_killed_is_had_after_a_lease(&$place());
            }

            #[test]
            fn permits_come_back() {
                super::permits_come_back(&$place());
            }

            #[test]
            fn items_come_back() {
                super::items_come_back(&$place());
            }

            #[test]
            fn a_barrier_breaks_with_who_dies_at_it() {
                super::a_barrier_breaks_with_who_dies_at_it(&$place());
            }
        }
    };
}

kills!(sqlite, crate::cluster::sqlite::address);
kills!(redis, crate::cluster::redis_url);
kills!(manager, crate::cluster::manager::address);
