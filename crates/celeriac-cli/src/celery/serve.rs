//! The worker within its process: imports the app, connects, forks children, and serves until it is told
//! to stop.

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{BoxFuture, Broker, ResultBackend};
use celeriac_health::Health;
use celeriac_otel::{Traces, TracesError};
use celeriac_python::{AppReport, Interpreter, PythonApp, PythonPool, Stray};
use celeriac_worker::{RunningWorker, Shutdown, Worker};
use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::time::interval;

use super::banner::Banner;
use super::beat::{Beat, BeatCommand};
use super::connect::connect;
use super::control;
use super::daemon::DaemonSettings;
use super::failure::Failure;
use super::flags::Flags;
use super::log::{Lines, Log};
use super::log_file::LogFile;
use super::log_format::{self, LogFormat};
use super::observer::Received;
use super::orders::Orders;
use super::pidfile::PidFile;
use super::request::import_request;
use super::settings::Plan;
use super::signals::Step;
use super::start::Background;
use super::state_db::{self, StateDb};
use super::tasks;
use super::url::Stores;
use super::value::{Level, LogShape};
use super::worker::{Ended, take};

/// The name that Python knows the worker's logger by.
const LOGGER: &str = "celery.apps.worker";

/// The same for its consumer's.
const CONSUMER_LOGGER: &str = "celery.worker.consumer.consumer";

/// What is known before the app is imported.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) flags: &'a Flags,
    /// `celery@host`.
    pub(crate) node: String,
    pub(crate) python: Interpreter,
    pub(crate) logfile: Option<PathBuf>,
    /// Where spans of calls go, if they go anywhere, or why they do not.
    pub(crate) traces: Result<Option<Traces>, TracesError>,
}

/// A worker that runs, and what belongs to it.
struct Served {
    worker: RunningWorker,
    pool: Arc<PythonPool>,
    beat: Option<Beat>,
    listening: Listening,
    log: Log,
    /// How long a cold shutdown lets go on what runs, if it does.
    soft_shutdown: Option<Duration>,
    /// The file that the app's settings name.
    pidfile: Option<PidFile>,
    health: Health,
    state_db: Option<StateDb>,
}

/// The signals of Celery's main process that the app listens to.
struct Listening(Vec<String>);

impl Listening {
    /// Has the app's handlers of an event in the life of the worker called, if there are any.
    async fn tell(&self, pool: &PythonPool, event: &str, fields: Map<String, Value>) {
        let signal = format!("worker_{event}");
        if !self.0.contains(&signal) {
            return;
        }
        if let Err(error) = pool.lifecycle(event, fields).await {
            tracing::error!(%error, signal, "a handler of the app was not reached");
        }
    }
}

/// Serves until it is told to stop, or cannot go on.
pub(crate) async fn serve(
    start: &Start<'_>,
    background: &mut Option<Background>,
) -> Result<Ended, Failure> {
    let mut orders = Orders::listen(start.is_json())
        .map_err(|error| Failure::other("cannot listen to signals").because(error))?;
    let served = tokio::select! {
        served = bring_up(start, background) => served?,
        step = orders.next() => return Ok(ended(&step)),
    };
    let log = served.log.clone();
    let done = served.until_end(&mut orders).await;
    if let Err(failure) = &done {
        log.line(Level::Critical, LOGGER, &failure.to_string());
    }
    done?;
    Ok(orders
        .last()
        .map_or(Ended::With(ExitCode::SUCCESS), |step| ended(&step)))
}

