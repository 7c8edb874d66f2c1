//! Our side of what threads and processes share.

use std::env;
use std::error::Error;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use celeriac::Bytes;
use celeriac::sync::process::{Barrier, Dict, Event, Lock, Queue, Value};
use celeriac::sync::{SyncError, thread as threads};
use serde_json::{from_str, to_string};

use crate::repetitions::Report;

/// What the program is told to play a part in a measure of this module.
pub(crate) const OTHER: &str = "sharing";

pub(crate) const LOCKS: u32 = 5_000_000;
const INCREMENTS: u32 = 5_000_000;
const CHANGES: u32 = 1_000_000;
const KEYS: u32 = 1_000;
const SMALL_ITEMS: u32 = 1_000_000;
const SMALL_BYTES: usize = 64;
const LARGE_ITEMS: u32 = 2_000;
const LARGE_BYTES: usize = 1_000_000;
pub(crate) const THREAD_ITEMS: u32 = 2_000_000;
const TAKEOVERS: u32 = 50;

/// How many items a queue holds at most: small, large.
pub(crate) const ROOM: usize = 1024;
const LARGE_ROOM: usize = 8;

/// So long who waits for a lock has to go to sleep.
const ASLEEP: Duration = Duration::from_millis(20);

/// Other processes, for as long as they are needed.
struct Others(Vec<Child>);

impl Others {
    fn start(part: &str, shared: &str, count: u32) -> Result<Self, SyncError> {
        let start = |_| {
            let program = env::current_exe().ok()?;
            let mut command = Command::new(program);
            command.args([OTHER, part, shared]).stdin(Stdio::null());
            command.spawn().ok()
        };
        let started: Option<Vec<_>> = (0..count).map(start).collect();
        Ok(Self(started.ok_or(SyncError::NoMemory)?))
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        for other in &mut self.0 {
            // One that has ended needs no end.
            let _ = other.kill();
            let _ = other.wait();
        }
    }
}

/// Where those who work and who looks at the clock meet: before each repetition and after it.
type Round = (Barrier, Barrier);

/// Runs what `measure` names.
pub(crate) fn run(measure: &str) -> Result<Option<Report>, Box<dyn Error + Send + Sync>> {
    Ok(Some(match measure {
        "process-lock" => locks()?,
        "process-lock-2" => contended_locks()?,
        "process-value" => increments()?,
        "process-dict" => changes()?,
        "process-queue" => items(1, SMALL_ITEMS, SMALL_BYTES, ROOM)?,
        "process-queue-2" => items(2, SMALL_ITEMS, SMALL_BYTES, ROOM)?,
        "process-queue-large" => items(1, LARGE_ITEMS, LARGE_BYTES, LARGE_ROOM)?,
        "process-takeover" => takeovers()?,
        "thread-lock" => thread_locks()?,
        "thread-queue" => thread_items()?,
        _ => return Ok(None),
    }))
}

/// What another process does.
pub(crate) fn play(part: &str, shared: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    match part {
        "locks" => {
            let (lock, (begin, end)): (Lock, Round) = from_str(shared)?;
            loop {
                begin.wait()?;
                for _ in 0..LOCKS / 2 {
                    drop(lock.lock()?);
                }
                end.wait()?;
            }
        }
        "puts" => {
            let (queue, (begin, end), count, bytes): (Queue<Bytes>, Round, u32, usize) =
                from_str(shared)?;
            let item = Bytes::from(vec![7; bytes]);
            loop {
                begin.wait()?;
                for _ in 0..count {
                    queue.put(item.clone()).map_err(SyncError::from)?;
                }
                end.wait()?;
            }
        }
        "gets" => {
            let queue: Queue<Bytes> = from_str(shared)?;
            loop {
                drop(queue.get()?);
            }
        }
        "holds" => {
            let (lock, held): (Lock, Event) = from_str(shared)?;
            let _guard = lock.lock()?;
            held.set();
            loop {
                thread::park();
            }
        }
        other => Err(format!("there is no part {other:?}").into()),
    }
}

