//! What a worker takes of a processor when it has nothing to do.

use std::thread;
use std::time::Duration;

use super::{POOL, Result, open};
use crate::repetitions::Report;
use crate::worker::Worker;

/// How long a worker has to be done with its start.
const STARTING: Duration = Duration::from_secs(5);

/// How long it is watched, in seconds.
const WATCHED_S: u32 = 20;

/// The time on a processor in so many seconds.
pub(super) fn processor(url: &str) -> Result<Report> {
    drop(open(url)?);
    let worker = Worker::start_ready(url, POOL)?;
    thread::sleep(STARTING);
    let before = worker.processor_time()?;
    thread::sleep(Duration::from_secs(WATCHED_S.into()));
    let used = worker.processor_time()?.saturating_sub(before);
    Ok(Report::new(WATCHED_S, vec![used]))
}
