//! `events`: what workers and clients tell, as it happens.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use celeriac_core::Topic;
use celeriac_wire::event;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::bus;
use crate::cli::GlobalArgs;
use crate::cli::exit::{Exit, Failure};

/// Prints events until it is ended, or nobody reads them any more.
pub(in crate::cli) async fn run(global: &GlobalArgs, json: bool) -> Result<Exit, Failure> {
    let (_broker, bus) = bus(global).await?;
    let mut heard = bus.listen(Topic::Events).await?;
    let mut missed = 0;
    loop {
        let notice = heard.next().await?;
        let mut text = String::new();
        for event in event::read(&notice.body).unwrap_or_default() {
            if json {
                let _ = writeln!(text, "{}", Value::Object(event));
            } else {
                let _ = writeln!(text, "{}", line(&event));
            }
        }
        let mut out = io::stdout().lock();
        if out
            .write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .is_err()
        {
            return Ok(Exit::Done);
        }
        if heard.missed() > missed {
            tracing::warn!(
                count = heard.missed() - missed,
                "events came too fast, and were not heard"
            );
            missed = heard.missed();
        }
    }
}

/// An event in one line, for people. What came from elsewhere shows its control characters.
fn line(event: &Map<String, Value>) -> String {
    let text = |name: &str| {
        let text = event.get(name).and_then(Value::as_str).unwrap_or_default();
        text.escape_debug().to_string()
    };
    let time = event.get("timestamp").and_then(Value::as_f64);
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a time of day needs no more"
    )]
    let time = time.and_then(|time| Timestamp::from_millisecond((time * 1000.0) as i64).ok());
    let time = time.map_or_else(String::new, |time| format!(" [{time}]"));
    let kind = text("type").replace('-', " ");
    let mut line = format!("{}{time} {kind}", text("hostname"));
    for name in [
        "name",
        "uuid",
        "args",
        "kwargs",
        "result",
        "exception",
        "runtime",
    ] {
        match event.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(_)) => {
                let _ = write!(line, " {name}={}", text(name));
            }
            Some(value) => {
                let _ = write!(line, " {name}={value}");
            }
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_would_change_a_terminal_is_shown() {
        let event = json!({"type": "task-failed", "hostname": "a@b", "timestamp": 0.5,
                           "uuid": "x", "exception": "\u{1b}[2J"});
        let line = line(event.as_object().unwrap());
        assert_eq!(
            line,
            "a@b [1970-01-01T00:00:00.5Z] task failed uuid=x exception=\\u{1b}[2J"
        );
    }
}
