//! How late tasks run that have to wait for their time.

use std::time::Duration;

use celeriac::blocking::App;
use jiff::Timestamp;

use super::{POOL, Result, backlog, empty, open};
use crate::marks::{self, Marks};
use crate::repetitions::Report;
use crate::tasks::punctual;
use crate::worker::Worker;

/// How many are due at the same moment.
const CROWD: u32 = 10_000;

/// How many are due one after another, and how far apart.
const SINGLES: u32 = 200;
const APART: Duration = Duration::from_millis(100);

/// How far ahead the first is sent: all of them wait by then.
const AHEAD: Duration = Duration::from_secs(5);

/// How long the last may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Of many that are due at the same moment.
pub(super) fn of_a_crowd(url: &str) -> Result<Report> {
    let app = open(url)?;
    let marks = Marks::new()?;
    let _worker = Worker::start_ready_marking(url, POOL, &marks.file())?;
    lateness(&app, &marks, CROWD, Duration::ZERO)
}

/// Of single ones, while a million others wait for a time that is far.
pub(super) fn of_singles(url: &str) -> Result<Report> {
    let app = open(url)?;
    let marks = Marks::new()?;
    let _worker = Worker::start_ready_marking(url, POOL, &marks.file())?;
    backlog::fill(&app)?;
    let report = lateness(&app, &marks, SINGLES, APART)?;
    empty(&app)?;
    Ok(report)
}

/// How late each of `count` tasks runs that are so far `apart`.
fn lateness(app: &App, marks: &Marks, count: u32, apart: Duration) -> Result<Report> {
    let first = marks::now()? + AHEAD;
    let calls = (0..count).map(|number| {
        let due_ms = (first + apart * number).as_millis();
        let due_ms = u64::try_from(due_ms).expect("a time of day fits");
        let eta = Timestamp::from_millisecond(due_ms.cast_signed()).expect("and is one");
        punctual::call(due_ms).eta(eta).ignore_result()
    });
    app.send_many(calls)?;
    let late = marks.wait_for(count, AHEAD + apart * count + LIMIT)?;
    Ok(Report::new(1, late))
}
