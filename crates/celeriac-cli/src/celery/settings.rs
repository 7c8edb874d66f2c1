//! What a worker is to do, from its flags, the environment and the app's settings, in this order.

use std::env;
use std::ffi::OsStr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use celeriac_core::{Limits, QueueName, Routes, Topology};
use celeriac_python::{AppReport, PoolKind, PoolSettings};
use celeriac_worker::WorkerSettings;
use serde_json::Value;

use super::failure::Failure;
use super::flags::{Flags, Optimization, StartMethod};
use super::queues;
use super::state_db::StateDb;
use super::value::{Autoscale, Concurrency, seconds_of};

/// What Celery has if nobody says how much is fetched.
const PREFETCH_MULTIPLIER: usize = 4;

/// Longer than any task: a warm shutdown that waits for what runs, as Celery's does.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// The pool of this name, and what to say of it.
fn pool_named(name: &str) -> Result<(PoolKind, Option<String>), Failure> {
    // An app's settings may name a pool by its class.
    let name = match name.split_once(':') {
        Some((module, _)) => module.trim_start_matches("celery.concurrency."),
        None => name,
    };
    let kind = match name {
        "prefork" | "processes" => PoolKind::Prefork,
        "solo" => PoolKind::Solo,
        "threads" | "thread" => PoolKind::Threads,
        "coroutines" | "asyncio" | "aio" => PoolKind::Coroutines,
        "gevent" | "eventlet" => {
            let notice = format!(
                "there is no {name} here: tasks run in threads, each with its stack, and nothing is \
                 monkey-patched; tasks that are `async def` run at once by the hundred with \
                 `-P coroutines`"
            );
            return Ok((PoolKind::Threads, Some(notice)));
        }
        other => {
            let help = "use prefork, solo, threads or coroutines; a pool of the app's own runs only \
                        under `celery worker`";
            return Err(Failure::usage(format!("there is no pool `{other}`")).help(help));
        }
    };
    Ok((kind, None))
}

/// All that flags and settings say.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) worker: WorkerSettings,
    pub(crate) topology: Arc<Topology>,
    pub(crate) pool: PoolSettings,
    /// The bounds of its size, if it follows the work.
    pub(crate) autoscale: Option<Autoscale>,
    /// Time limits of tasks that have none.
    pub(crate) limits: Limits,
    /// How long a cold shutdown lets go on what runs (`worker_soft_shutdown_timeout`).
    pub(crate) soft_shutdown: Option<Duration>,
    /// Where it is kept what was revoked, if the broker cannot.
    pub(crate) state_db: Option<StateDb>,
    /// Whether events are asked for.
    pub(crate) events: bool,
    /// What the user should know.
    pub(crate) notices: Vec<String>,
}

impl Plan {
    /// The plan of a worker called `node`, on a broker that is `strict` with declarations.
    pub(crate) fn of(
        flags: &Flags,
        report: &AppReport,
        node: &str,
        strict: bool,
    ) -> Result<Self, Failure> {
        let mut notices = notices(flags, report);
        let (kind, notice) = pool_kind(flags, report)?;
        notices.extend(notice);
        let mut state_db = None;
        match report.setting("worker_state_db").and_then(Value::as_str) {
            Some(named) if strict => state_db = Some(StateDb::open(named)?),
            Some(_) => notices
                .push("--statedb is not needed: what was revoked is kept in the broker".to_owned()),
            None => {}
        }
        let mut definitions = Vec::new();
        let mut names = Vec::new();
        for one in &report.queues {
            let queue = queues::queue(one, strict)?;
            // A broadcast is taken from by the name that all share.
            let name = match queue.bindings().first() {
                Some(binding) if queue.is_broadcast() => &binding.exchange.name,
                _ => &one.name,
            };
            names.push(queue_name(name)?);
            definitions.push(queue);
        }
        if names.is_empty() {
            return Err(Failure::usage("no queue is left to take from")
                .help("leave out fewer with `-X`, or name some with `-Q`"));
        }
        let topology = Topology::new(definitions).map_err(|error| {
            Failure::usage("the app's queues cannot be declared").because(error)
        })?;
        let topology = Arc::new(topology);
        let mut worker = WorkerSettings::default();
        node.clone_into(&mut worker.name);
        worker.queues = names;
        worker.routes = routes(report, topology.clone())?;
        worker.prefetch.multiplier = prefetch(flags, report).saturating_sub(1);
        worker.delivery_limit = flags.ours.delivery_limit;
        let grace = flags.ours.grace.filter(|grace| !grace.is_zero());
        worker.grace = grace.unwrap_or(FOR_EVER);
        worker.revoked = state_db.as_ref().map_or_else(Vec::new, StateDb::revoked);
        Ok(Self {
            worker,
            topology,
            state_db,
            pool: pool(flags, report, kind, &mut notices),
            autoscale: flags
                .features
                .autoscale
                .filter(|_| kind == PoolKind::Prefork),
            limits: limits(flags, report),
            soft_shutdown: report
                .setting("worker_soft_shutdown_timeout")
                .and_then(Value::as_f64)
                .and_then(seconds_of),
            events: flags.pool.task_events || truth(report, "worker_send_task_events"),
            notices,
        })
    }

