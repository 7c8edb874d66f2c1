//! `worker`: takes calls from queues and runs them.

use std::io::{self, Write as _};
use std::num::NonZeroU32;
use std::thread;
use std::time::Duration;

use celeriac_core::{Place, QueueName, Registry, Routes};
use celeriac_health::{Health, HealthArgs};
use celeriac_worker::{Shutdown, Stopper, Worker, WorkerSettings, broker_stats, worker_name};
use clap::Args;
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::duration::{duration, show};
use super::exit::{Exit, Failure};
use super::pool::PoolArgs;
use super::{GlobalArgs, WorkerTraces, connect, pool};

/// How signals stop a worker, for `--help`.
pub(super) const SIGNALS: &str = "\
Signals:
  SIGTERM  warm: fetches nothing more, gives back at once what has not started, and what runs may
           finish within the grace; more of them change nothing
  SIGINT   one step harder each time: warm; soft, which tells what runs to stop; cold
  SIGQUIT  cold: kills what runs, where the pool can, and gives it back now
A stopped worker exits with 0.";

/// A worker as it is asked for.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(super) struct WorkerArgs {
    /// The queues it takes from, in turn, separated by commas; the default queue if none is named
    #[arg(long, short = 'Q', value_name = "NAMES", value_delimiter = ',')]
    queues: Vec<QueueName>,
    /// Takes from every queue that a task of this program is sent to, but not from these
    #[arg(
        long,
        short = 'X',
        value_name = "NAMES",
        value_delimiter = ',',
        conflicts_with = "queues"
    )]
    exclude_queues: Vec<QueueName>,
    #[command(flatten)]
    pool: PoolArgs,
    /// What it is called; %h is the host, %n the host without its domain, %d the domain
    #[arg(long, short = 'n', value_name = "NAME", default_value = "celeriac@%h")]
    hostname: String,
    /// How long calls may go on after SIGTERM before they are killed and given back
    #[arg(long, value_name = "DURATION", default_value = "25s", value_parser = duration)]
    grace: Duration,
    /// How often a call may be delivered, if its child dies each time, before it is dead
    #[arg(long, value_name = "N", default_value = "5")]
    delivery_limit: NonZeroU32,
    /// The fewest calls to hold ahead for each slot
    #[arg(long, value_name = "N", default_value = "1")]
    prefetch_multiplier: usize,
    /// Sends events of tasks to monitors from the start, and not only once one asks for them
    #[arg(long = "task-events", short = 'E', alias = "events")]
    task_events: bool,
    /// Sends no events of itself: neither that it starts and ends, nor that it is alive
    #[arg(long)]
    without_heartbeat: bool,
    /// Does not ask other workers at start which calls are revoked
    #[arg(long)]
    without_mingle: bool,
    /// Goes on beside another worker of the same name, and does not end at once
    #[arg(long)]
    allow_duplicate_name: bool,
    /// Tells the result backend when a call starts
    #[arg(long)]
    track_started: bool,
    /// Stops once there has been nothing to do for this long and the queues are empty
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    stop_when_idle: Option<Duration>,
    /// For how long nothing may be delivered before the broker is asked whether messages wait, in
    /// which case the worker consumes anew
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    stall_after: Duration,
    #[command(flatten, next_help_heading = "Health")]
    health: HealthArgs,
}

impl WorkerArgs {
    fn settings(
        &self,
        registry: &Registry,
        global: &GlobalArgs,
    ) -> Result<WorkerSettings, Failure> {
        let routes = connect::routes(global)?;
        let mut settings = WorkerSettings::default();
        settings.name = worker_name(&self.hostname);
        settings.queues = self.queues(registry, &routes, &global.default_queue)?;
        settings.routes = routes;
        settings.prefetch.multiplier = self.prefetch_multiplier;
        settings.delivery_limit = self.delivery_limit;
        settings.grace = self.grace;
        settings.stop_when_idle = self.stop_when_idle;
        settings.stall_after = Some(self.stall_after);
        settings.track_started = self.track_started;
        settings.control.task_events = self.task_events;
        settings.control.mingle = !self.without_mingle;
        settings.control.shares_name = self.allow_duplicate_name;
        if self.without_heartbeat {
            settings.control.heartbeat = None;
        }
        settings.control.about.topology = global.topology.clone();
        Ok(settings)
    }

    fn queues(
        &self,
        registry: &Registry,
        routes: &Routes,
        default: &QueueName,
    ) -> Result<Vec<QueueName>, Failure> {
        if !self.queues.is_empty() {
            return Ok(self.queues.clone());
        }
        if self.exclude_queues.is_empty() {
            let mut queues: Vec<_> = routes.topology().names().cloned().collect();
            if !queues.contains(default) {
                queues.insert(0, default.clone());
            }
            return Ok(queues);
        }
        let mut queues = routes.queues_of(registry)?;
        queues.retain(|queue| !self.exclude_queues.contains(queue));
        if queues.is_empty() {
            let message = "no queue is left to take from";
            return Err(Failure::new(Exit::Usage, message).help("name the queues with -Q instead"));
        }
        Ok(queues.into_iter().collect())
    }
}

