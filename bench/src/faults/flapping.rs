//! A network that comes and goes for ten minutes between a worker and its broker.

use std::time::{Duration, Instant};

use celeriac::App;
use celeriac_testkit::peers::{Fault, TcpProxy};

use super::ledger::Ledger;
use super::{Counts, Result, runtime};
use crate::tasks::mark;
use crate::worker::Worker;

const LASTS: Duration = Duration::from_secs(600);
const GOOD: Duration = Duration::from_secs(2);
const BAD: Duration = Duration::from_secs(3);

/// How many tasks are sent each time.
const TASKS: u32 = 100;

/// Longer than anything takes that works.
const LIMIT: Duration = Duration::from_secs(60);

/// Lets the network come and go.
pub(super) fn run(url: &str) -> Result<Counts> {
    runtime()?.block_on(come_and_go(url))
}

async fn come_and_go(url: &str) -> Result<Counts> {
    let ledger = Ledger::new()?;
    let app = App::on(url).await?;
    let file = ledger.file();
    let (proxy, through) = TcpProxy::before_url(url).await?;
    let worker = Worker::start_ready(&through, "threads=2")?;
    let mut sent = 0;
    let mut send = async || -> Result<u32> {
        let calls = (sent..sent + TASKS).map(|number| mark::call(&*file, number).ignore_result());
        app.send_many(calls).await?;
        sent += TASKS;
        Ok(sent)
    };
    let mut end = send().await?;
    ledger
        .wait(LIMIT, |ledger| Ok(ledger.missing(end)? == 0))
        .await?;
    let files = worker.open_files()?;
    let begun = Instant::now();
    while begun.elapsed() < LASTS {
        end = send().await?;
        tokio::time::sleep(GOOD).await;
        proxy.strike(Fault::Refuse);
        tokio::time::sleep(BAD).await;
        proxy.heal();
    }
    ledger
        .wait(LIMIT, |ledger| Ok(ledger.missing(end)? == 0))
        .await?;
    // Whoever runs tasks again has its connections again.
    end = send().await?;
    ledger
        .wait(LIMIT, |ledger| Ok(ledger.missing(end)? == 0))
        .await?;
    let more = worker.open_files()?.saturating_sub(files);
    let mut counts = Counts::default();
    counts.add("tasks lost", ledger.missing(end)?, 0);
    let cuts = LASTS.as_secs() / (GOOD + BAD).as_secs();
    counts.add("finished twice", ledger.again()?, cuts * 16);
    counts.add("more files open than before", more, 1);
    Ok(counts)
}