    /// The concurrency, as banners show it.
    pub(crate) fn concurrency(&self) -> String {
        let (children, slots) = (self.pool.children, self.pool.slots);
        match self.autoscale {
            Some(Autoscale { most, fewest }) => format!("{{min={fewest}, max={most}}}"),
            None if children.get() > 1 && slots.get() > 1 => format!("{children} x {slots}"),
            None => children.saturating_mul(slots).to_string(),
        }
    }
}

fn queue_name(name: &str) -> Result<QueueName, Failure> {
    let parsed = QueueName::new(name);
    parsed.map_err(|error| Failure::usage(format!("`{name}` can be no queue")).because(error))
}

fn routes(report: &AppReport, topology: Arc<Topology>) -> Result<Routes, Failure> {
    let routes = Routes::new().through(topology);
    Ok(match report.default_queue.as_str() {
        "" => routes,
        name => routes.default_queue(queue_name(name)?),
    })
}

/// The setting as a whole number above 0.
fn number(report: &AppReport, name: &str) -> Option<u64> {
    let value = report.setting(name)?;
    value.as_u64().filter(|number| *number > 0)
}

fn truth(report: &AppReport, name: &str) -> bool {
    report.setting(name).and_then(Value::as_bool) == Some(true)
}

/// How many calls are fetched for each slot. As with Celery, a flag of 0 says nothing, and a setting of
/// 0 means that there is no bound.
fn prefetch(flags: &Flags, report: &AppReport) -> usize {
    if flags.worker.disable_prefetch || truth(report, "worker_disable_prefetch") {
        return 1;
    }
    let flag = flags.worker.prefetch_multiplier.filter(|it| *it > 0);
    let setting = report.setting("worker_prefetch_multiplier");
    let setting = setting
        .and_then(Value::as_u64)
        .map(|setting| match setting {
            0 => usize::MAX,
            setting => usize::try_from(setting).unwrap_or(usize::MAX),
        });
    flag.or(setting).unwrap_or(PREFETCH_MULTIPLIER)
}

fn limits(flags: &Flags, report: &AppReport) -> Limits {
    let limit = |flag: Option<f64>, name| {
        let setting = report.setting(name).and_then(Value::as_f64);
        flag.or(setting).and_then(seconds_of)
    };
    Limits {
        soft: limit(flags.pool.soft_time_limit, "task_soft_time_limit"),
        hard: limit(flags.pool.time_limit, "task_time_limit"),
    }
}

fn pool_kind(flags: &Flags, report: &AppReport) -> Result<(PoolKind, Option<String>), Failure> {
    let setting = report.setting("worker_pool").and_then(Value::as_str);
    // As with Celery, `-P prefork` gives way to what the app's settings say.
    let name = match (flags.pool.pool.as_deref(), setting) {
        (None | Some("prefork"), Some(setting)) => setting,
        (flag, _) => flag.unwrap_or("prefork"),
    };
    pool_named(name)
}