impl Served {
    /// Serves until it is told to stop, and no process of the app is left.
    async fn until_end(self, orders: &mut Orders) -> Result<(), Failure> {
        let (pool, listening) = (self.pool, self.listening);
        let stopper = self.worker.stopper();
        let mut state_db = self.state_db;
        let (revocations, mut ticks) = (self.worker.revocations(), interval(state_db::EVERY));
        let waiting = self.worker.wait();
        tokio::pin!(waiting);
        let wanted = orders.stacks();
        let (mut soft, mut survey) = (self.soft_shutdown, None);
        let mut softly: Option<BoxFuture<'_, ()>> = None;
        let mut failure = None;
        let done = loop {
            tokio::select! {
                done = &mut waiting => break done,
                error = pool.failed(), if failure.is_none() => {
                    failure = Some(Failure::from(error));
                    stopper.shutdown(Shutdown::Cold);
                }
                () = under_way(&mut softly) => {
                    softly = None;
                    stopper.shutdown(Shutdown::Cold);
                }
                _ = ticks.tick(), if state_db.is_some() => StateDb::update(&mut state_db, &revocations).await,
                () = wanted.notified(), if survey.is_none() => {
                    survey = Some(Box::pin(pool.stacks()));
                }
                stacks = under_way::<Option<String>>(&mut survey) => {
                    survey = None;
                    let stacks = stacks.unwrap_or_default();
                    self.log.answer(LOGGER, &stacks);
                }
                step = orders.next() => {
                    for text in step.says.iter().filter(|_| self.log.is_json()) {
                        self.log.say(LOGGER, text);
                    }
                    StateDb::update(&mut state_db, &revocations).await;
                    let mut mode = step.shutdown;
                    if mode == Shutdown::Cold && let Some(soft) = soft.take() {
                        // A second order does not wait for it.
                        self.log.line(Level::Warning, "celery.worker", &initiating(soft));
                        mode = Shutdown::Warm;
                        softly = Some(Box::pin(tokio::time::sleep(soft)));
                    }
                    stopper.shutdown(mode);
                    if failure.is_none() {
                        listening.tell(&pool, "shutting_down", fields(&step)).await;
                    }
                }
            }
        };
        drop(self.beat);
        let _held = self.pidfile;
        if failure.is_none() {
            listening.tell(&pool, "shutdown", Map::new()).await;
        }
        pool.close().await;
        self.health.close().await;
        done?;
        failure.map_or(Ok(()), Err)
    }
}

/// What Celery says of a cold shutdown that waits first.
fn initiating(soft: Duration) -> String {
    let seconds = soft.as_secs_f64();
    format!("Initiating Soft Shutdown, terminating in {seconds:?} seconds")
}

