//! How soon a worker is there, and how much memory it takes.

use std::thread;
use std::time::{Duration, Instant};

use celeriac::blocking::block_on;

use super::{POOL, Result, open};
use crate::faults::Counts;
use crate::repetitions::Report;
use crate::tasks::empty;
use crate::worker::Worker;

const STARTS: u32 = 10;

/// How long a worker is watched: its first seconds hold all that it does when it has nothing to do.
const WATCHED: Duration = Duration::from_secs(3);

const WAITING: u32 = 1_000_000;

const IDLE_MB: u64 = 20;

const WAITING_MB: u64 = 300;

/// Longer than the measure takes.
const COUNTDOWN: Duration = Duration::from_secs(3600);

/// How long the worker may take to see all of them.
const LIMIT: Duration = Duration::from_secs(300);

/// From starting the program until its worker takes deliveries.
pub(super) fn start(url: &str) -> Result<Report> {
    let mut took = Vec::new();
    for repetition in 0..=STARTS {
        let begun = Instant::now();
        let _worker = Worker::start_ready(url, POOL)?;
        // The first one reads the program from the disk.
        if repetition > 0 {
            took.push(begun.elapsed());
        }
    }
    Ok(Report::new(1, took))
}

/// The memory of a worker with nothing to do, and with many messages that wait for their time.
pub(super) fn memory(url: &str) -> Result<Counts> {
    let app = open(url)?;
    let worker = Worker::start_ready(url, POOL)?;
    let idle = most_resident(&worker)?;
    let calls = (0..WAITING).map(|number| empty::call(number).countdown(COUNTDOWN));
    app.send_many(calls.map(celeriac::Signature::ignore_result))?;
    all_wait(&app.into_async())?;
    let busy = most_resident(&worker)?;
    let mut counts = Counts::default();
    counts.add("MB resident with nothing to do", megabytes(idle), IDLE_MB);
    let name = "MB resident with 1,000,000 ETA messages waiting";
    counts.add(name, megabytes(busy), WAITING_MB);
    Ok(counts)
}

fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}

/// The most that it has in the next seconds.
fn most_resident(worker: &Worker) -> Result<u64> {
    let end = Instant::now() + WATCHED;
    let mut most = 0;
    while Instant::now() < end {
        most = most.max(worker.resident_bytes()?);
        thread::sleep(Duration::from_millis(50));
    }
    Ok(most)
}

/// Returns when the broker tells of all messages that they wait.
fn all_wait(app: &celeriac::App) -> Result<()> {
    let broker = app.broker().ok_or("the place is no broker")?;
    let end = Instant::now() + LIMIT;
    loop {
        let queues = block_on(broker.queues())?;
        let waiting: u64 = queues.iter().map(|queue| queue.delayed).sum();
        let ready: u64 = queues.iter().map(|queue| queue.ready).sum();
        if waiting == u64::from(WAITING) {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("{waiting} messages wait, and {ready} are not parked yet").into());
        }
        thread::sleep(Duration::from_millis(100));
    }
}
