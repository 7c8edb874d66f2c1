//! A worker in a process of its own: this program again, told to be one.

use std::error::Error;
use std::process::{Child, Command, Stdio};
use std::{fs, io, iter};

use celeriac::worker::WorkerSettings;
use celeriac::{App, Place, Registry};

/// How the program is told to be a worker, before the broker and the pool.
pub(crate) const WORKER: &str = "worker";

/// A word in the environment of the worker and of all that it starts.
const MARK: &str = "CELERIAC_BENCH_WORKER";

/// A running worker; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Worker(Child);

impl Worker {
    /// Starts one that takes from the broker `url` and runs on `place`.
    pub(crate) fn start(url: &str, place: &str) -> io::Result<Self> {
        let mark = std::process::id().to_string();
        Command::new(std::env::current_exe()?)
            .args([WORKER, url, place])
            .env(MARK, mark)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
    }

    /// Ends it with SIGKILL: it gets no chance to clean up.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.0.kill()?;
        self.0.wait().map(drop)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // One that is gone already needs no killing.
        let _ = self.kill();
    }
}

/// The processes that workers of ours have started and that still run.
pub(crate) fn left_behind() -> io::Result<Vec<u32>> {
    let mark = format!("{MARK}={}", std::process::id());
    let is_marked = |pid: &u32| {
        // One that has ended meanwhile, or belongs to somebody else, is none of ours.
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|word| word == mark.as_bytes())
    };
    let mut entries = fs::read_dir("/proc")?;
    let pids = iter::from_fn(|| entries.next())
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids.filter(is_marked).collect())
}

/// Works until it is killed.
pub(crate) fn run(url: &str, place: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    let place: Place = place.parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let app = App::on(url).await?;
        let broker = app.broker().ok_or("the place is no broker")?.clone();
        let executor = celeriac_executor::open(&place)?;
        let settings = WorkerSettings::default();
        let worker =
            celeriac::worker::Worker::new(broker, executor, Registry::collect()?, settings);
        worker.start().await?.wait().await?;
        Ok(())
    })
}
