//! A worker in the same process as the app that sends: enough for one machine and one program.

use celeriac_core::{BrokerError, Place};
use celeriac_worker::{RunningWorker, Shutdown, Worker, WorkerReport, WorkerSettings};

use crate::app::App;
use crate::error::{Error, Result};

/// A worker that runs in this process until it is stopped.
///
/// Dropping it is a cold shutdown: what runs is given back to the broker.
#[derive(Debug)]
pub struct LocalWorker(RunningWorker);

impl LocalWorker {
    /// Lets it finish what runs, gives back what it holds besides, and waits for its end.
    ///
    /// # Errors
    ///
    /// [`Error::Broker`] if the broker made it stop before.
    pub async fn stop(self) -> Result<WorkerReport> {
        self.0.shutdown(Shutdown::Warm);
        Ok(self.0.wait().await?)
    }
}

impl App {
    /// Starts a worker in this process that takes this program's tasks from the app's broker and
    /// runs them on `pool`.
    ///
    /// It serves every queue that a task of this program names. For queues, names and limits of
    /// your own, carry the command line (`celeriac::cli`) or use [`worker::Worker`](crate::worker).
    ///
    /// # Errors
    ///
    /// [`Error::Broker`] if the app's place is no broker or refuses the worker, [`Error::Registry`] if
    /// this program has no task, [`Error::Executor`] if the pool cannot be started.
    pub async fn start_worker<P>(&self, pool: P) -> Result<LocalWorker>
    where
        P: TryInto<Place>,
        Error: From<P::Error>,
    {
        let Some(broker) = self.broker() else {
            return Err(Error::Broker(BrokerError::Unsupported {
                address: self.place().to_string(),
                what: "have workers; it runs its calls itself".to_owned(),
            }));
        };
        self.registry().require_tasks()?;
        let executor = celeriac_executor::open(&pool.try_into()?)?;
        let mut settings = WorkerSettings::default();
        settings.routes = self.routes().cloned().unwrap_or_default();
        let queues = settings.routes.queues_of(self.registry())?;
        settings.queues = queues.into_iter().collect();
        let worker = Worker::new(broker.clone(), executor, self.registry().clone(), settings);
        Ok(LocalWorker(worker.start().await?))
    }
}