fn pool(
    flags: &Flags,
    report: &AppReport,
    kind: PoolKind,
    notices: &mut Vec<String>,
) -> PoolSettings {
    let flag = match flags.pool.concurrency {
        None | Some(Concurrency::Of(0)) => None,
        Some(Concurrency::Of(number)) => NonZeroUsize::new(number),
        Some(Concurrency::Auto) => Some(processors()),
    };
    let setting = report.setting("worker_concurrency");
    let setting = setting
        .and_then(Value::as_u64)
        .and_then(|number| usize::try_from(number).ok().and_then(NonZeroUsize::new));
    let autoscale = flags.features.autoscale;
    let concurrency = flag.or(setting).unwrap_or_else(processors);
    let most = autoscale.and_then(|bounds| NonZeroUsize::new(bounds.most));
    let one = NonZeroUsize::MIN;
    let (children, slots) = match kind {
        PoolKind::Prefork => (most.unwrap_or(concurrency), one),
        PoolKind::Solo => (one, one),
        PoolKind::Threads => (one, concurrency),
        PoolKind::Coroutines => (flags.ours.processes.unwrap_or(one), concurrency),
    };
    if autoscale.is_some() && kind != PoolKind::Prefork {
        notices.push(format!(
            "--autoscale means nothing to the pool `{}`",
            kind.as_str()
        ));
    }
    if flags.ours.processes.is_some() && kind != PoolKind::Coroutines {
        notices.push("--processes is for `-P coroutines`; use -c".to_owned());
    }
    let max_tasks = flags
        .pool
        .max_tasks_per_child
        .or(flags.dead.maxtasksperchild);
    let max_tasks = max_tasks.or(number(report, "worker_max_tasks_per_child"));
    let max_kib = flags.pool.max_memory_per_child;
    let max_kib = max_kib.or(number(report, "worker_max_memory_per_child"));
    let fewest = autoscale.map(|bounds| bounds.fewest);
    let fewest = fewest.and_then(|fewest| NonZeroUsize::new(fewest.max(1)));
    let mut settings = PoolSettings::prefork(children);
    settings.kind = kind;
    settings.slots = slots;
    if kind == PoolKind::Prefork {
        settings.fewest = fewest.unwrap_or(children);
    }
    match keep_alive(env::var_os(KEEP_ALIVE).as_deref()) {
        Ok(Some(time)) => settings.keep_alive = time,
        Ok(None) => {}
        Err(text) => notices.push(format!(
            "{KEEP_ALIVE} is no number of seconds, and has no effect: {text}"
        )),
    }
    settings.fair = flags.worker.optimization == Some(Optimization::Fair);
    settings.max_tasks = max_tasks.and_then(NonZeroU64::new);
    let bytes = max_kib.map(|kib| kib.saturating_mul(1024));
    settings.max_memory_bytes = bytes.and_then(NonZeroU64::new);
    settings.tells_received = report.listening.iter().any(|name| name == "task_received");
    settings
}

