//! A million messages that wait for their time.

use std::thread;
use std::time::{Duration, Instant};

use celeriac::blocking::{App, block_on};

use super::Result;
use crate::tasks::empty;

const WAITING: u32 = 1_000_000;

/// Longer than any measure takes.
const COUNTDOWN: Duration = Duration::from_secs(3600);

/// How long it may take until all of them wait.
const LIMIT: Duration = Duration::from_secs(300);

/// Sends them, and returns when the broker tells of all of them that they wait: a worker may have to
/// see them before.
pub(super) fn fill(app: &App) -> Result<()> {
    let calls = (0..WAITING).map(|number| empty::call(number).countdown(COUNTDOWN));
    app.send_many(calls.map(celeriac::Signature::ignore_result))?;
    let app = app.clone().into_async();
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
