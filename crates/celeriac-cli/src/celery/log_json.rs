//! Lines of logs as JSON objects, of the shape that programs in Rust write, and the Python side too.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::log_format::Record;

/// One line, as its reader takes it apart.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'static str,
    fields: Map<String, Value>,
    target: &'a str,
    process: &'static str,
    pid: u32,
}

/// One line, with its end.
pub(crate) fn line(record: Record<'_>, now: Timestamp) -> String {
    let mut fields = Map::with_capacity(1 + record.fields.len());
    fields.insert("message".to_owned(), record.message.into());
    fields.extend(record.fields.iter().cloned());
    let line = Line {
        timestamp: format!("{now:.6}"),
        level: record.level.as_str(),
        fields,
        target: record.logger,
        process: "MainProcess",
        pid: std::process::id(),
    };
    let mut text = serde_json::to_string(&line).expect("names are text, and nothing is read");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::celery::value::Level;

    #[test]
    fn a_line_is_an_object_of_one_shape() {
        let fields = [("tries".to_owned(), 3.into())];
        let record = Record {
            level: Level::Warning,
            logger: "celeriac_worker",
            message: "broker is\naway",
            fields: &fields,
        };
        let now: Timestamp = "2026-11-21T11:00:00.1Z".parse().unwrap();
        let pid = std::process::id();
        assert_eq!(
            line(record, now),
            format!(
                "{{\"timestamp\":\"2026-11-21T11:00:00.100000Z\",\"level\":\"WARNING\",\"fields\":\
                 {{\"message\":\"broker is\\naway\",\"tries\":3}},\"target\":\"celeriac_worker\",\
                 \"process\":\"MainProcess\",\"pid\":{pid}}}\n"
            )
        );
    }
}