pub(super) async fn run(
    args: WorkerArgs,
    global: &GlobalArgs,
    traces: Option<&WorkerTraces>,
) -> Result<Exit, Failure> {
    let registry = Registry::collect()?;
    registry.require_tasks()?;
    let mut settings = args.settings(&registry, global)?;
    let place = args.pool.place()?;
    let limits = args.pool.limits(&place)?;
    let url = connect::url(global)?;
    settings.control.about.broker = broker_stats(&url);
    // Before the broker is there: a probe that asks meanwhile hears that the worker starts.
    let mut health = Health::open(&args.health, &settings.name).await?;
    let broker = connect::open_or_create(global).await?;
    let executor = pool::open(&place, limits)?;
    if global.logs.is_text() {
        // The banner is a courtesy; a closed standard error is no reason not to work.
        let text = banner(&settings, &url.to_string(), &place, &registry);
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
    // Before the start, so that no signal finds the worker without its handlers.
    let (mut signals, listening) = listen()?;
    let name = settings.name.clone();
    let mut worker = Worker::new(broker, executor, registry, settings);
    if let Some(traces) = traces {
        worker = traces.attend(worker, url.scheme(), &name);
    }
    let worker = health.observe(worker).start().await?;
    health.attend(&worker);
    let stopper = worker.stopper();
    let listener = thread::Builder::new()
        .name("celeriac-signals".to_owned())
        .spawn(move || obey(&mut signals, &stopper))
        .map_err(|error| {
            Failure::new(Exit::Unexpected, "cannot listen to signals").because(error)
        })?;
    let ended = worker.wait().await;
    listening.close();
    // It only forwards signals, and was told to end.
    let _ = listener.join();
    health.close().await;
    ended?;
    Ok(Exit::Done)
}

fn listen() -> Result<(Signals, Handle), Failure> {
    let signals = Signals::new([SIGTERM, SIGINT, SIGQUIT]).map_err(|error| {
        Failure::new(Exit::Unexpected, "cannot listen to signals").because(error)
    })?;
    let handle = signals.handle();
    Ok((signals, handle))
}

/// Passes signals on until the listening ends.
fn obey(signals: &mut Signals, stopper: &Stopper) {
    let mut mode = None;
    for signal in signals.forever() {
        let next = climb(mode, signal);
        mode = Some(next);
        stopper.shutdown(next);
    }
}

/// The mode after one more signal.
fn climb(mode: Option<Shutdown>, signal: i32) -> Shutdown {
    match (signal, mode) {
        (SIGQUIT, _) => Shutdown::Cold,
        (SIGINT, Some(mode)) => mode.harder(),
        (_, mode) => mode.unwrap_or(Shutdown::Warm),
    }
}

fn banner(settings: &WorkerSettings, broker: &str, place: &Place, registry: &Registry) -> String {
    let queues: Vec<_> = settings.queues.iter().map(ToString::to_string).collect();
    let mut lines = vec![
        format!("{}  celeriac {}", settings.name, env!("CARGO_PKG_VERSION")),
        String::new(),
        format!("  broker    {broker}"),
        format!("  queues    {}", queues.join(", ")),
        format!("  pool      {place}"),
        format!("  delivery  at most {} times", settings.delivery_limit),
        format!("  grace     {}", show(settings.grace)),
        String::new(),
        "  tasks".to_owned(),
    ];
    lines.extend(
        registry
            .iter()
            .map(|task| match task.signature.strip_prefix(task.name) {
                Some(_) => format!("    {}", task.signature),
                None => format!("    {}: {}", task.name, task.signature),
            }),
    );
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(signals: &[i32]) -> Option<Shutdown> {
        signals
            .iter()
            .fold(None, |mode, &signal| Some(climb(mode, signal)))
    }

    #[test]
    fn the_ladder_is_the_documented_one() {
        use Shutdown::{Cold, Soft, Warm};
        for (signals, mode) in [
            (&[SIGTERM][..], Warm),
            (&[SIGTERM, SIGTERM, SIGTERM], Warm),
            (&[SIGINT], Warm),
            (&[SIGINT, SIGINT], Soft),
            (&[SIGINT, SIGINT, SIGINT], Cold),
            (&[SIGTERM, SIGINT], Soft),
            (&[SIGINT, SIGINT, SIGTERM], Soft),
            (&[SIGQUIT], Cold),
            (&[SIGTERM, SIGQUIT, SIGINT], Cold),
        ] {
            assert_eq!(after(signals), Some(mode), "{signals:?}");
        }
    }
}
