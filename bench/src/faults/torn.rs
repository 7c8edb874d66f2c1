//! Connections that end after one byte, after two, and so on: within every frame that is spoken.

use std::fs;
use std::path::Path;
use std::time::Duration;

use celeriac::{App, QueueName};
use celeriac_testkit::peers::{TcpProxy, Way};
use futures_util::future::try_join_all;
use tempfile::TempDir;
use tokio::time::timeout;

use super::ledger::Ledger;
use super::{Counts, Result, runtime};
use crate::tasks::mark;
use crate::worker::Worker;

/// The most bytes that are carried before the end.
const MOST: u32 = 4_096;

/// So many workers are cut off side by side.
const LANES: u32 = 16;

/// How soon a connection that is used carries that much; some never do, having little to say.
const SOON: Duration = Duration::from_millis(400);

/// How long a message may take to come back; a worker that lives holds on to its own for 15 s.
const LIMIT: Duration = Duration::from_secs(60);

/// Ends connections within what is said either way.
pub(super) fn run(url: &str) -> Result<Counts> {
    runtime()?.block_on(tear(url))
}

async fn tear(url: &str) -> Result<Counts> {
    let ledger = Ledger::new()?;
    let complaints = TempDir::new()?;
    let lanes = (0..LANES).map(|lane| tear_in(url, lane, &ledger, complaints.path()));
    let torn: u64 = try_join_all(lanes).await?.into_iter().sum();
    let mut panics = 0;
    for file in fs::read_dir(complaints.path())? {
        panics += fs::read_to_string(file?.path())?
            .matches("panicked")
            .count() as u64;
    }
    let mut counts = Counts::default();
    let cuts = u64::from(MOST) * 2;
    // Some have less to say than that.
    counts.add("of 8,192 connections not torn", cuts - torn, cuts / 2);
    counts.add("panics", panics, 0);
    counts.add("tasks lost", ledger.missing(MOST * 2)?, 0);
    // One that was torn after its task had run could not say so.
    counts.add("finished twice", ledger.again()?, cuts / 4);
    Ok(counts)
}

/// Sends a worker one message after another while its connections end ever later; how many did.
async fn tear_in(url: &str, lane: u32, ledger: &Ledger, complaints: &Path) -> Result<u64> {
    let app = App::on(url).await?;
    let queue = QueueName::new(&format!("torn-{lane}"))?;
    let (proxy, through) = TcpProxy::before_url(url).await?;
    let complaints = complaints.join(lane.to_string());
    let queues = std::slice::from_ref(&queue);
    let _worker = Worker::start_heard(&through, "threads=1", queues, &complaints)?;
    let mut torn = 0;
    for bytes in (lane + 1..=MOST).step_by(LANES as usize) {
        for (way, number) in [(Way::Requests, bytes - 1), (Way::Replies, MOST + bytes - 1)] {
            proxy.tear_after(way, bytes as usize);
            let call = mark::call(ledger.file(), number).queue(queue.as_str());
            app.send(call.ignore_result()).await?;
            torn += u64::from(timeout(SOON, proxy.struck()).await.is_ok());
            proxy.heal();
        }
    }
    let own = |number: u32| number % LANES == lane;
    let all = |ledger: &Ledger| {
        let times = ledger.times()?;
        Ok((0..MOST * 2).all(|number| !own(number) || times.contains_key(&number)))
    };
    ledger.wait(LIMIT, all).await?;
    Ok(torn)
}
