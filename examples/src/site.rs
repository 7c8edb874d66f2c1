//! Opens the place an example runs on, and says at the end what was done there.

use std::fmt;
use std::time::Instant;

use celeriac::{App, LocalWorker, Place, ShutdownMode};
use clap::{Args, ValueEnum};

/// Any error: what `main` reports.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What most functions of an example return.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// The arguments every example takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Where the tasks run: inline, threads[=N], processes[=N], coroutines[=N],
    /// processes=P*coroutines=C, or a broker such as sqlite:jobs.db
    #[arg(long, value_name = "WHERE", env = "CELERIAC_ON")]
    pub on: Option<Place>,
    /// Who runs what is sent to a broker: a worker of this program, or others started elsewhere
    #[arg(long, value_name = "WHO", default_value = "own")]
    pub worker: WorkerChoice,
    /// What the worker of this program runs its tasks on
    #[arg(long, value_name = "WHERE")]
    pub pool: Option<Place>,
}

/// Who runs what is sent to a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WorkerChoice {
    /// A worker in this program.
    Own,
    /// Workers that somebody else started.
    External,
}

/// A place that was opened, with a worker of its own if it is a broker.
#[derive(Debug)]
pub struct Site {
    /// The place.
    pub app: App,
    worker: Option<LocalWorker>,
    opened: Instant,
}

impl Site {
    /// Opens the place `--on` says, or `home`; on a broker, starts a worker whose pool is the one
    /// `--pool` says, or `home`.
    ///
    /// # Errors
    ///
    /// If the place cannot be opened.
    pub async fn open(common: &Common, home: &str) -> celeriac::Result<Self> {
        let home: Place = home.parse()?;
        let app = App::on(common.on.clone().unwrap_or_else(|| home.clone())).await?;
        let own = app.broker().is_some() && common.worker == WorkerChoice::Own;
        let worker = if own {
            Some(
                app.start_worker(common.pool.clone().unwrap_or(home))
                    .await?,
            )
        } else {
            None
        };
        Ok(Self {
            app,
            worker,
            opened: Instant::now(),
        })
    }

    /// Prints what was done here and how long it took, and closes the place.
    ///
    /// # Errors
    ///
    /// If the broker made the worker stop.
    pub async fn finish(self, what: impl fmt::Display) -> celeriac::Result<()> {
        let took = self.opened.elapsed().as_secs_f64();
        println!("{what} on {} in {took:.2} s", self.app.place());
        self.app.shutdown(ShutdownMode::Wait).await;
        if let Some(worker) = self.worker {
            worker.stop().await?;
        }
        Ok(())
    }
}
