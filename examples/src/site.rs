//! Opens the place an example runs on, and says at the end what was done there.

use std::fmt;
use std::time::Instant;

use celeriac::{App, Place, ShutdownMode};
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
        let app = App::on(common.on.clone().unwrap_or(home)).await?;
        Ok(Self {
            app,
            opened: Instant::now(),
        })
    }

    /// Closes the place, and prints what was done there and how long it took.
    pub async fn finish(self, what: impl fmt::Display) {
        let took = self.opened.elapsed();
        println!(
            "{what} on {} in {:.2} s",
            self.app.place(),
            took.as_secs_f64()
        );
        self.app.shutdown(ShutdownMode::Wait).await;
    }
}
