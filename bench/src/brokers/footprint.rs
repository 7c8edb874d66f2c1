//! How soon a worker is there, and how much memory it takes.

use std::thread;
use std::time::{Duration, Instant};

use super::{POOL, Result, backlog, open};
use crate::faults::Counts;
use crate::repetitions::Report;
use crate::worker::Worker;

const STARTS: u32 = 10;

/// How long a worker is watched: its first seconds hold all that it does when it has nothing to do.
const WATCHED: Duration = Duration::from_secs(3);

const IDLE_MB: u64 = 20;

const WAITING_MB: u64 = 300;

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
    backlog::fill(&app)?;
    let busy = most_resident(&worker)?;
    let mut counts = Counts::default();
    counts.add("MB resident with nothing to do", megabytes(idle), IDLE_MB);
    let name = "MB resident with 1,000,000 ETA messages waiting";
    counts.add(name, megabytes(busy), WAITING_MB);
    Ok(counts)
}

pub(super) fn megabytes(bytes: u64) -> u64 {
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
