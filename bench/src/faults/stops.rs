//! A worker that is told to stop again and again, and at bad moments.

use std::time::{Duration, Instant};

use celeriac::{App, QueueName};
use celeriac_testkit::peers::{Fault, TcpProxy};
use rustix::process::Signal;

use super::ledger::Ledger;
use super::{Counts, Result, runtime, some_time};
use crate::tasks::{mark, mark_slowly};
use crate::worker::Worker;

/// How often a worker is started and stopped, and what it finds each time: 5 ms each.
const CYCLES: u32 = 500;
const TASKS: u32 = 50;

/// It stops while it claims, works and settles, or after that.
const SOONEST: Duration = Duration::ZERO;
const LATEST: Duration = Duration::from_millis(120);

/// What a worker with four slots holds when it is told to stop: those that run for so long, those that
/// were fetched with them, and those that wait for their time.
const SLOTS: u32 = 4;
const RUNS_MS: u64 = 3_000;
const FETCHED: u32 = 50;
const WAITING: u32 = 200;

/// How soon what has not begun is back, and how much later than it says a worker ends.
const BACK_MS: u64 = 1_000;
const LATE_MS: u64 = 2_000;

const GRACE: Duration = Duration::from_secs(3);

/// Longer than anything takes that works.
const LIMIT: Duration = Duration::from_secs(60);

/// Stops workers of the broker at `url`.
pub(super) fn run(url: &str) -> Result<Counts> {
    runtime()?.block_on(async {
        let mut counts = Counts::default();
        stop_often(url, &mut counts).await?;
        for (signal, name) in [
            (
                Signal::TERM,
                "ms until SIGTERM has given back what had not begun",
            ),
            (Signal::QUIT, "ms until SIGQUIT has given back everything"),
        ] {
            stop_busy(url, signal, name, &mut counts).await?;
        }
        stop_cut_off(url, &mut counts).await?;
        Ok(counts)
    })
}

/// Starts and stops workers while there is work.
async fn stop_often(url: &str, counts: &mut Counts) -> Result<()> {
    let ledger = Ledger::new()?;
    let app = App::on(url).await?;
    let file = ledger.file();
    for cycle in 0..CYCLES {
        let mut worker = Worker::start_ready(url, "threads=4")?;
        let numbers = cycle * TASKS..(cycle + 1) * TASKS;
        let calls = numbers.map(|number| mark::call(&*file, number).ignore_result());
        app.send_many(calls).await?;
        some_time(SOONEST, LATEST)?;
        worker.signal(Signal::TERM)?;
        worker.wait(LIMIT)?;
    }
    let _last = Worker::start_ready(url, "threads=4")?;
    let all = |ledger: &Ledger| Ok(ledger.missing(CYCLES * TASKS)? == 0);
    ledger.wait(LIMIT, all).await?;
    counts.add(
        "tasks lost in 500 stops",
        ledger.missing(CYCLES * TASKS)?,
        0,
    );
    counts.add("run twice", ledger.again()?, 0);
    Ok(())
}

/// Stops one that runs some tasks and holds others.
async fn stop_busy(
    url: &str,
    signal: Signal,
    name: &'static str,
    counts: &mut Counts,
) -> Result<()> {
    let ledger = Ledger::new()?;
    let app = App::on(url).await?;
    let file = ledger.file();
    let later = (0..WAITING).map(|number| {
        let call = mark::call(&*file, SLOTS + FETCHED + number);
        call.countdown(Duration::from_secs(5)).ignore_result()
    });
    app.send_many(later).await?;
    let now = (0..SLOTS + FETCHED)
        .map(|number| mark_slowly::call(&*file, number, RUNS_MS).ignore_result());
    app.send_many(now).await?;
    let mut worker = Worker::start_ready(url, "processes=4")?;
    let begun = |ledger: &Ledger| Ok(ledger.lines()? == u64::from(SLOTS));
    if !ledger.wait(LIMIT, begun).await? {
        return Err("the worker does not begin".into());
    }
    let told = Instant::now();
    worker.signal(signal)?;
    let back = u64::from(if signal == Signal::QUIT {
        SLOTS + FETCHED
    } else {
        FETCHED
    });
    while ready(&app).await? < back {
        if told.elapsed() > LIMIT {
            return Err("the worker gives nothing back".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    counts.add(name, u64::try_from(told.elapsed().as_millis())?, BACK_MS);
    worker.wait(LIMIT)?;
    let _next = Worker::start_ready(url, "threads=50")?;
    let all = SLOTS + FETCHED + WAITING;
    ledger
        .wait(LIMIT, |ledger| Ok(ledger.missing(all)? == 0))
        .await?;
    counts.add("tasks lost by it", ledger.missing(all)?, 0);
    let ran_on = if signal == Signal::QUIT {
        u64::from(SLOTS)
    } else {
        0
    };
    counts.add("begun twice", ledger.again()?, ran_on);
    Ok(())
}

/// How many messages wait for a worker.
async fn ready(app: &App) -> Result<u64> {
    let broker = app.broker().ok_or("the place is no broker")?;
    let queues = broker.queues().await?;
    let own = queues
        .iter()
        .filter(|queue| queue.name == QueueName::default());
    Ok(own.map(|queue| queue.ready).sum())
}

/// Stops one that cannot reach its broker and runs a task that does not end.
async fn stop_cut_off(url: &str, counts: &mut Counts) -> Result<()> {
    let ledger = Ledger::new()?;
    let app = App::on(url).await?;
    let (proxy, through) = TcpProxy::before_url(url).await?;
    let mut worker = Worker::start_patient(&through, "processes=2", GRACE)?;
    let call = mark_slowly::call(ledger.file(), 0, 60_000);
    app.send(call.ignore_result()).await?;
    if !ledger
        .wait(LIMIT, |ledger| Ok(ledger.lines()? == 1))
        .await?
    {
        return Err("the worker does not begin".into());
    }
    proxy.strike(Fault::Hold);
    let told = Instant::now();
    worker.signal(Signal::TERM)?;
    worker.wait(LIMIT)?;
    let late = told.elapsed().saturating_sub(GRACE);
    counts.add(
        "ms over its grace that one cut off took to stop",
        u64::try_from(late.as_millis())?,
        LATE_MS,
    );
    Ok(())
}
