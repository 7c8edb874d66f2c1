//! Where logs go, and how they look.

use std::io;

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};

/// How logs are written. They go to standard error.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct LogArgs {
    /// The least that is logged [default: info for workers, else warn]
    #[arg(
        long,
        short = 'l',
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
    Error,
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

    /// Sends logs to standard error, unless the program has seen to them itself already.
    pub(super) fn install(self, is_worker: bool) {
        let level = match self.log_level {
            Some(LogLevel::Off) => LevelFilter::OFF,
            Some(LogLevel::Error) => LevelFilter::ERROR,
            Some(LogLevel::Info) => LevelFilter::INFO,
            Some(LogLevel::Debug) => LevelFilter::DEBUG,
            Some(LogLevel::Trace) => LevelFilter::TRACE,
            None if is_worker => LevelFilter::INFO,
            Some(LogLevel::Warn) | None => LevelFilter::WARN,
        };
        let logs = tracing_subscriber::fmt()
            .with_writer(io::stderr)
            .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
            .with_env_filter(filter(level));
        // An error here means that there is a subscriber already, and it stays.
        let _ = match self.log_format {
            LogFormat::Text => tracing_subscriber::util::SubscriberInitExt::try_init(
                logs.with_target(false).finish(),
            ),
            LogFormat::Json => {
                tracing_subscriber::util::SubscriberInitExt::try_init(logs.json().finish())
            }
        };
    }
}

/// Everything up to `level`, but not what the client of AMQP calls an error: each is told by us too,
/// with the remedy, and once rather than with every try.
fn filter(level: LevelFilter) -> EnvFilter {
    let client = if level > LevelFilter::INFO {
        level
    } else {
        LevelFilter::OFF
    };
    EnvFilter::new(format!("{level},lapin={client}"))
}
