//! The worker's log: Celery's lines, byte for byte, and our own in the same format.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::log_file::LogFile;
use super::log_format::{LogFormat, Record};
use super::log_json;
use super::signals::say;
use super::value::Level;

/// Writes lines; copies write to the same place.
#[derive(Debug, Clone)]
pub(crate) struct Log(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: Mutex<LogFile>,
    lines: Lines,
    level: Level,
    colours: bool,
}

/// How lines look.
#[derive(Debug)]
pub(crate) enum Lines {
    /// As the app's settings say.
    Text(LogFormat),
    /// One JSON object each.
    Json,
}

impl Log {
    /// A log of what is at least of this level.
    pub(crate) fn new(file: LogFile, lines: Lines, level: Level, colours: bool) -> Self {
        Self(Arc::new(Shared {
            file: Mutex::new(file),
            lines,
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

    /// Whether programs are to read it.
    pub(crate) fn is_json(&self) -> bool {
        matches!(self.0.lines, Lines::Json)
    }

    /// Writes a line, if lines of its level are written.
    pub(crate) fn line(&self, level: Level, logger: &str, message: &str) {
        self.told(level, logger, message, &[]);
    }

    /// Writes a line with what is known beside its words.
    pub(crate) fn told(
        &self,
        level: Level,
        logger: &str,
        message: &str,
        fields: &[(String, Value)],
    ) {
        if self.shows(level) {
            self.write(Record {
                level,
                logger,
                message,
                fields,
            });
        }
    }

    /// Writes what somebody has asked for, whatever the level.
    pub(crate) fn answer(&self, logger: &str, message: &str) {
        self.write(Record {
            level: Level::Warning,
            logger,
            message,
            fields: &[],
        });
    }

    /// Says to a person what Celery says; among JSON it is a line as any other.
    pub(crate) fn say(&self, logger: &str, message: &str) {
        if self.is_json() {
            self.answer(logger, message.trim_end());
        } else {
            say(message);
        }
    }

    fn write(&self, record: Record<'_>) {
        let line = self.written(record);
        let mut file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that cannot be written is no reason not to work.
        let _ = file.write(&line);
    }

    fn written(&self, record: Record<'_>) -> String {
        let now = Timestamp::now();
        let line = match &self.0.lines {
            Lines::Text(format) => format.line(record, now),
            Lines::Json => return log_json::line(record, now),
        };
        match colour(record.level).filter(|_| self.0.colours) {
            Some(colour) => {
                let text = line.trim_end_matches('\n');
                format!("\x1b[1;{colour}m{text}\x1b[0m\n")
            }
            None => line,
        }
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
        let mut told = Told::default();
        event.record(&mut told);
        let metadata = event.metadata();
        let level = level_of(*metadata.level());
        let message = match self.0.lines {
            Lines::Text(_) => told.text(),
            Lines::Json => told.message,
        };
        self.told(level, metadata.target(), &message, &told.fields);
    }
}

/// The message of an event, and its fields.
#[derive(Default)]
struct Told {
    message: String,
    fields: Vec<(String, Value)>,
}

impl Told {
    /// The message with the fields after it.
    fn text(&self) -> String {
        let mut text = self.message.clone();
        for (name, value) in &self.fields {
            // Writing to a string does not fail.
            let _ = match value {
                Value::String(value) => write!(text, " {name}={value}"),
                value => write!(text, " {name}={value}"),
            };
        }
        text
    }

    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.fields.push((field.name().to_owned(), value.into()));
    }
}

impl Visit for Told {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.add(field, value);
        }
    }

    fn record_error(&mut self, field: &Field, error: &(dyn std::error::Error + 'static)) {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        self.add(field, text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.add(field, text);
        }
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
        let lines = Lines::Text(format);
        let log = Log::new(LogFile::open(&path).unwrap(), lines, Level::Info, false);
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
        let lines = Lines::Text(format);
        let log = Log::new(LogFile::open(&path).unwrap(), lines, Level::Debug, true);
        log.line(Level::Warning, "x", "yellow");
        log.line(Level::Info, "x", "plain");
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "\x1b[1;33myellow\x1b[0m\nplain\n"
        );
    }

    #[test]
    fn fields_stand_apart_among_json() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.log");
        let log = Log::new(
            LogFile::open(&path).unwrap(),
            Lines::Json,
            Level::Info,
            true,
        );
        let _told = tracing_subscriber::registry()
            .with(log.clone())
            .set_default();
        log.say("celery.worker", "worker: Warm shutdown");
        tracing::warn!(target: "celeriac_worker", why = "a \"b\"", tries = 3, "broker is away");
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines[0]["fields"]["message"], "worker: Warm shutdown");
        let wanted = serde_json::json!({"message": "broker is away", "why": "a \"b\"", "tries": 3});
        assert_eq!(lines[1]["fields"], wanted);
    }
}
