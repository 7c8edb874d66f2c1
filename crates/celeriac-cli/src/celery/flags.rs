//! The flags of a worker for a Celery app: those of `celery` and of `celery worker`, and ours.
//!
//! The words are read without the command, so that the global flags may stand on either side of it. As
//! with Celery, the last of a flag that is given twice counts, and what a flag does not say is looked up
//! in a variable of the environment, then in the app's settings.
//!
//! # Sources
//!
//! `celery/bin/celery.py`, `celery/bin/worker.py` and `celery/bin/base.py` of 5.3 to 5.7; the variables are
//! those that Click makes of the names with the prefix `CELERY`.

use std::ffi::{OsStr, OsString};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use celeriac_health::HealthArgs;
use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, ValueEnum};

use super::value::{Autoscale, Concurrency, Level, LogShape, autoscale, concurrency, grace, level};

/// Serves the tasks of a Celery app, as `celery worker` does
#[derive(Debug, Parser)]
#[command(
    name = "celeriac -A PROJ worker",
    bin_name = "celeriac -A PROJ worker",
    disable_version_flag = true,
    args_override_self = true,
    max_term_width = 100,
    after_help = "Other commands of `celeriac -A PROJ` are those of the app's own `celery`."
)]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) global: GlobalFlags,
    #[command(flatten, next_help_heading = "Worker")]
    pub(crate) worker: WorkerFlags,
    #[command(flatten, next_help_heading = "Pool")]
    pub(crate) pool: PoolFlags,
    #[command(flatten, next_help_heading = "Queues")]
    pub(crate) queues: QueueFlags,
    #[command(flatten, next_help_heading = "Features")]
    pub(crate) features: FeatureFlags,
    #[command(flatten, next_help_heading = "Beat beside the worker")]
    pub(crate) beat: BeatFlags,
    #[command(flatten, next_help_heading = "Daemon")]
    pub(crate) daemon: DaemonFlags,
    #[command(flatten, next_help_heading = "Of celeriac")]
    pub(crate) ours: OurFlags,
    #[command(flatten, next_help_heading = "Health")]
    pub(crate) health: HealthArgs,
    #[command(flatten)]
    pub(crate) dead: DeadFlags,
    /// Settings of the app for this worker: KEY=VALUE, as after `celery worker`
    #[arg(value_name = "KEY=VALUE", hide = true)]
    pub(crate) settings: Vec<String>,
    /// What was done before this process was started: see [`start`](super::start).
    #[arg(long, value_name = "STEP", hide = true, action = ArgAction::Append)]
    started: Vec<String>,
}

/// What every command of Celery takes.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct GlobalFlags {
    /// The app: a module, MODULE:ATTRIBUTE, or a package with a module `celery`
    #[arg(long, short = 'A', value_name = "APP")]
    pub(crate) app: String,
    /// The broker, instead of the app's own
    #[arg(long, short = 'b', value_name = "URL", hide_env_values = true)]
    pub(crate) broker: Option<String>,
    /// The result backend, instead of the app's own
    #[arg(long, value_name = "URL", hide_env_values = true)]
    pub(crate) result_backend: Option<String>,
    /// The class that loads the app's settings
    #[arg(long, value_name = "CLASS")]
    pub(crate) loader: Option<String>,
    /// The module of the app's settings
    #[arg(long, value_name = "MODULE")]
    pub(crate) config: Option<String>,
    /// Where to work
    #[arg(long, value_name = "FOLDER")]
    pub(crate) workdir: Option<PathBuf>,
    /// No colours
    #[arg(long, short = 'C', value_parser = FalseyValueParser::new())]
    pub(crate) no_color: bool,
    /// No banner
    #[arg(long, short = 'q', value_parser = FalseyValueParser::new())]
    pub(crate) quiet: bool,
    /// Prints the version
    #[arg(long)]
    pub(crate) version: bool,
    /// No checks of a Django project at start
    #[arg(long, value_parser = FalseyValueParser::new())]
    pub(crate) skip_checks: bool,
}

