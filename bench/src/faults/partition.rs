//! A network that carries nothing for a minute, without a word, between a worker and its broker.

use std::time::{Duration, Instant};

use celeriac::App;
use celeriac_testkit::peers::{Fault, TcpProxy};

use super::ledger::Ledger;
use super::{Counts, Result, runtime};
use crate::tasks::mark;
use crate::worker::Worker;

/// Of 5 ms each, so that most of them are left when the network fails.
const TASKS: u32 = 5_000;

const SILENCE: Duration = Duration::from_secs(60);

/// Longer than anything takes that works.
const LIMIT: Duration = Duration::from_secs(120);

/// How soon after the healing a task has run, in milliseconds.
const PROGRESS_MS: u64 = 5_000;

/// Lets the network fail once.
pub(super) fn run(url: &str) -> Result<Counts> {
    runtime()?.block_on(fall_silent(url))
}

async fn fall_silent(url: &str) -> Result<Counts> {
    let ledger = Ledger::new()?;
    let app = App::on(url).await?;
    let file = ledger.file();
    let calls = (0..TASKS).map(|number| mark::call(&*file, number).ignore_result());
    app.send_many(calls).await?;
    let (proxy, through) = TcpProxy::before_url(url).await?;
    let _worker = Worker::start_ready(&through, "threads=2")?;
    let begun = |ledger: &Ledger| Ok(ledger.lines()? > u64::from(TASKS / 10));
    if !ledger.wait(LIMIT, begun).await? {
        return Err("the worker does not begin".into());
    }
    proxy.strike(Fault::Hold);
    tokio::time::sleep(SILENCE).await;
    let before = ledger.lines()?;
    if ledger.missing(TASKS)? < u64::from(TASKS / 10) {
        return Err("too little was left to do when the network had healed".into());
    }
    proxy.heal();
    let healed = Instant::now();
    ledger
        .wait(LIMIT, |ledger| Ok(ledger.lines()? > before))
        .await?;
    let first_ms = u64::try_from(healed.elapsed().as_millis())?;
    ledger
        .wait(LIMIT, |ledger| Ok(ledger.missing(TASKS)? == 0))
        .await?;
    let mut counts = Counts::default();
    counts.add("ms from healing to the first task", first_ms, PROGRESS_MS);
    counts.add("tasks lost", ledger.missing(TASKS)?, 0);
    counts.add("finished twice", ledger.again()?, 100);
    Ok(counts)
}
