//! Calls that were revoked before they are sent.

use std::thread;
use std::time::Duration;

use celeriac::TaskId;
use celeriac::blocking::{App, block_on};
use celeriac_core::{Address, Notice};
use celeriac_wire::control::Request;
use serde_json::Map;

use super::footprint::megabytes;
use super::{POOL, Result, open};
use crate::faults::Counts;
use crate::marks::Marks;
use crate::tasks::tick;
use crate::worker::Worker;

const REVOKED: usize = 100_000;

/// How many one command revokes.
const TOGETHER: usize = 1_000;

/// One call in so many is not revoked, and has to run.
const ONE_OF: usize = 1_000;

/// How long after the last command the first call is sent.
const LATER: Duration = Duration::from_secs(2);

/// How long all calls may take.
const LIMIT: Duration = Duration::from_secs(120);

const GROWTH_MB: u64 = 20;

/// How many of them run, and how much memory it takes to know them.
pub(super) fn run(url: &str) -> Result<Counts> {
    let app = open(url)?;
    let marks = Marks::new()?;
    let worker = Worker::start_ready_marking(url, POOL, &marks.file())?;
    thread::sleep(LATER);
    let before = worker.resident_bytes()?;
    let ids: Vec<TaskId> = (0..REVOKED).map(|_| TaskId::new()).collect();
    revoke(&app, &ids)?;
    thread::sleep(LATER);
    let known = worker.resident_bytes()?;
    let kept = send(&app, &ids)?;
    let ran = marks.all()?.len() as u64;
    let mut counts = Counts::default();
    let name = "of 100,000 revoked calls run";
    counts.add(name, ran.saturating_sub(kept), 0);
    let name = "MB more resident with 100,000 revoked ids";
    counts.add(name, megabytes(known.saturating_sub(before)), GROWTH_MB);
    Ok(counts)
}

/// Commands all workers to run none of these.
fn revoke(app: &App, ids: &[TaskId]) -> Result<()> {
    let app = app.clone().into_async();
    let broker = app.broker().ok_or("the place is no broker")?;
    let bus = broker.bus().ok_or("the broker has no remote control")?;
    for ids in ids.chunks(TOGETHER) {
        let ids: Vec<_> = ids.iter().map(TaskId::to_string).collect();
        let request = Request::new("revoke").argument("task_id", ids);
        let command = Notice::json(Map::new(), request.encode());
        block_on(bus.send(Address::Workers, command))?;
    }
    Ok(())
}

/// Sends these calls and some that nobody has revoked; how many of those there were, once all have
/// ended.
fn send(app: &App, ids: &[TaskId]) -> Result<u64> {
    let calls = ids.chunks(ONE_OF).flat_map(|ids| {
        let revoked = ids.iter().map(|id| tick::call(true).id(id.clone()));
        revoked.chain([tick::call(true)])
    });
    let mut kept = 0;
    for (number, mut handle) in app.send_many(calls)?.into_iter().enumerate() {
        let outcome = handle.wait_for(LIMIT).ok_or("a call does not end")?;
        if number % (ONE_OF + 1) == ONE_OF {
            outcome?;
            kept += 1;
        }
    }
    Ok(kept)
}