/// What concerns the worker itself.
#[derive(Debug, Args)]
pub(crate) struct WorkerFlags {
    /// What it is called: NAME@HOST, where %h is the host, %n its first part and %d its domain
    #[arg(
        long,
        short = 'n',
        value_name = "NAME",
        env = "CELERY_WORKER_HOSTNAME",
        hide_env = true
    )]
    pub(crate) hostname: Option<String>,
    /// Runs in the background
    #[arg(long, short = 'D', value_parser = FalseyValueParser::new(), env = "CELERY_WORKER_DETACH", hide_env = true)]
    pub(crate) detach: bool,
    /// Accepted: what was revoked is kept in the broker
    #[arg(
        long,
        short = 'S',
        value_name = "FILE",
        env = "CELERY_WORKER_STATEDB",
        hide_env = true
    )]
    pub(crate) statedb: Option<PathBuf>,
    /// The least that is logged: debug, info, warning, error, critical or fatal [default: warning]
    #[arg(long, short = 'l', value_name = "LEVEL", value_parser = level, env = "CELERY_WORKER_LOGLEVEL", hide_env = true)]
    pub(crate) loglevel: Option<Level>,
    /// With `fair` no call is sent ahead to a child that is busy
    #[arg(
        long,
        short = 'O',
        value_enum,
        value_name = "PROFILE",
        env = "CELERY_WORKER_OPTIMIZATION",
        hide_env = true
    )]
    pub(crate) optimization: Option<Optimization>,
    /// How many calls are fetched for each slot, with the one that runs [default: 4]
    #[arg(
        long,
        value_name = "N",
        env = "CELERY_WORKER_PREFETCH_MULTIPLIER",
        hide_env = true
    )]
    pub(crate) prefetch_multiplier: Option<usize>,
    /// Fetches a call only for a slot that is free
    #[arg(long, value_parser = FalseyValueParser::new(), env = "CELERY_WORKER_DISABLE_PREFETCH", hide_env = true)]
    pub(crate) disable_prefetch: bool,
}

/// `-O`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Optimization {
    /// Short calls are sent ahead.
    Default,
    /// None is.
    Fair,
}

/// What tasks run on, and how long.
#[derive(Debug, Args)]
pub(crate) struct PoolFlags {
    /// How many calls run at once; `auto` counts the processors that may be used [default: auto]
    #[arg(long, short = 'c', value_name = "N", value_parser = concurrency, env = "CELERY_WORKER_CONCURRENCY", hide_env = true)]
    pub(crate) concurrency: Option<Concurrency>,
    /// prefork, solo, threads or coroutines [default: prefork]
    #[arg(
        long,
        short = 'P',
        value_name = "POOL",
        env = "CELERY_WORKER_POOL",
        hide_env = true
    )]
    pub(crate) pool: Option<String>,
    /// Sends events of tasks to monitors
    #[arg(long = "task-events", short = 'E', alias = "events", value_parser = FalseyValueParser::new(), env = "CELERY_WORKER_TASK_EVENTS", hide_env = true)]
    pub(crate) task_events: bool,
    /// Kills a call that runs for so many seconds
    #[arg(
        long,
        value_name = "SECONDS",
        env = "CELERY_WORKER_TIME_LIMIT",
        hide_env = true
    )]
    pub(crate) time_limit: Option<f64>,
    /// Raises `SoftTimeLimitExceeded` in a call that runs for so many seconds
    #[arg(
        long,
        value_name = "SECONDS",
        env = "CELERY_WORKER_SOFT_TIME_LIMIT",
        hide_env = true
    )]
    pub(crate) soft_time_limit: Option<f64>,
    /// Replaces a child after so many calls
    #[arg(
        long,
        value_name = "N",
        env = "CELERY_WORKER_MAX_TASKS_PER_CHILD",
        hide_env = true
    )]
    pub(crate) max_tasks_per_child: Option<u64>,
    /// `fork`; with `spawn` a warning that children are forked
    #[arg(
        long,
        value_enum,
        value_name = "METHOD",
        env = "CELERY_WORKER_POOL_START_METHOD",
        hide_env = true
    )]
    pub(crate) pool_start_method: Option<StartMethod>,
    /// Replaces a child whose memory is above so many KiB
    #[arg(
        long,
        value_name = "KIB",
        env = "CELERY_WORKER_MAX_MEMORY_PER_CHILD",
        hide_env = true
    )]
    pub(crate) max_memory_per_child: Option<u64>,
}

