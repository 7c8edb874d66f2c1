//! What it costs to tell monitors of tasks: a drain with events, beside the same without.

use std::time::Duration;

use celeriac::blocking::block_on;
use celeriac_core::Topic;

use super::{POOL, Result, drain, open};
use crate::marks::Marks;
use crate::repetitions::Report;
use crate::tasks::tick;
use crate::worker::{Events, Worker};

/// How long a worker may take for one task.
const LIMIT: Duration = Duration::from_secs(20);

/// A drain by a worker that tells of each task, though nobody listens.
pub(super) fn drained(url: &str) -> Result<Report> {
    tells_of_tasks(url)?;
    drain::without_results(url, Events::On)
}

/// Refuses to measure a worker that tells of nothing.
fn tells_of_tasks(url: &str) -> Result<()> {
    let app = open(url)?;
    let marks = Marks::new()?;
    app.send(tick::call(false).ignore_result())?;
    let app = app.into_async();
    let broker = app.broker().ok_or("the place is no broker")?;
    let bus = broker.bus().ok_or("the broker has no events")?;
    let mut monitor = block_on(bus.listen(Topic::Events))?;
    Worker::start_until_idle(url, POOL, &marks.file(), Events::On)?.wait(LIMIT)?;
    let (mut told, mut ended) = (false, false);
    while !ended {
        let notice = block_on(monitor.next())?;
        let text = String::from_utf8_lossy(&notice.body);
        told |= text.contains("task-succeeded");
        ended = text.contains("worker-offline");
    }
    let silent = || "the worker does not tell of its tasks".into();
    told.then_some(()).ok_or_else(silent)
}
