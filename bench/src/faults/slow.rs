//! A slow network between a worker and its broker.

use std::time::{Duration, Instant};

use celeriac::App;
use celeriac_testkit::peers::TcpProxy;
use rustix::process::Signal;

use super::ledger::Ledger;
use super::{Counts, Result, runtime};
use crate::tasks::mark;
use crate::worker::Worker;

/// Each way, so that a question and its answer take 200 ms or a second.
const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_millis(500);

/// 64 kbit/s.
const BYTES_PER_S: u32 = 8_000;

/// As many as take a few seconds at each, and longer than a lease lasts in all.
const TASKS: u32 = 2_000;
const FEW: u32 = 100;

/// Longer than anything takes that works.
const LIMIT: Duration = Duration::from_secs(240);

/// Slows the network down in three ways.
pub(super) fn run(url: &str) -> Result<Counts> {
    runtime()?.block_on(async {
        let mut counts = Counts::default();
        let short = |proxy: &TcpProxy| proxy.delay(SHORT);
        let long = |proxy: &TcpProxy| proxy.delay(LONG);
        let narrow = |proxy: &TcpProxy| proxy.narrow(BYTES_PER_S);
        through(
            url,
            TASKS,
            "ms for 2,000 tasks at 200 ms",
            20_000,
            short,
            &mut counts,
        )
        .await?;
        through(
            url,
            TASKS,
            "ms for 2,000 tasks at 1 s",
            40_000,
            long,
            &mut counts,
        )
        .await?;
        through(
            url,
            FEW,
            "ms for 100 tasks at 64 kbit/s",
            60_000,
            narrow,
            &mut counts,
        )
        .await?;
        Ok(counts)
    })
}

/// Has a worker run tasks through a network that is slow as `slowed` makes it.
async fn through(
    url: &str,
    tasks: u32,
    name: &'static str,
    at_most_ms: u64,
    slowed: impl Fn(&TcpProxy),
    counts: &mut Counts,
) -> Result<()> {
    let ledger = Ledger::new()?;
    let app = App::on(url).await?;
    let (proxy, through) = TcpProxy::before_url(url).await?;
    let mut worker = Worker::start_ready(&through, "threads=2")?;
    slowed(&proxy);
    let file = ledger.file();
    let calls = (0..tasks).map(|number| mark::call(&*file, number).ignore_result());
    let begun = Instant::now();
    app.send_many(calls).await?;
    ledger
        .wait(LIMIT, |ledger| Ok(ledger.missing(tasks)? == 0))
        .await?;
    counts.add(
        name,
        u64::try_from(begun.elapsed().as_millis())?,
        at_most_ms,
    );
    counts.add("of them lost", ledger.missing(tasks)?, 0);
    counts.add("of them run twice, their lease lost", ledger.again()?, 0);
    // One that was killed would leave to the next what it has run and not settled.
    proxy.heal();
    worker.signal(Signal::TERM)?;
    tokio::task::spawn_blocking(move || worker.wait(LIMIT)).await??;
    Ok(())
}
