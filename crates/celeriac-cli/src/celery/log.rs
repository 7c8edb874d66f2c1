//! The worker's log: Celery's lines, byte for byte, and our own in the same format.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::log_file::LogFile;
use super::log_format::{LogFormat, Record};
use super::value::Level;

/// Writes lines; copies write to the same place.
#[derive(Debug, Clone)]
pub(crate) struct Log(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: Mutex<LogFile>,
    format: LogFormat,
    level: Level,
    colours: bool,
}

impl Log {
    /// A log of what is at least of this level.
    pub(crate) fn new(file: LogFile, format: LogFormat, level: Level, colours: bool) -> Self {
        Self(Arc::new(Shared {
            file: Mutex::new(file),
            format,
            level,
            colours,
        }))
    }

    /// Has all that the program tells written there too.
    pub(crate) fn install(&self) {
        // An error here means that there is a subscriber already, and it stays.
        let _ = tracing_subscriber::registry().with(self.clone()).try_init();
    }

    /// Whether lines of this level are written.
    pub(crate) fn shows(&self, level: Level) -> bool {
        level >= self.0.level
    }

    /// Writes a line, if lines of its level are written.
    pub(crate) fn line(&self, level: Level, logger: &str, message: &str) {
        if self.shows(level) {
            self.write(level, logger, message);
        }
    }

    /// Writes what somebody has asked for, whatever the level.
    pub(crate) fn answer(&self, logger: &str, message: &str) {
        self.write(Level::Warning, logger, message);
    }

    fn write(&self, level: Level, logger: &str, message: &str) {
        let record = Record {
            level,
            logger,
            message,
        };
        let mut line = self.0.format.line(record, Timestamp::now());
        if self.0.colours
            && let Some(colour) = colour(level)
        {
            let text = line.trim_end_matches('\n');
            line = format!("\x1b[1;{colour}m{text}\x1b[0m\n");
        }
        let mut file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that cannot be written is no reason not to work.
        let _ = file.write(&line);
    }
}

/// The colour in which Celery shows a line on a terminal.
fn colour(level: Level) -> Option<u8> {
    match level {
        Level::Debug => Some(34),
        Level::Info => None,
        Level::Warning => Some(33),
        Level::Error => Some(31),
        Level::Critical => Some(35),
    }
}

fn level_of(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warning,
        tracing::Level::INFO => Level::Info,
        _ => Level::Debug,
    }
}

impl<S: Subscriber> Layer<S> for Log {
    /// What our crates tell; their news of a worker's life are for those who debug, since Celery has
    /// its own, and libraries are not heard.
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let level = match level_of(*metadata.level()) {
            Level::Info => Level::Debug,
            level => level,
        };
        metadata.target().starts_with("celeriac")
            && *metadata.level() != tracing::Level::TRACE
            && self.shows(level)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let metadata = event.metadata();
        let message = text.message + &text.fields;
        self.line(level_of(*metadata.level()), metadata.target(), &message);
    }
}

/// The message of an event and, after it, its fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            // Writing to a string does not fail.
            let _ = write!(self.fields, " {}={value}", field.name());
        }
    }

    fn record_error(&mut self, field: &Field, error: &(dyn std::error::Error + 'static)) {
        let _ = write!(self.fields, " {}={error}", field.name());
        let mut source = error.source();
        while let Some(cause) = source {
            let _ = write!(self.fields, ": {cause}");
            source = cause.source();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;
    use std::fs;

    #[test]
    fn what_is_told_stands_in_the_file_from_its_level_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.log");
        let format = LogFormat::new("%(levelname)s/%(name)s %(message)s", TimeZone::UTC);
        let log = Log::new(LogFile::open(&path).unwrap(), format, Level::Info, false);
        let _told = tracing_subscriber::registry()
            .with(log.clone())
            .set_default();
        log.line(Level::Info, "celery.worker", "celery@box ready.");
        log.line(Level::Debug, "celery.worker", "unseen");
        let error = std::io::Error::other("it is gone");
        let error: &(dyn std::error::Error + 'static) = &error;
        tracing::warn!(target: "celeriac_worker", error, tries = 3, "broker is away");
        tracing::info!(target: "celeriac_worker", "unseen");
        tracing::error!(target: "rustls", "unseen");
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "INFO/celery.worker celery@box ready.\n\
             WARNING/celeriac_worker broker is away error=it is gone tries=3\n"
        );
    }

    #[test]
    fn colours_are_celerys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.log");
        let format = LogFormat::new("%(message)s", TimeZone::UTC);
        let log = Log::new(LogFile::open(&path).unwrap(), format, Level::Debug, true);
        log.line(Level::Warning, "x", "yellow");
        log.line(Level::Info, "x", "plain");
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "\x1b[1;33myellow\x1b[0m\nplain\n"
        );
    }
}