/// How children start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StartMethod {
    /// As copies of the process that has imported the app.
    Fork,
    /// As new interpreters.
    Spawn,
}

/// Which queues it takes from.
#[derive(Debug, Args)]
pub(crate) struct QueueFlags {
    /// Drops every waiting message of these queues first
    #[arg(long, alias = "discard", value_parser = FalseyValueParser::new(), env = "CELERY_WORKER_PURGE", hide_env = true)]
    pub(crate) purge: bool,
    /// The queues it takes from, instead of all that the app defines
    #[arg(
        long,
        short = 'Q',
        value_name = "NAMES",
        env = "CELERY_WORKER_QUEUES",
        hide_env = true
    )]
    pub(crate) queues: Option<String>,
    /// Queues of the app that it does not take from
    #[arg(
        long,
        short = 'X',
        value_name = "NAMES",
        env = "CELERY_WORKER_EXCLUDE_QUEUES",
        hide_env = true
    )]
    pub(crate) exclude_queues: Option<String>,
    /// Further modules to import
    #[arg(
        long,
        short = 'I',
        value_name = "MODULES",
        env = "CELERY_WORKER_INCLUDE",
        hide_env = true
    )]
    pub(crate) include: Option<String>,
}

/// What can be left out.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct FeatureFlags {
    /// Accepted: workers do not gossip
    #[arg(long, value_parser = FalseyValueParser::new(), env = "CELERY_WORKER_WITHOUT_GOSSIP", hide_env = true)]
    pub(crate) without_gossip: bool,
    /// Does not ask other workers at start which calls are revoked
    #[arg(long, value_parser = FalseyValueParser::new(), env = "CELERY_WORKER_WITHOUT_MINGLE", hide_env = true)]
    pub(crate) without_mingle: bool,
    /// Goes on beside another worker of the same name, and does not end at once
    #[arg(long)]
    pub(crate) allow_duplicate_name: bool,
    /// No events of heartbeats
    #[arg(long, value_parser = FalseyValueParser::new(), env = "CELERY_WORKER_WITHOUT_HEARTBEAT", hide_env = true)]
    pub(crate) without_heartbeat: bool,
    /// Seconds between events of heartbeats
    #[arg(
        long,
        value_name = "SECONDS",
        env = "CELERY_WORKER_HEARTBEAT_INTERVAL",
        hide_env = true
    )]
    pub(crate) heartbeat_interval: Option<u64>,
    /// The most and the fewest calls at once, by what there is to do
    #[arg(long, value_name = "MAX,MIN", value_parser = autoscale, env = "CELERY_WORKER_AUTOSCALE", hide_env = true)]
    pub(crate) autoscale: Option<Autoscale>,
}

/// The app's own `celery beat`.
#[derive(Debug, Args)]
pub(crate) struct BeatFlags {
    /// Starts the app's own `celery beat` too
    #[arg(long, short = 'B', value_parser = FalseyValueParser::new(), env = "CELERY_WORKER_BEAT", hide_env = true)]
    pub(crate) beat: bool,
    /// Where it keeps its schedule
    #[arg(
        long = "schedule-filename",
        short = 's',
        alias = "schedule",
        value_name = "FILE",
        env = "CELERY_WORKER_SCHEDULE_FILENAME",
        hide_env = true
    )]
    pub(crate) schedule: Option<PathBuf>,
    /// The class of its scheduler
    #[arg(
        long,
        value_name = "CLASS",
        env = "CELERY_WORKER_SCHEDULER",
        hide_env = true
    )]
    pub(crate) scheduler: Option<String>,
}

