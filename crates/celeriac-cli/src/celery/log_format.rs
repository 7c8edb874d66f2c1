//! Lines of logs in the format that the app's settings give, as Python's `logging` fills it in.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::value::Level;

/// Celery's own format of what a worker logs.
pub(crate) const DEFAULT: &str = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s";

/// A format in Python's `%` style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFormat {
    pieces: Vec<Piece>,
    zone: TimeZone,
    /// How times look, as `strftime` has it; Python's way unless set.
    times: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field {
        name: String,
        width: usize,
        left: bool,
    },
}

/// What is said, and by whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) level: Level,
    /// The name that Python would know the logger by.
    pub(crate) logger: &'a str,
    pub(crate) message: &'a str,
    /// What is said beside it; lines of text have it in the message.
    pub(crate) fields: &'a [(String, Value)],
}

impl LogFormat {
    /// The format of this text; times are those of `zone`.
    pub(crate) fn new(text: &str, zone: TimeZone) -> Self {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            plain.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some((field, after)) = field(rest) {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(field);
                rest = after;
            } else {
                plain.push('%');
                rest = rest.strip_prefix("%%").unwrap_or(&rest[1..]);
            }
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        Self {
            pieces,
            zone,
            times: None,
        }
    }

    /// The same with times as `strftime` writes them, if `times` says how.
    #[must_use]
    pub(crate) fn times(mut self, times: Option<&str>) -> Self {
        self.times = times.map(str::to_owned);
        self
    }

    /// One line, with its end.
    pub(crate) fn line(&self, record: Record<'_>, now: Timestamp) -> String {
        let mut line = String::with_capacity(64 + record.message.len());
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => line.push_str(text),
                Piece::Field { name, width, left } => {
                    let value = self.value(name, record, now);
                    let missing = width.saturating_sub(value.chars().count());
                    let spaces = std::iter::repeat_n(' ', missing);
                    if *left {
                        line.push_str(&value);
                        line.extend(spaces);
                    } else {
                        line.extend(spaces);
                        line.push_str(&value);
                    }
                }
            }
        }
        line.push('\n');
        line
    }

    /// What stands for an attribute of Python's `LogRecord`; nothing for one that only Python knows.
    fn value(&self, name: &str, record: Record<'_>, now: Timestamp) -> String {
        match name {
            "asctime" => self.time(now),
            "levelname" => record.level.to_string(),
            "levelno" => {
                let number = match record.level {
                    Level::Debug => 10,
                    Level::Info => 20,
                    Level::Warning => 30,
                    Level::Error => 40,
                    Level::Critical => 50,
                };
                number.to_string()
            }
            "message" => record.message.to_owned(),
            "name" => record.logger.to_owned(),
            "process" => std::process::id().to_string(),
            "processName" => "MainProcess".to_owned(),
            "threadName" => "MainThread".to_owned(),
            _ => String::new(),
        }
    }
}

impl LogFormat {
    fn time(&self, now: Timestamp) -> String {
        let local = now.to_zoned(self.zone.clone());
        if let Some(times) = &self.times
            && let Ok(text) = jiff::fmt::strtime::format(times, &local)
        {
            return text;
        }
        let millis = local.millisecond();
        format!("{},{millis:03}", local.strftime("%Y-%m-%d %H:%M:%S"))
    }
}

/// The field at the beginning of `text`: `%(NAME)s`, `%(NAME)-8s`; and what follows it.
fn field(text: &str) -> Option<(Piece, &str)> {
    let (name, rest) = text.strip_prefix("%(")?.split_once(')')?;
    let kind = rest.find(|character: char| character.is_ascii_alphabetic())?;
    let (shape, rest) = rest.split_at(kind);
    let piece = Piece::Field {
        name: name.to_owned(),
        width: shape.trim_start_matches(['-', '0']).parse().unwrap_or(0),
        left: shape.starts_with('-'),
    };
    Some((piece, &rest[1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: &str) -> String {
        let now: Timestamp = "2026-11-21T11:00:00.123456Z".parse().unwrap();
        let record = Record {
            level: Level::Info,
            logger: "celery.worker",
            message: "100% done",
            fields: &[],
        };
        LogFormat::new(format, TimeZone::UTC).line(record, now)
    }

    #[test]
    fn a_line_looks_as_celery_writes_it() {
        let text = "[2026-11-21 11:00:00,123: INFO/MainProcess] 100% done\n";
        assert_eq!(line(DEFAULT), text);
    }

    #[test]
    fn fields_are_filled_in_as_python_does() {
        for (format, text) in [
            ("%(levelname)-8s|%(levelno)d", "INFO    |20\n"),
            ("%(levelname)8s|%(name)s", "    INFO|celery.worker\n"),
            ("100%% %(message)s", "100% 100% done\n"),
            ("%(unknown)s-%(", "-%(\n"),
            ("plain", "plain\n"),
        ] {
            assert_eq!(line(format), text, "{format}");
        }
    }

    #[test]
    fn times_look_as_the_app_says() {
        let now: Timestamp = "2026-11-21T11:00:00.123456Z".parse().unwrap();
        let record = Record {
            level: Level::Info,
            logger: "x",
            message: "m",
            fields: &[],
        };
        for (times, text) in [
            (Some("%H:%M"), "11:00\n"),
            (Some("%Y-%m-%dT%H:%M:%S%z"), "2026-11-21T11:00:00+0000\n"),
            (None, "2026-11-21 11:00:00,123\n"),
            // What nobody can fill in is left alone.
            (Some("%!"), "2026-11-21 11:00:00,123\n"),
        ] {
            let format = LogFormat::new("%(asctime)s", TimeZone::UTC).times(times);
            assert_eq!(format.line(record, now), text, "{times:?}");
        }
    }

    #[test]
    fn times_are_those_of_the_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let now: Timestamp = "2026-11-21T23:30:00Z".parse().unwrap();
        let record = Record {
            level: Level::Error,
            logger: "x",
            message: "m",
            fields: &[],
        };
        let line = LogFormat::new("%(asctime)s", zone).line(record, now);
        assert_eq!(line, "2026-11-22 01:30:00,000\n");
    }
}
