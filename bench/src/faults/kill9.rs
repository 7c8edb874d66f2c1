//! Kills the worker again and again while it works through a queue in SQLite.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use celeriac::App;
use tokio::time::timeout;

use super::{Counts, some_time};
use crate::tasks::mark;
use crate::worker::{Worker, left_behind};

const TASKS: u32 = 10_000;
const KILLS: u64 = 50;
const SLOTS: u64 = 2;

/// How long the processes of a killed worker may take to notice.
const MOURNING: Duration = Duration::from_secs(2);

/// If so long no result comes, none will; a dead worker's messages come back in 15 s.
const SILENCE: Duration = Duration::from_secs(60);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Sends all tasks, kills their worker so often, and waits for the results.
pub(crate) fn run() -> Result<Counts> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}", folder.path().join("q.db").display());
    let marks = folder.path().join("marks");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let done = AtomicBool::new(false);
    let (failed, killed) = thread::scope(|scope| -> Result<_> {
        let killer = scope.spawn(|| kill_on(&url, &done));
        let failed = runtime.block_on(send_all(&url, &marks));
        done.store(true, Ordering::Relaxed);
        let killed = killer.join().map_err(|_| "the killer panicked")??;
        Ok((failed?, killed))
    })?;
    killed.shows_something()?;

    let times = finished(&marks)?;
    let missing = (0..TASKS).filter(|number| !times.contains_key(number));
    let again = times.values().map(|times| times - 1).sum::<u64>();
    let mut counts = Counts::default();
    counts.add("tasks lost", missing.count() as u64, 0);
    counts.add("tasks without a good result", failed, 0);
    counts.add("finished twice", again, KILLS * SLOTS);
    counts.add("orphan processes", killed.orphans, 0);
    Ok(counts)
}

/// Sends all tasks and waits for their results; how many have no good one.
async fn send_all(url: &str, marks: &Path) -> Result<u64> {
    let app = App::on(url).await?;
    let file = marks.display().to_string();
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
fn kill_on(url: &str, done: &AtomicBool) -> Result<Killed> {
    let mut killed = Killed::default();
    while killed.kills < KILLS && !done.load(Ordering::Relaxed) {
        let mut worker = Worker::start(url, "processes=2")?;
        some_time(Duration::from_millis(50), Duration::from_millis(550))?;
        killed.processes = killed.processes.max(left_behind()?.len());
        worker.kill()?;
        killed.kills += 1;
        killed.orphans += left_after(MOURNING)?;
    }
    let _last = Worker::start(url, "processes=2")?;
    while !done.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(20));
    }
    Ok(killed)
}

/// How many processes of the killed worker outlive it for longer than `limit`.
fn left_after(limit: Duration) -> Result<u64> {
    let end = Instant::now() + limit;
    loop {
        let left = left_behind()?.len() as u64;
        if left == 0 || Instant::now() > end {
            return Ok(left);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// How often each task has finished.
fn finished(marks: &Path) -> Result<HashMap<u32, u64>> {
    let mut times = HashMap::new();
    for line in fs::read_to_string(marks)?.lines() {
        *times.entry(line.parse()?).or_default() += 1;
    }
    Ok(times)
}