fn processors() -> NonZeroUsize {
    available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// What is said of flags that do something else than with Celery, or nothing.
fn notices(flags: &Flags, report: &AppReport) -> Vec<String> {
    let mut notices = report.warnings.clone();
    for flag in flags.dead() {
        notices.push(format!(
            "{flag} is of an old Celery, and means nothing any more"
        ));
    }
    if flags.pool.pool_start_method == Some(StartMethod::Spawn) {
        notices.push(
            "--pool-start-method=spawn: children are forked from a process that has imported the \
             app and started no thread"
                .to_owned(),
        );
    }
    if flags.worker.prefetch_multiplier == Some(0) {
        notices.push("--prefetch-multiplier 0 says nothing, as with Celery".to_owned());
    }
    notices
}

/// The variable by which Celery is told how long there must have been too many children before one leaves.
const KEEP_ALIVE: &str = "AUTOSCALE_KEEPALIVE";

/// What it says, or the text that says nothing.
fn keep_alive(variable: Option<&OsStr>) -> Result<Option<Duration>, String> {
    let Some(text) = variable else {
        return Ok(None);
    };
    let text = text.to_string_lossy();
    let seconds = text.trim().parse().ok();
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.map(Some).ok_or_else(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::ffi::OsString;

    fn plan(line: &str, settings: &Value) -> Result<Plan, Failure> {
        let words = ["celeriac", "-A", "proj"]
            .into_iter()
            .chain(line.split_whitespace());
        let flags = Flags::read(words.map(OsString::from)).unwrap();
        let report: AppReport = serde_json::from_value(json!({
            "queues": [{"name": "celery", "routing_key": "celery",
                        "exchange": {"name": "celery", "type": "direct"}}],
            "default_queue": "celery",
            "settings": settings,
        }))
        .unwrap();
        Plan::of(&flags, &report, "celery@box", true)
    }

    #[test]
    fn a_flag_counts_more_than_a_setting() {
        let settings = json!({
            "worker_concurrency": 3, "worker_prefetch_multiplier": 2, "task_time_limit": 9,
            "worker_max_tasks_per_child": 5, "worker_max_memory_per_child": 100,
            "worker_soft_shutdown_timeout": 2.5,
        });
        let of_settings = plan("", &settings).unwrap();
        assert_eq!(of_settings.soft_shutdown, Some(Duration::from_millis(2500)));
        assert_eq!(of_settings.pool.children.get(), 3);
        assert_eq!(of_settings.worker.prefetch.multiplier, 1);
        assert_eq!(of_settings.limits.hard, Some(Duration::from_secs(9)));
        assert_eq!(of_settings.pool.max_tasks.map(NonZeroU64::get), Some(5));
        let bytes = of_settings.pool.max_memory_bytes.map(NonZeroU64::get);
        assert_eq!(bytes, Some(102_400));
        let line = "-c 4 --prefetch-multiplier 8 --time-limit 0.5 --max-tasks-per-child 1 -O fair";
        let of_flags = plan(line, &settings).unwrap();
        assert_eq!(of_flags.pool.children.get(), 4);
        assert_eq!(of_flags.worker.prefetch.multiplier, 7);
        assert_eq!(of_flags.limits.hard, Some(Duration::from_millis(500)));
        assert_eq!(of_flags.pool.max_tasks.map(NonZeroU64::get), Some(1));
        assert!(of_flags.pool.fair);
    }

    #[test]
    fn what_nobody_says_is_as_with_celery() {
        let plan = plan("", &json!({})).unwrap();
        assert_eq!(plan.pool.kind, PoolKind::Prefork);
        assert_eq!(plan.pool.children, processors());
        assert_eq!(plan.worker.prefetch.multiplier, 3);
        assert_eq!(plan.worker.grace, FOR_EVER);
        assert_eq!(plan.worker.queues, [QueueName::default()]);
        assert!(plan.notices.is_empty(), "{:?}", plan.notices);
    }

    #[test]
    fn pools_have_their_children_and_slots() {
        for (line, kind, children, slots, notices) in [
            ("-P solo -c 9", PoolKind::Solo, 1, 1, 0),
            ("-P threads -c 9", PoolKind::Threads, 1, 9, 0),
            (
                "-P aio -c 500 --processes 2",
                PoolKind::Coroutines,
                2,
                500,
                0,
            ),
            ("-P gevent -c 50", PoolKind::Threads, 1, 50, 1),
            ("--autoscale 10,3", PoolKind::Prefork, 10, 1, 0),
            ("-P solo --autoscale 10,3", PoolKind::Solo, 1, 1, 1),
        ] {
            let plan = plan(line, &json!({})).unwrap();
            let pool = &plan.pool;
            let found = (pool.kind, pool.children.get(), pool.slots.get());
            assert_eq!(found, (kind, children, slots), "{line}");
            assert_eq!(plan.notices.len(), notices, "{:?}", plan.notices);
        }
        assert!(plan("-P custom", &json!({})).is_err());
        let threads = json!({"worker_pool": "celery.concurrency.thread:TaskPool"});
        assert_eq!(
            plan("-P prefork", &threads).unwrap().pool.kind,
            PoolKind::Threads
        );
    }

    #[test]
    fn the_variable_of_autoscaling_is_heeded_if_it_is_a_time() {
        assert_eq!(keep_alive(None), Ok(None));
        let half = Some(Duration::from_millis(500));
        assert_eq!(keep_alive(Some(" 0.5".as_ref())), Ok(half));
        for bad in ["", "-1", "soon", "inf"] {
            assert_eq!(keep_alive(Some(bad.as_ref())), Err(bad.to_owned()));
        }
    }

    #[test]
    fn what_means_something_else_is_said() {
        for line in ["--no-execv", "--pool-start-method spawn"] {
            assert_eq!(plan(line, &json!({})).unwrap().notices.len(), 1, "{line}");
        }
        // The flag has come over the setting, and RabbitMQ needs it.
        let settings = json!({"worker_state_db": "/nowhere/x.db"});
        let plan = plan("--statedb x.db", &settings).unwrap();
        assert!(plan.notices.is_empty() && plan.state_db.is_some());
    }
}
