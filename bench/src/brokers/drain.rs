//! A backlog and one worker, which begins when all of it is there.
//!
//! The clock runs from the first task, so that neither sending nor the worker's start counts.

use std::time::Duration;

use super::{POOL, Result, open};
use crate::marks::{self, Marks};
use crate::repetitions::Report;
use crate::tasks::tick;
use crate::worker::{Events, Worker};

const REPETITIONS: u32 = 3;

const TASKS: u32 = 60_000;

/// How many of them are marked: the first of each so many.
const MARKS: u32 = 100;

/// How long the worker may take for all of them.
const LIMIT: Duration = Duration::from_secs(60);

/// From the first marked task to the last one.
pub(super) fn without_results(url: &str, events: Events) -> Result<Report> {
    of(TASKS, url, events)
}

/// The same of so many tasks.
pub(super) fn of(tasks: u32, url: &str, events: Events) -> Result<Report> {
    let step = tasks / MARKS;
    let app = open(url)?;
    let mut took = Vec::new();
    for _ in 0..REPETITIONS {
        let marks = Marks::new()?;
        app.send_many(backlog(tasks).map(celeriac::Signature::ignore_result))?;
        Worker::start_until_idle(url, POOL, &marks.file(), events)?.wait(LIMIT)?;
        let span = marks.span_of(MARKS)?;
        took.push(span.last.saturating_sub(span.first));
    }
    Ok(Report::new(tasks - step, took))
}

/// From the first task until the client has all results.
pub(super) fn with_results(url: &str) -> Result<Report> {
    let app = open(url)?;
    let mut took = Vec::new();
    for _ in 0..REPETITIONS {
        let marks = Marks::new()?;
        let handles = app.send_many(backlog(TASKS))?;
        let mut worker = Worker::start_until_idle(url, POOL, &marks.file(), Events::Off)?;
        for mut handle in handles {
            handle.wait_for(LIMIT).ok_or("a result is missing")??;
        }
        let end = marks::now()?;
        worker.wait(LIMIT)?;
        took.push(end.saturating_sub(marks.span_of(MARKS)?.first));
    }
    Ok(Report::new(TASKS, took))
}

fn backlog(tasks: u32) -> impl Iterator<Item = celeriac::Signature<tick>> {
    let step = tasks / MARKS;
    (0..tasks).map(move |number| tick::call(number.is_multiple_of(step)))
}
