//! Cuts a worker off right after it was given a message, and kills it: the message has to be run by
//! somebody else.
//!
//! # Sources
//!
//! Celery on Redis loses such a message: it pops it and writes it down in two steps.

use std::collections::HashMap;
use std::time::Duration;

use celeriac::{App, QueueName, Task};
use celeriac_testkit::peers::{Fault, TcpProxy};
use tokio::time::timeout;

use super::ledger::Ledger;
use super::{Counts, Result, runtime};
use crate::tasks::mark;
use crate::worker::Worker;

const CUTS: u32 = 20;

/// How soon a worker that is ready is given what is sent.
const SOON: Duration = Duration::from_secs(10);

/// How long the messages may take to come back; a dead worker's do within 15 s.
const LIMIT: Duration = Duration::from_secs(60);

/// Cuts so often, each time in a queue of its own.
pub(super) fn run(url: &str) -> Result<Counts> {
    runtime()?.block_on(cut_off(url))
}

async fn cut_off(url: &str) -> Result<Counts> {
    let ledger = Ledger::new()?;
    let app = App::on(url).await?;
    let queue = |cut: u32| QueueName::new(&format!("cut-{cut}"));
    let queues: Vec<_> = (0..CUTS).map(queue).collect::<Result<_, _>>()?;
    for (cut, queue) in (0..).zip(&queues) {
        let (proxy, through) = TcpProxy::before_url(url).await?;
        let mut worker =
            Worker::start_ready_for(&through, "threads=1", std::slice::from_ref(queue))?;
        // The name of the task comes with the message, and with nothing else.
        proxy.strike_after_reply(mark::DEFINITION.name.as_bytes(), Fault::Hold);
        let call = mark::call(ledger.file(), cut).queue(queue.as_str());
        app.send(call.ignore_result()).await?;
        timeout(SOON, proxy.struck())
            .await
            .map_err(|_| format!("the worker was not given message {cut}"))?;
        worker.kill()?;
    }
    // Some had the time to run theirs, but none to say so.
    let before = ledger.times()?;
    let _worker = Worker::start_ready_for(url, "threads=2", &queues)?;
    let kept = |times: &HashMap<u32, u64>| {
        let of = |times: &HashMap<u32, u64>, cut| times.get(&cut).copied().unwrap_or(0);
        (0..CUTS)
            .filter(|cut| of(times, *cut) > of(&before, *cut))
            .count() as u64
    };
    let all = |ledger: &Ledger| Ok(kept(&ledger.times()?) == u64::from(CUTS));
    ledger.wait(LIMIT, all).await?;
    let times = ledger.times()?;
    let mut counts = Counts::default();
    counts.add("of 20 messages lost", u64::from(CUTS) - kept(&times), 0);
    counts.add(
        "of them run before the kill, too",
        before.len() as u64,
        u64::from(CUTS),
    );
    Ok(counts)
}
