//! Workers that share something, and how a program is told who they are.

use std::fmt;
use std::thread;
use std::time::Instant;

use celeriac::blocking::App;
use celeriac::sync::cluster::{Cluster, Manager};
use celeriac::{Handle, ShutdownMode, Signature, Task};
use clap::{Args, ValueEnum};

use crate::Result;

/// The arguments of every program about sharing.
#[derive(Debug, Clone, Args)]
pub struct Sharing {
    /// Who shares
    #[arg(long, value_name = "WHO", default_value = "threads")]
    pub scope: Scope,
    /// Where machines share, such as sqlite:PATH; at a manager that this program serves if not given
    #[arg(long, value_name = "PLACE", env = "CELERIAC_CLUSTER")]
    pub at: Option<String>,
}

/// Who shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scope {
    /// The threads of this process.
    Threads,
    /// Processes of this machine, by their memory.
    Processes,
    /// Programs that know the same place; here they are processes of one machine.
    Machines,
}

/// Workers that share something.
#[derive(Debug)]
pub struct Team {
    /// Who they are.
    pub scope: Scope,
    app: App,
    workers: usize,
    at: Option<String>,
    opened: Instant,
}

impl Sharing {
    /// So many workers: threads of this process, or processes of their own.
    ///
    /// # Errors
    ///
    /// If they cannot be started.
    pub fn team(&self, workers: usize) -> celeriac::Result<Team> {
        let pool = match self.scope {
            Scope::Threads => "threads",
            Scope::Processes | Scope::Machines => "processes",
        };
        Ok(Team {
            scope: self.scope,
            app: App::on(format!("{pool}={workers}").as_str())?,
            workers,
            at: self.at.clone(),
            opened: Instant::now(),
        })
    }
}

impl Team {
    /// Where machines share.
    ///
    /// # Errors
    ///
    /// If it cannot be reached.
    pub fn place(&self) -> Result<Cluster> {
        if let Some(address) = &self.at {
            return Ok(Cluster::connect(address)?);
        }
        // Without a key it is for this machine only.
        let manager = Manager::bind("127.0.0.1:0", None)?;
        let address = format!("manager://{}", manager.address());
        thread::spawn(|| manager.run());
        Ok(Cluster::connect(&address)?)
    }

    /// Has a worker begin with a call.
    ///
    /// # Errors
    ///
    /// If it cannot be sent.
    pub fn start<T: Task>(&self, call: Signature<T>) -> celeriac::Result<Handle<T::Output>> {
        self.app.send(call)
    }

    /// Has workers do these calls, and waits for all: what they return, in the order of the calls.
    ///
    /// # Errors
    ///
    /// If one cannot be sent, or fails.
    pub fn run<T: Task>(
        &self,
        calls: impl IntoIterator<Item = Signature<T>>,
    ) -> Result<Vec<T::Output>> {
        let started = calls.into_iter().map(|call| self.start(call));
        let started = started.collect::<celeriac::Result<Vec<_>>>()?;
        let ended = started.into_iter().map(|mut call| Ok(call.wait()?));
        ended.collect()
    }

    /// Prints what was done here and how long it took, and ends the workers.
    pub fn finish(self, what: impl fmt::Display) {
        let took = self.opened.elapsed().as_secs_f64();
        let who = self.scope.to_possible_value();
        let who = who.as_ref().map_or("workers", |who| who.get_name());
        println!("{what} by {} {who} in {took:.2} s", self.workers);
        self.app.shutdown(ShutdownMode::Wait);
    }
}
