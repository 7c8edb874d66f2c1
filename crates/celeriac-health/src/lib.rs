//! Says how a worker is, to whoever runs it: probes and metrics over HTTP, counts sent to StatsD, a file
//! that is touched while it lives, systemd, and mails of what failed.
//!
//! Everything here looks at the worker from beside it and can fail without harm to it. What listens is
//! meant for the machine or the cluster: it asks for no password, and names of tasks and queues can be
//! read there.
//!
//! # Sources
//!
//! The text format of Prometheus, 0.0.4; `sd_notify(3)`; the names `/livez` and `/readyz` are those of
//! Kubernetes' own servers.
#![forbid(unsafe_code)]

#[cfg(feature = "smtp")]
mod alerts;
mod args;
mod counters;
mod file;
mod http;
mod page;
mod statsd;
mod systemd;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use celeriac_worker::{Life, RunningWorker, Watcher, Worker};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

#[cfg(feature = "smtp")]
pub use alerts::{AlertArgs, AlertError};
pub use args::HealthArgs;

use file::HealthFile;
use page::Pages;
use statsd::Statsd;
use systemd::Systemd;

/// How often the file is touched, at least.
const BEAT: Duration = Duration::from_secs(5);

/// How often counts are sent: what StatsD sums up before it hands on.
const COUNTS: Duration = Duration::from_secs(10);

/// Why nobody can be told how the worker is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealthError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} for --http")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// No socket can be had for StatsD.
    #[error("cannot send to {address} for --statsd")]
    Statsd {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {} for --health-file", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Failures cannot be mailed.
    #[cfg(feature = "smtp")]
    #[error("failures cannot be mailed")]
    Alerts(#[from] AlertError),
}

/// Tells how a worker is, from before its start until this is dropped.
#[derive(Debug)]
pub struct Health {
    shared: Arc<Shared>,
    address: Option<SocketAddr>,
    file: Option<Arc<HealthFile>>,
    systemd: Option<Arc<Systemd>>,
    statsd: Option<Arc<Statsd>>,
    #[cfg(feature = "smtp")]
    alerts: Option<alerts::Alerts>,
    /// What is done meanwhile.
    tasks: Vec<JoinHandle<()>>,
}

/// What the pages speak of.
#[derive(Debug)]
struct Shared {
    since: SystemTime,
    /// The worker, once it has started.
    worker: OnceLock<Watcher>,
    pages: Pages,
}

impl Health {
    /// Begins to answer, before there is a worker: it is alive then, and not ready. `worker` is its name.
    /// Needs a tokio runtime with I/O and time.
    ///
    /// systemd is told if `NOTIFY_SOCKET` names its socket.
    ///
    /// # Errors
    ///
    /// [`HealthError`] if the address is taken, or the file cannot be written.
    #[cfg_attr(
        not(feature = "smtp"),
        expect(unused_variables, reason = "only mails name it")
    )]
    pub async fn open(args: &HealthArgs, worker: &str) -> Result<Self, HealthError> {
        let file = args.health_file.clone().map(HealthFile::new).transpose()?;
        let shared = Arc::new(Shared {
            since: SystemTime::now(),
            worker: OnceLock::new(),
            pages: Pages::default(),
        });
        let statsd = args.statsd.map(|address| {
            let statsd = Statsd::new(address, &args.statsd_prefix, args.statsd_tags);
            statsd.map_err(|source| HealthError::Statsd { address, source })
        });
        let statsd = statsd.transpose()?.map(Arc::new);
        let (mut address, mut tasks) = (None, Vec::new());
        if let Some(asked) = args.http {
            let failed = |source| HealthError::Listen {
                address: asked,
                source,
            };
            let listener = TcpListener::bind(asked).await.map_err(failed)?;
            let bound = listener.local_addr().map_err(failed)?;
            info!("health is served at http://{bound}");
            address = Some(bound);
            tasks.push(tokio::spawn(http::serve(listener, shared.clone())));
        }
        Ok(Self {
            shared,
            address,
            file: file.map(Arc::new),
            systemd: Systemd::from_environment().map(Arc::new),
            statsd,
            #[cfg(feature = "smtp")]
            alerts: alerts::Alerts::start(&args.alerts, worker)?,
            tasks,
        })
    }

    /// Where it listens, if it does: of port 0 the system makes one that is free.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Has a worker tell of its failures, if anybody is to be told.
    pub fn observe(&self, worker: Worker) -> Worker {
        #[cfg(feature = "smtp")]
        if let Some(alerts) = &self.alerts {
            return worker.observer(alerts.observer());
        }
        worker
    }

    /// Tells the last of a worker that has ended.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves out what was not told yet.
    #[cfg_attr(
        not(feature = "smtp"),
        expect(clippy::unused_async, reason = "only mails take time")
    )]
    pub async fn close(self) {
        #[cfg(feature = "smtp")]
        {
            let mut health = self;
            if let Some(alerts) = health.alerts.take() {
                alerts.end().await;
            }
        }
    }

    /// Speaks of this worker from now on. Only the first one counts.
    pub fn attend(&mut self, worker: &RunningWorker) {
        let watcher = worker.watcher();
        if self.shared.worker.set(watcher.clone()).is_err() {
            return;
        }
        let (file, systemd) = (self.file.clone(), self.systemd.clone());
        if file.is_some() || systemd.is_some() {
            let beating = beat(watcher.clone(), file, systemd);
            self.tasks.push(tokio::spawn(beating));
        }
        if let Some(statsd) = self.statsd.clone() {
            self.tasks.push(tokio::spawn(count(watcher, statsd)));
        }
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        let last = self.shared.worker.get().and_then(Watcher::last);
        if let (Some(statsd), Some(last)) = (&self.statsd, last) {
            statsd.count(&last);
            statsd.gauge(false, &last, &[]);
        }
        if let Some(file) = &self.file {
            file.remove();
        }
    }
}

/// Touches the file and tells systemd, as long as the worker lives.
async fn beat(watcher: Watcher, file: Option<Arc<HealthFile>>, systemd: Option<Arc<Systemd>>) {
    let watchdog = systemd.as_ref().and_then(|systemd| systemd.watchdog());
    let often = watchdog.map_or(BEAT, |watchdog| BEAT.min(watchdog / 2));
    let mut ticks = interval(often.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    if let Some(systemd) = &systemd {
        systemd.tell("READY=1\nSTATUS=consuming");
    }
    let mut orders = watcher.clone();
    let mut stopping = false;
    loop {
        tokio::select! {
            () = orders.stopping(), if !stopping => {
                stopping = true;
                if let Some(systemd) = &systemd {
                    systemd.tell("STOPPING=1\nSTATUS=stopping");
                }
            }
            _ = ticks.tick() => {
                if watcher.life().await == Life::Stuck {
                    warn!("the dispatcher does not answer");
                    continue;
                }
                if let Some(file) = &file {
                    file.touch();
                }
                if let Some(systemd) = &systemd && watchdog.is_some() {
                    systemd.tell("WATCHDOG=1");
                }
            }
        }
    }
}

/// Sends counts and gauges, as long as the worker lives. What is left at its end is sent by [`Health`].
async fn count(watcher: Watcher, statsd: Arc<Statsd>) {
    let mut ticks = interval(COUNTS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(look) = watcher.look().await else {
            continue;
        };
        statsd.count(&look.metrics);
        let queues = counters::depths(&watcher, &look.metrics).await;
        statsd.gauge(look.readiness.is_ok(), &look.metrics, &queues);
    }
}
