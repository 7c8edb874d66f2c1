//! Where logs go, and how they look.

use std::io;

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use super::WorkerTraces;

/// How logs are written. They go to standard error.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct LogArgs {
    /// The least that is logged [default: info for workers, else warn]
    #[arg(
        long,
        short = 'l',
        alias = "loglevel",
        global = true,
        value_enum,
        value_name = "LEVEL",
        ignore_case = true
    )]
    log_level: Option<LogLevel>,
    /// How logs are written: lines for people, or one JSON object per line
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "text"
    )]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogLevel {
    #[value(aliases = ["critical", "fatal"])]
    Error,
    #[value(alias = "warning")]
    Warn,
    Info,
    Debug,
    Trace,
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl LogArgs {
    /// Whether a person is to read what is printed beside the logs.
    pub(super) fn is_text(self) -> bool {
        self.log_format == LogFormat::Text
    }

    /// Sends logs of a worker with these traces, or of another command, to standard error, unless the
    /// program has seen to them itself already.
    pub(super) fn install(self, traces: Option<&WorkerTraces>) {
        let level = match self.log_level {
            Some(LogLevel::Off) => LevelFilter::OFF,
            Some(LogLevel::Error) => LevelFilter::ERROR,
            Some(LogLevel::Info) => LevelFilter::INFO,
            Some(LogLevel::Debug) => LevelFilter::DEBUG,
            Some(LogLevel::Trace) => LevelFilter::TRACE,
            None if traces.is_some() => LevelFilter::INFO,
            Some(LogLevel::Warn) | None => LevelFilter::WARN,
        };
        let lines = fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(io::IsTerminal::is_terminal(&io::stderr()));
        let lines = match self.log_format {
            LogFormat::Text => lines.with_target(false).boxed(),
            LogFormat::Json => lines.json().boxed(),
        };
        // An error here means that there is a subscriber already, and it stays.
        let _ = tracing_subscriber::registry()
            .with(lines.with_filter(filter(level)))
            .with(traces.and_then(WorkerTraces::layer))
            .try_init();
    }
}

/// What comes through at `level`.
///
/// The client of RabbitMQ reports as errors what the driver takes care of, or reports itself with the
/// remedy; whoever debugs sees it.
fn filter(level: LevelFilter) -> Targets {
    let below = match level {
        LevelFilter::DEBUG | LevelFilter::TRACE => level,
        _ => LevelFilter::OFF,
    };
    Targets::new()
        .with_default(level)
        .with_target("lapin", below)
}