fn locks() -> Result<Report, SyncError> {
    let lock = Lock::new()?;
    Report::of(LOCKS, || {
        for _ in 0..LOCKS {
            drop(lock.lock()?);
        }
        Ok(())
    })
}

fn contended_locks() -> Result<Report, Box<dyn Error + Send + Sync>> {
    let lock = Lock::new()?;
    let (begin, end) = (Barrier::new(3)?, Barrier::new(3)?);
    let shared = to_string(&(&lock, (&begin, &end)))?;
    let _others = Others::start("locks", &shared, 2)?;
    Ok(Report::of(LOCKS, || {
        begin.wait()?;
        end.wait().map(drop)
    })?)
}

fn increments() -> Result<Report, SyncError> {
    let value = Value::new(0_u64)?;
    Report::of(INCREMENTS, || {
        for _ in 0..INCREMENTS {
            value.update(|value| *value += 1)?;
        }
        Ok(())
    })
}

fn changes() -> Result<Report, SyncError> {
    let dict = Dict::<u32, u32>::new()?;
    Report::of(CHANGES, || {
        for number in 0..CHANGES / 2 {
            let key = number % KEYS;
            dict.set(key, number)?;
            assert_eq!(dict.get(&key)?, Some(number));
        }
        Ok(())
    })
}

/// Items from so many processes to as many, of each repetition all of them.
fn items(
    pairs: u32,
    count: u32,
    bytes: usize,
    room: usize,
) -> Result<Report, Box<dyn Error + Send + Sync>> {
    let queue = Queue::<Bytes>::bounded(room)?;
    let parties = pairs as usize + 1;
    let (begin, end) = (Barrier::new(parties)?, Barrier::new(parties)?);
    let shared = to_string(&(&queue, (&begin, &end), count / pairs, bytes))?;
    let _gets = Others::start("gets", &to_string(&queue)?, pairs)?;
    let _puts = Others::start("puts", &shared, pairs)?;
    // Large ones are counted in MB, and each has one.
    Ok(Report::of(count, || {
        begin.wait()?;
        end.wait()?;
        queue.join()
    })?)
}

/// From the end of the holder of a lock until who waits for it has it.
fn takeovers() -> Result<Report, Box<dyn Error + Send + Sync>> {
    let (lock, held) = (Lock::new()?, Event::new()?);
    let shared = to_string(&(&lock, &held))?;
    let mut took = Vec::new();
    for _ in 0..TAKEOVERS {
        let mut others = Others::start("holds", &shared, 1)?;
        held.wait()?;
        held.clear();
        let waits = || lock.lock().map(|guard| (guard.recovered(), Instant::now()));
        let killed = thread::scope(|scope| {
            let next = scope.spawn(waits);
            thread::sleep(ASLEEP);
            let killed = Instant::now();
            let _ = others.0[0].kill();
            let (recovered, got) = next.join().expect("a lock does not panic")?;
            assert!(recovered);
            Ok::<_, SyncError>(got.saturating_duration_since(killed))
        })?;
        took.push(killed);
    }
    Ok(Report::new(1, took))
}

fn thread_locks() -> Result<Report, SyncError> {
    let lock = threads::Lock::new();
    Report::of(LOCKS, || {
        for _ in 0..LOCKS {
            drop(lock.lock()?);
        }
        Ok(())
    })
}

fn thread_items() -> Result<Report, SyncError> {
    Report::of(THREAD_ITEMS, || {
        let queue = threads::Queue::bounded(ROOM);
        thread::scope(|scope| {
            scope.spawn(|| {
                for item in 0..THREAD_ITEMS {
                    queue.put(item).expect("it is open");
                }
                queue.close();
            });
            assert_eq!(queue.iter().count(), THREAD_ITEMS as usize);
        });
        Ok(())
    })
}