/// What concerns a process in the background.
#[derive(Debug, Args)]
pub(crate) struct DaemonFlags {
    /// Where logs go, instead of standard error; with %n, %h, %d, %i and %I
    #[arg(
        long,
        short = 'f',
        value_name = "FILE",
        env = "CELERY_WORKER_LOGFILE",
        hide_env = true
    )]
    pub(crate) logfile: Option<String>,
    /// The file that holds its process id while it runs
    #[arg(
        long,
        value_name = "FILE",
        env = "CELERY_WORKER_PIDFILE",
        hide_env = true
    )]
    pub(crate) pidfile: Option<String>,
    /// The user to become
    #[arg(long, value_name = "USER", env = "CELERY_WORKER_UID", hide_env = true)]
    pub(crate) uid: Option<String>,
    /// The group to become
    #[arg(long, value_name = "GROUP", env = "CELERY_WORKER_GID", hide_env = true)]
    pub(crate) gid: Option<String>,
    /// The mask of permissions of new files: octal if it begins with 0
    #[arg(
        long,
        value_name = "MASK",
        env = "CELERY_WORKER_UMASK",
        hide_env = true
    )]
    pub(crate) umask: Option<String>,
    /// The interpreter, as `--python`
    #[arg(
        long,
        value_name = "FILE",
        env = "CELERY_WORKER_EXECUTABLE",
        hide_env = true
    )]
    pub(crate) executable: Option<PathBuf>,
}

/// What Celery has not.
#[derive(Debug, Args)]
pub(crate) struct OurFlags {
    /// The interpreter [default: that of the active virtual environment, else python3]
    #[arg(long, value_name = "FILE")]
    pub(crate) python: Option<PathBuf>,
    /// With `-P coroutines`: how many children, each with its `-c` [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) processes: Option<NonZeroUsize>,
    /// How long calls may go on after SIGTERM before they are given back: 25s, 5m, or 0 for as long
    /// as they need, which is Celery's way [default: 0]
    #[arg(long, value_name = "DURATION", value_parser = grace)]
    pub(crate) grace: Option<Duration>,
    /// How logs are written: in the app's format, or one JSON object per line
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogShape,
    /// How often a call may be delivered, if its child dies each time, before it is dead
    #[arg(long, value_name = "N", default_value = "5")]
    pub(crate) delivery_limit: NonZeroU32,
}

/// Flags of old versions that are accepted with a warning.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct DeadFlags {
    #[arg(long, hide = true)]
    pub(crate) no_execv: bool,
    #[arg(long, hide = true)]
    pub(crate) force_execv: bool,
    #[arg(long, hide = true)]
    pub(crate) autoreload: bool,
    #[arg(long, hide = true)]
    pub(crate) no_execution_pool: bool,
    #[arg(long, alias = "maxtasksperchild", value_name = "N", hide = true)]
    pub(crate) maxtasksperchild: Option<u64>,
}

/// The variables that a global flag is looked up in, the first that is set.
const GLOBAL_VARIABLES: &[(&str, [&str; 2])] = &[
    ("app", ["APP", "CELERY_APP"]),
    ("broker", ["BROKER_URL", "CELERY_BROKER"]),
    (
        "result_backend",
        ["RESULT_BACKEND", "CELERY_RESULT_BACKEND"],
    ),
    ("loader", ["LOADER", "CELERY_LOADER"]),
    ("config", ["CONFIG_MODULE", "CELERY_CONFIG"]),
    ("workdir", ["CELERY_WORKDIR", "CELERY_WORKDIR"]),
    ("no_color", ["NO_COLOR", "CELERY_NO_COLOR"]),
    ("quiet", ["CELERY_QUIET", "CELERY_QUIET"]),
    ("skip_checks", ["SKIP_CHECKS", "CELERY_SKIP_CHECKS"]),
];

