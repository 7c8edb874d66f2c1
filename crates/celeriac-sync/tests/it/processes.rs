//! What is shared by processes, and what becomes of it when one of them is killed.
//!
//! The other process is this test binary again: it runs the one test that does what it is told in its
//! environment.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use celeriac_sync::SyncError;
use celeriac_sync::process::{
    Array, Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore, Value,
};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) const LONG: Duration = Duration::from_secs(20);
const ROLE: &str = "CELERIAC_SYNC_ROLE";
const SHARED: &str = "CELERIAC_SYNC_SHARED";

/// Another process, which has what it was given.
pub(crate) struct Other {
    process: Child,
    says: BufReader<ChildStdout>,
    hears: Option<ChildStdin>,
}

impl Other {
    pub(crate) fn start(role: &str, shared: &impl Serialize) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "processes::plays_its_role",
                "--nocapture",
                "--include-ignored",
            ])
            .env(ROLE, role)
            .env(SHARED, serde_json::to_string(shared).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let says = BufReader::new(process.stdout.take().unwrap());
        let hears = process.stdin.take();
        Self {
            process,
            says,
            hears,
        }
    }

    /// What it says next, after what the test harness says.
    pub(crate) fn said(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.says.read_line(&mut line).unwrap(), 0, "it has ended");
            if let Some(said) = line.trim_end().strip_prefix("role: ") {
                return said.to_owned();
            }
        }
    }

    pub(crate) fn go_on(&mut self) {
        writeln!(self.hears.as_mut().unwrap()).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Sends a signal to it.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    pub(crate) fn ends_well(mut self) {
        drop(self.hears.take());
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn shared<T: DeserializeOwned>() -> T {
    serde_json::from_str(&env::var(SHARED).unwrap()).unwrap()
}

pub(crate) fn say(what: &str) {
    let line = format!("role: {what}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// Waits for the word to go on, or for the end of who would give it.
pub(crate) fn wait() {
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
}

/// What the other process does. By itself it is no test.
#[test]
fn plays_its_role() {
    let Ok(role) = env::var(ROLE) else {
        return;
    };
    match role.as_str() {
        "holds a lock" => {
            let lock: Lock = shared();
            let _held = lock.lock().unwrap();
            say("held");
            wait();
        }
        "holds a recursive lock" => {
            let lock: RLock = shared();
            let _held = [lock.lock().unwrap(), lock.lock().unwrap()];
            say("held");
            wait();
        }
        "holds permits" => {
            let semaphore: Semaphore = shared();
            let _held = [semaphore.acquire().unwrap(), semaphore.acquire().unwrap()];
            say("held");
            wait();
        }
        "changes a value" => {
            let value: Value<u64> = shared();
            let mut held = value.lock().unwrap();
            *held += 1;
            say("changed");
            wait();
        }
        "waits at a barrier" => {
            let barrier: Barrier = shared();
            let passed = thread::scope(|scope| {
                let waits = scope.spawn(|| barrier.wait());
                while barrier.waiting() == 0 && !waits.is_finished() {
                    thread::yield_now();
                }
                say("there");
                waits.join().unwrap()
            });
            say(&format!("{passed:?}"));
        }
        "waits for an event" => {
            let event: Event = shared();
            say("there");
            event.wait_for(LONG).unwrap();
            say("gone on");
        }
        "counts" => {
            let (lock, total, each): (Lock, Value<u64>, Array<u32>) = shared();
            say("there");
            wait();
            for _ in 0..2000 {
                let _held = lock.lock().unwrap();
                let before = total.get().unwrap();
                total.set(before + 1).unwrap();
                each.lock().unwrap()[1] += 1;
            }
        }
        "deposits" => {
            let (balance, deposited): (Value<i64>, Condition) = shared();
            for _ in 0..50 {
                *balance.lock().unwrap() += 6;
                deposited.notify_all();
            }
        }
        "takes turns until it is killed" => {
            let (lock, word): (Lock, Value<u64>) = shared();
            say("there");
            loop {
                let _held = lock.lock().unwrap();
                word.update(|word| *word += 1).unwrap();
            }
        }
        "has little memory" => crate::refused::has_little_memory(),
        "has what is named" => crate::named::has_what_is_named(),
        other => crate::killed::plays(other),
    }
}

#[test]
fn a_lock_is_held_by_one_process_at_a_time() {
    let lock = Lock::new().unwrap();
    let mut other = Other::start("holds a lock", &lock);
    assert_eq!(other.said(), "held");
    assert_eq!(lock.try_lock().unwrap_err(), SyncError::Busy);
    thread::scope(|scope| {
        let waits = scope.spawn(|| lock.lock_for(LONG).map(|guard| guard.recovered()));
        other.go_on();
        assert_eq!(waits.join().unwrap(), Ok(false));
    });
    other.ends_well();
}

#[test]
fn the_next_holder_after_one_that_was_killed_has_the_lock_at_once_and_is_told() {
    let lock = Lock::new().unwrap();
    for _ in 0..5 {
        let mut other = Other::start("holds a lock", &lock);
        assert_eq!(other.said(), "held");
        thread::scope(|scope| {
            let waits = scope.spawn(|| {
                let guard = lock.lock_for(LONG).unwrap();
                (guard.recovered(), Instant::now())
            });
            // It sleeps soon; that it does cannot be seen from here.
            while !lock.is_locked() || waits.is_finished() {
                thread::yield_now();
            }
            thread::sleep(Duration::from_millis(20));
            let killed = Instant::now();
            other.kill();
            let (recovered, got) = waits.join().unwrap();
            assert!(recovered);
            assert!(got.saturating_duration_since(killed) < Duration::from_millis(90));
        });
    }
    assert!(!lock.lock().unwrap().recovered());
}

#[test]
fn a_lock_whose_holder_was_killed_before_anybody_came_is_had_too() {
    let (lock, recursive) = (Lock::new().unwrap(), RLock::new().unwrap());
    let mut other = Other::start("holds a lock", &lock);
    assert_eq!(other.said(), "held");
    other.kill();
    assert!(lock.lock_for(LONG).unwrap().recovered());
    let mut other = Other::start("holds a recursive lock", &recursive);
    assert_eq!(other.said(), "held");
    assert_eq!(recursive.try_lock().unwrap_err(), SyncError::Busy);
    other.kill();
    assert!(recursive.lock_for(LONG).unwrap().recovered());
    assert_eq!(recursive.depth(), 0);
}

#[test]
fn the_permits_of_a_process_that_was_killed_come_back() {
    let semaphore = Semaphore::new(2).unwrap();
    let mut other = Other::start("holds permits", &semaphore);
    assert_eq!(other.said(), "held");
    assert_eq!(semaphore.value(), 0);
    other.kill();
    let _one = semaphore.acquire_for(LONG).unwrap();
    let _two = semaphore.acquire_for(LONG).unwrap();
    assert_eq!(semaphore.try_acquire().unwrap_err(), SyncError::Busy);
}

#[test]
fn what_a_killed_process_had_not_put_back_is_not_changed() {
    let value = Value::new(7_u64).unwrap();
    let mut other = Other::start("changes a value", &value);
    assert_eq!(other.said(), "changed");
    other.kill();
    let held = value.lock_for(LONG).unwrap();
    assert_eq!((*held, held.recovered()), (7, true));
}

#[test]
fn processes_meet_at_a_barrier_and_one_that_is_killed_there_breaks_it() {
    let barrier = Barrier::new(2).unwrap();
    let mut other = Other::start("waits at a barrier", &barrier);
    assert_eq!(other.said(), "there");
    assert_eq!(barrier.wait_for(LONG), Ok(1));
    assert_eq!(other.said(), "Ok(0)");
    other.ends_well();
    let barrier = Barrier::new(3).unwrap();
    let mut other = Other::start("waits at a barrier", &barrier);
    assert_eq!(other.said(), "there");
    thread::scope(|scope| {
        let waits = scope.spawn(|| barrier.wait_for(LONG));
        while barrier.waiting() < 2 {
            thread::yield_now();
        }
        other.kill();
        assert_eq!(waits.join().unwrap(), Err(SyncError::Broken));
    });
}

#[test]
fn an_event_is_heard_in_other_processes() {
    let event = Event::new().unwrap();
    let mut other = Other::start("waits for an event", &event);
    assert_eq!(other.said(), "there");
    event.set();
    assert_eq!(other.said(), "gone on");
    other.ends_well();
}

#[test]
fn no_change_of_another_process_is_lost() {
    let (lock, total) = (Lock::new().unwrap(), Value::new(0_u64).unwrap());
    let each = Array::new([0_u32; 2]).unwrap();
    let mut other = Other::start("counts", &(&lock, &total, &each));
    assert_eq!(other.said(), "there");
    other.go_on();
    for _ in 0..2000 {
        let _held = lock.lock().unwrap();
        let before = total.get().unwrap();
        total.set(before + 1).unwrap();
        each.lock().unwrap()[0] += 1;
    }
    other.ends_well();
    assert_eq!(
        (total.get(), each.get(0), each.get(1)),
        (Ok(4000), Ok(2000), Ok(2000))
    );
}

#[test]
fn a_condition_is_told_by_other_processes() {
    let (balance, deposited) = (Value::new(0_i64).unwrap(), Condition::new().unwrap());
    let other = Other::start("deposits", &(&balance, &deposited));
    for _ in 0..20 {
        let guard = balance.lock().unwrap();
        let mut balance = deposited
            .wait_while_for(guard, |balance| **balance < 15, LONG)
            .unwrap();
        *balance -= 15;
    }
    other.ends_well();
    assert_eq!(balance.get(), Ok(0));
}

#[test]
fn a_lock_survives_whatever_moment_its_holders_are_killed_in() {
    let (lock, word) = (Lock::new().unwrap(), Value::new(0_u64).unwrap());
    let mut turns = 0;
    for round in 0..30_u64 {
        let mut others =
            [0, 1].map(|_| Other::start("takes turns until it is killed", &(&lock, &word)));
        for other in &mut others {
            assert_eq!(other.said(), "there");
        }
        // Another moment each round.
        let until = Instant::now() + Duration::from_micros(500 * round);
        while Instant::now() < until {
            let _held = lock.lock_for(LONG).unwrap();
            word.update(|word| *word += 1).unwrap();
        }
        others.iter_mut().for_each(Other::kill);
        let _held = lock.lock_for(LONG).unwrap();
        let now = word.get().unwrap();
        assert!(now >= turns);
        turns = now;
    }
}

#[test]
fn what_cannot_be_opened_says_why() {
    let open = |text: &str| serde_json::from_str::<Lock>(text).unwrap_err().to_string();
    let lock = Lock::new().unwrap();
    let address = serde_json::to_string(&lock).unwrap();
    assert!(
        serde_json::from_str::<Lock>(&address)
            .unwrap()
            .lock()
            .is_ok()
    );
    assert!(
        serde_json::from_str::<Event>(&address)
            .unwrap_err()
            .to_string()
            .contains("another type")
    );
    let value = serde_json::to_string(&Value::new(1_u32).unwrap()).unwrap();
    assert!(serde_json::from_str::<Value<i32>>(&value).is_err());
    drop(lock);
    assert!(
        open(&address).contains("has ended it"),
        "{}",
        open(&address)
    );
    assert!(open("{\"pid\":0,\"descriptor\":0,\"id\":1}").contains("has ended it"));
    assert!(open("7").contains("invalid type"));
    // A file that is no segment.
    let file = std::fs::File::open("/dev/null").unwrap();
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&file);
    let foreign = format!(
        "{{\"pid\":{},\"descriptor\":{descriptor},\"id\":1}}",
        std::process::id()
    );
    assert!(open(&foreign).contains("has ended it"));
    let most = BoundedSemaphore::new(usize::MAX).unwrap_err();
    assert!(matches!(most, SyncError::TooMany { .. }));
}