/// Waits for what is under way, for ever if nothing is. Cancel safe.
async fn under_way<T>(future: &mut Option<BoxFuture<'_, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// What handlers of `worker_shutting_down` are told.
fn fields(step: &Step) -> Map<String, Value> {
    let how = match step.shutdown {
        Shutdown::Cold => "Cold",
        Shutdown::Warm | Shutdown::Soft => "Warm",
    };
    let fields = [
        ("signal", step.signal.into()),
        ("how", how.into()),
        ("exitcode", step.code.into()),
    ];
    fields
        .map(|(name, value): (_, Value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

fn ended(step: &Step) -> Ended {
    if step.again {
        Ended::Again
    } else {
        Ended::With(ExitCode::from(step.code))
    }
}

/// From the import of the app to the moment when it is ready.
async fn bring_up(
    start: &Start<'_>,
    background: &mut Option<Background>,
) -> Result<Served, Failure> {
    // Before the app is imported: a probe that asks meanwhile hears that the worker starts.
    let health = Health::open(&start.flags.health, &start.node).await?;
    let request = import_request(start.flags, &start.node, start.has_colours());
    let app = PythonApp::import(&start.python, request).await?;
    let daemon = DaemonSettings::of(&start.flags.daemon, app.report(), &start.node)?;
    if let Some(mask) = daemon.umask {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
    }
    let pidfile = daemon.pidfile.as_deref().map(take).transpose()?;
    let log = start.log(app.report(), daemon.logfile.as_deref())?;
    log.install();
    let mut served = connect_and_fork(start, app, &log, background, health).await;
    if let Err(failure) = &served
        && start.flags.worker.detach
    {
        // Nobody may be at the terminal any more.
        log.line(Level::Critical, LOGGER, &failure.to_string());
    }
    if served.is_ok()
        && let Some(background) = background.take()
    {
        background.stands_alone("");
    }
    if let Ok(served) = &mut served {
        served.pidfile = pidfile;
    }
    served
}

async fn connect_and_fork(
    start: &Start<'_>,
    app: PythonApp,
    log: &Log,
    background: &mut Option<Background>,
    mut health: Health,
) -> Result<Served, Failure> {
    let flags = start.flags;
    let report = app.report().clone();
    let stores = Stores::of(&report.broker, &report.results)?;
    let scheme = stores.broker.scheme();
    let strict = scheme.contains("amqp");
    let plan = Plan::of(flags, &report, &start.node, strict)?;
    let registry = tasks::registry(&report, plan.limits)?;
    start.banner(&report, &plan, &stores);
    for notice in plan.notices.iter().chain(&unknown(&stores)) {
        log.line(Level::Warning, LOGGER, notice);
    }
    let shown = shown(&report, &stores);
    let broker = connect(&stores, &plan, &report, &shown, |line| {
        log.line(Level::Error, CONSUMER_LOGGER, line);
        // It may take long, and is no failure yet.
        if let Some(background) = background.take() {
            background.stands_alone(line);
        }
    });
    let broker = broker.await?;
    log.line(Level::Info, LOGGER, &format!("Connected to {shown}"));
    if flags.queues.purge {
        purge(&*broker, &plan, log).await?;
    }
    let mut settings = plan.pool;
    settings.piped = stores.keeps_results;
    settings.stray_results = broker.results().filter(|_| settings.piped).map(stray);
    let pool = Arc::new(app.start(settings));
    pool.ready().await?;
    let mut settings = plan.worker;
    settings.control = control::settings(flags, &report, &stores, plan.topology, &pool);
    let mut worker = Worker::for_runtime(broker, pool.clone(), registry, settings);
    // Otherwise the lines are the app's own logging to write, or nobody's to read.
    if report.log.is_default && log.shows(Level::Info) {
        worker = worker.observer(Arc::new(Received::new(log.clone())));
    }
    match &start.traces {
        Ok(None) => {}
        Ok(Some(traces)) => {
            worker = worker.tracer(traces.tracer(scheme, &start.node));
        }
        Err(error) => {
            let error: &(dyn Error + 'static) = error;
            tracing::warn!(error, "no traces are exported");
        }
    }
    let worker = health.observe(worker).start().await?;
    let beat = flags
        .beat
        .beat
        .then(|| Beat::start(start.beat()))
        .transpose();
    let beat = beat.map_err(|error| Failure::other("cannot start beat").because(error))?;
    let listening = Listening(report.listening.clone());
    listening.tell(&pool, "ready", Map::new()).await;
    health.attend(&worker);
    if let Some(address) = health.address() {
        log.line(
            Level::Info,
            LOGGER,
            &format!("Health is served at http://{address}"),
        );
    }
    log.line(Level::Info, LOGGER, &format!("{} ready.", start.node));
    Ok(Served {
        worker,
        pool,
        beat,
        listening,
        log: log.clone(),
        soft_shutdown: plan.soft_shutdown,
        pidfile: None,
        health,
        state_db: plan.state_db,
    })
}

/// Stores what is told outside of any call, such as the state that a handler gives a call of its own.
fn stray(results: Arc<dyn ResultBackend>) -> Stray {
    let (tell, mut told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(result) = told.recv().await {
            if let Err(error) = results.store_encoded(vec![result]).await {
                let error: &(dyn Error + 'static) = &error;
                tracing::error!(error, "a result could not be stored");
            }
        }
    });
    Stray(Arc::new(move |result| {
        // The runtime ends after the pool, which alone calls this.
        let _ = tell.send(result);
    }))
}

fn unknown(stores: &Stores) -> Vec<String> {
    let unknown = stores.unknown.iter();
    unknown
        .map(|name| format!("the transport option `{name}` is not known here, and has no effect"))
        .collect()
}

/// The broker as Celery shows it.
fn shown(report: &AppReport, stores: &Stores) -> String {
    let shown = report.broker.shown.clone();
    shown.unwrap_or_else(|| stores.broker.to_string())
}

/// Drops what waits in the queues that it takes from.
async fn purge(broker: &dyn Broker, plan: &Plan, log: &Log) -> Result<(), Failure> {
    let mut count = 0;
    for queue in &plan.worker.queues {
        count += broker.purge(queue).await?;
    }
    if count > 0 {
        let messages = if count == 1 { "message" } else { "messages" };
        let text = format!("purge: Erased {count} {messages} from the queue.\n");
        log.say(LOGGER, &text);
    }
    Ok(())
}

impl Start<'_> {
    fn level(&self) -> Level {
        self.flags.worker.loglevel.unwrap_or(Level::Warning)
    }

    /// The log of the worker, in the format of the app.
    fn log(&self, report: &AppReport, of_settings: Option<&Path>) -> Result<Log, Failure> {
        let path = self.logfile.as_deref().or(of_settings);
        let file = match path {
            None => LogFile::Stderr,
            Some(path) => LogFile::open(path).map_err(|error| {
                Failure::other(format!("cannot log to {}", path.display())).because(error)
            })?,
        };
        let colours = self.has_colours() && path.is_none();
        let lines = self.lines(report);
        Ok(Log::new(file, lines, self.level(), colours))
    }

    fn is_json(&self) -> bool {
        self.flags.ours.log_format == LogShape::Json
    }

    fn lines(&self, report: &AppReport) -> Lines {
        if self.is_json() {
            return Lines::Json;
        }
        let zone = report
            .log
            .tz
            .as_deref()
            .and_then(|name| TimeZone::get(name).ok());
        let format = report.log.format.as_deref().unwrap_or(log_format::DEFAULT);
        let format = LogFormat::new(format, zone.unwrap_or_else(TimeZone::system))
            .times(report.log.datefmt.as_deref());
        Lines::Text(format)
    }

    fn has_colours(&self) -> bool {
        !self.flags.global.no_color && self.logfile.is_none() && io::stderr().is_terminal()
    }

    fn banner(&self, report: &AppReport, plan: &Plan, stores: &Stores) {
        if self.flags.global.quiet || self.is_json() {
            return;
        }
        let results = match (&report.results.shown, &stores.results) {
            (Some(shown), _) => shown.clone(),
            (None, Some(url)) => url.to_string(),
            (None, None) => "disabled://".to_owned(),
        };
        let level = self.level();
        let banner = Banner {
            report,
            node: &self.node,
            app: &self.flags.global.app,
            transport: &shown(report, stores),
            results: &results,
            concurrency: plan.concurrency(),
            pool: plan.pool.kind.as_str(),
            events: plan.events,
            tasks: (level <= Level::Info).then_some(level == Level::Debug),
            time: jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string(),
        };
        let text = banner.text();
        let mut out = io::stdout().lock();
        // The banner is a courtesy; a closed standard output is no reason not to work.
        let _ = if !self.flags.global.no_color && io::stdout().is_terminal() {
            writeln!(out, "\x1b[1;36m{text}\x1b[0m")
        } else {
            writeln!(out, "{text}")
        };
    }

    /// How the app's own beat is started.
    fn beat(&self) -> BeatCommand {
        let global = &self.flags.global;
        let mut words = vec!["-A".into(), global.app.clone().into()];
        let mut option = |name: &str, value: Option<std::ffi::OsString>| {
            if let Some(value) = value {
                words.push(name.into());
                words.push(value);
            }
        };
        option("-b", global.broker.clone().map(Into::into));
        option("--loader", global.loader.clone().map(Into::into));
        option("--config", global.config.clone().map(Into::into));
        words.push("beat".into());
        let mut option = |name: &str, value: Option<std::ffi::OsString>| {
            if let Some(value) = value {
                words.push(name.into());
                words.push(value);
            }
        };
        let beat = &self.flags.beat;
        option("-s", beat.schedule.clone().map(Into::into));
        option("--scheduler", beat.scheduler.clone().map(Into::into));
        option("-l", Some(self.level().as_str().into()));
        option("-f", self.logfile.clone().map(Into::into));
        BeatCommand {
            python: self.python.path().to_owned(),
            words,
        }
    }
}