impl Flags {
    /// The flags of these words, the first of which is the program's name.
    ///
    /// # Errors
    ///
    /// What there is to print of words that make no sense, or of a wish for help.
    pub(crate) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = command(|name| std::env::var_os(name)).try_get_matches_from(words)?;
        Self::from_arg_matches(&matches)
    }

    /// Whether this step was done before this process was started.
    pub(crate) fn is_done(&self, step: &str) -> bool {
        self.started.iter().any(|done| done == step)
    }

    /// The app's flags that this version of Celery has no more, and what to say of them.
    pub(crate) fn dead(&self) -> Vec<&'static str> {
        let dead = &self.dead;
        let given = [
            (dead.no_execv, "--no-execv"),
            (dead.force_execv, "--force-execv"),
            (dead.autoreload, "--autoreload"),
            (dead.no_execution_pool, "--no-execution-pool"),
            (dead.maxtasksperchild.is_some(), "--maxtasksperchild"),
        ];
        let given = given.into_iter().filter(|(given, _)| *given);
        given.map(|(_, name)| name).collect()
    }
}

/// The parser, with the variables that are set here.
pub(crate) fn command(environment: impl Fn(&OsStr) -> Option<OsString>) -> clap::Command {
    let mut command = Flags::command();
    for (flag, variables) in GLOBAL_VARIABLES {
        let set = |name: &&&str| environment(OsStr::new(name)).is_some_and(|it| !it.is_empty());
        let variable = variables.iter().find(set).unwrap_or(&variables[0]);
        command = command.mut_arg(flag, |arg| arg.env(*variable).hide_env(true));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(line: &str) -> Flags {
        let words = line.split_whitespace().map(OsString::from);
        Flags::read([OsString::from("celeriac")].into_iter().chain(words)).unwrap()
    }

    #[test]
    fn the_parser_is_consistent() {
        command(|_| None).debug_assert();
    }

    #[test]
    fn flags_are_read_however_they_are_written() {
        for line in [
            "-A proj -l INFO -c 4 -O fair -Q a,b",
            "-Aproj -linfo -c4 -Ofair -Qa,b",
            "--app=proj --loglevel=Info --concurrency=4 --optimization=fair --queues=a,b",
            "-A other -A proj -l debug -l info -c 1 -c 4 -Ofair -Q x -Q a,b",
        ] {
            let flags = flags(line);
            assert_eq!(flags.global.app, "proj");
            assert_eq!(flags.worker.loglevel, Some(Level::Info), "{line}");
            assert_eq!(flags.pool.concurrency, Some(Concurrency::Of(4)), "{line}");
            assert_eq!(flags.worker.optimization, Some(Optimization::Fair));
            assert_eq!(flags.queues.queues.as_deref(), Some("a,b"));
        }
    }

    #[test]
    fn what_is_no_more_is_named() {
        let flags = flags("-A proj --no-execv --maxtasksperchild 3");
        assert_eq!(flags.dead(), ["--no-execv", "--maxtasksperchild"]);
    }

    #[test]
    fn a_variable_stands_in_for_a_flag_and_the_first_one_counts() {
        let named = |set: &'static [&'static str]| {
            let command = command(move |name| {
                let found = set.iter().any(|one| OsStr::new(one) == name);
                found.then(|| "x".into())
            });
            let app = command.get_arguments().find(|arg| arg.get_id() == "app");
            app.and_then(|app| app.get_env()).map(ToOwned::to_owned)
        };
        assert_eq!(named(&["CELERY_APP"]), Some("CELERY_APP".into()));
        assert_eq!(named(&["CELERY_APP", "APP"]), Some("APP".into()));
    }
}
