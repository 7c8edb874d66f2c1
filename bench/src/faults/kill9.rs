//! Kills the worker again and again while it works through a queue.

use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use celeriac::App;
use tokio::time::timeout;

use super::ledger::Ledger;
use super::{Counts, Result, some_time};
use crate::tasks::mark;
use crate::worker::{Worker, left_behind, wait_for};

const TASKS: u32 = 10_000;
const KILLS: u64 = 50;

/// How many tasks a killed worker may have finished and not settled: those of its slots, and on a
/// server those of a batch on its way besides.
const UNSETTLED: u64 = 2;
const UNSETTLED_ON_SERVER: u64 = 16;

/// How long the processes of a killed worker may take to notice.
const MOURNING: Duration = Duration::from_secs(2);

/// If so long no result comes, none will; a dead worker's messages come back in 15 s.
const SILENCE: Duration = Duration::from_secs(60);

/// A queue in SQLite.
pub(super) fn on_sqlite() -> Result<Counts> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}", folder.path().join("q.db").display());
    run(&url, UNSETTLED)
}

/// A queue of the server at `url`.
pub(super) fn on(url: &str) -> Result<Counts> {
    run(url, UNSETTLED_ON_SERVER)
}

/// Sends all tasks, kills their worker so often, and waits for the results.
fn run(url: &str, unsettled: u64) -> Result<Counts> {
    let ledger = Ledger::new()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Nothing is ever said to the killer: it is done when nobody can say anything any more.
    let (working, done) = mpsc::channel();
    let (failed, killed) = thread::scope(|scope| -> Result<_> {
        let killer = scope.spawn(move || kill_on(url, &done));
        let failed = runtime.block_on(send_all(url, &ledger));
        drop(working);
        let killed = killer.join().map_err(|_| "the killer panicked")??;
        Ok((failed?, killed))
    })?;
    killed.shows_something()?;

    let mut counts = Counts::default();
    counts.add("tasks lost", ledger.missing(TASKS)?, 0);
    counts.add("tasks without a good result", failed, 0);
    counts.add("finished twice", ledger.again()?, KILLS * unsettled);
    counts.add("orphan processes", killed.orphans, 0);
    Ok(counts)
}

/// Sends all tasks and waits for their results; how many have no good one.
async fn send_all(url: &str, ledger: &Ledger) -> Result<u64> {
    let app = App::on(url).await?;
    let file = ledger.file();
    let inputs = (0..TASKS).map(|number| (file.clone(), number));
    let mut outcomes = app.map_unordered::<mark>(inputs);
    let mut good = 0;
    loop {
        match timeout(SILENCE, outcomes.next()).await {
            Ok(Some(Ok(()))) => good += 1,
            Ok(Some(Err(error))) => eprintln!("a task failed: {error}"),
            Ok(None) => break,
            Err(_) => {
                eprintln!("no result came for {} s", SILENCE.as_secs());
                break;
            }
        }
    }
    Ok(u64::from(TASKS) - good)
}

/// What the killer saw.
#[derive(Debug, Default)]
struct Killed {
    kills: u64,
    orphans: u64,
    /// The most processes that a worker and its pool were seen to have.
    processes: usize,
}

impl Killed {
    /// Refuses a run in which too little was killed, or in which orphans could not have been seen.
    fn shows_something(&self) -> Result<()> {
        if self.kills < KILLS {
            return Err(format!("the work was over after {} kills", self.kills).into());
        }
        if self.processes < 2 {
            return Err("the processes of the pool could not be seen".into());
        }
        Ok(())
    }
}

/// Kills a worker and starts the next until it was done often enough; the last one may finish.
fn kill_on(url: &str, done: &Receiver<()>) -> Result<Killed> {
    let mut killed = Killed::default();
    while killed.kills < KILLS && done.try_recv() == Err(TryRecvError::Empty) {
        let mut worker = Worker::start(url, "processes=2")?;
        some_time(Duration::from_millis(50), Duration::from_millis(550))?;
        killed.processes = killed.processes.max(left_behind()?.len());
        worker.kill()?;
        killed.kills += 1;
        killed.orphans += left_after(MOURNING)?;
    }
    let _last = Worker::start(url, "processes=2")?;
    let _ = done.recv();
    Ok(killed)
}

/// How many processes of the killed worker outlive it for longer than `limit`.
fn left_after(limit: Duration) -> Result<u64> {
    let end = Instant::now() + limit;
    for process in left_behind()? {
        wait_for(process, end)?;
    }
    Ok(left_behind()?.len() as u64)
}
