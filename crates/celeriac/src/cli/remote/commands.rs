//! The commands, and what their arguments are called.
//!
//! # Sources
//!
//! The signatures that Celery's `inspect --list` and `control --list` show.

use serde_json::{Map, Value, json};

use super::Sort;
use crate::cli::exit::{Exit, Failure};

/// A command: its arguments in their order, and the one that takes all that are left.
struct Command {
    name: &'static str,
    sort: Sort,
    arguments: &'static [&'static str],
    /// How many of them must be given.
    least: usize,
    rest: Option<&'static str>,
}

const fn inspect(name: &'static str, rest: Option<&'static str>) -> Command {
    Command {
        name,
        sort: Sort::Inspect,
        arguments: &[],
        least: 0,
        rest,
    }
}

const fn control(name: &'static str, arguments: &'static [&'static str], least: usize) -> Command {
    Command {
        name,
        sort: Sort::Control,
        arguments,
        least,
        rest: None,
    }
}

const COMMANDS: &[Command] = &[
    inspect("ping", None),
    inspect("active", None),
    inspect("reserved", None),
    inspect("scheduled", None),
    inspect("active_queues", None),
    inspect("stats", None),
    inspect("conf", None),
    inspect("report", None),
    inspect("revoked", None),
    inspect("clock", None),
    inspect("memsample", None),
    inspect("memdump", None),
    inspect("registered", Some("taskinfoitems")),
    inspect("query_task", Some("ids")),
    Command {
        rest: Some("task_id"),
        ..control("revoke", &[], 1)
    },
    Command {
        rest: Some("task_id"),
        ..control("terminate", &["signal"], 2)
    },
    control("rate_limit", &["task_name", "rate_limit"], 2),
    control("time_limit", &["task_name", "soft", "hard"], 2),
    control("pool_grow", &["n"], 0),
    control("pool_shrink", &["n"], 0),
    control("pool_restart", &[], 0),
    control("autoscale", &["max", "min"], 0),
    control(
        "add_consumer",
        &["queue", "exchange", "exchange_type", "routing_key"],
        1,
    ),
    control("cancel_consumer", &["queue"], 1),
    control("enable_events", &[], 0),
    control("disable_events", &[], 0),
    control("heartbeat", &[], 0),
    control("shutdown", &[], 0),
];

/// The arguments of `command` that these words give.
pub(super) fn arguments(
    command: &str,
    words: &[String],
    sort: Sort,
) -> Result<Map<String, Value>, Failure> {
    let known = COMMANDS.iter().find(|known| known.name == command);
    let Some(known) = known else {
        return words.iter().map(|word| named(command, word)).collect();
    };
    if known.sort != sort {
        let other = match known.sort {
            Sort::Inspect => "inspect",
            Sort::Control => "control",
        };
        let failure = Failure::new(
            Exit::Usage,
            format!("`{command}` is a command of `{other}`"),
        );
        return Err(failure.help(format!("say `{other} {command}`")));
    }
    let (first, rest) = words.split_at(words.len().min(known.arguments.len()));
    let superfluous = !rest.is_empty() && known.rest.is_none();
    if words.len() < known.least || superfluous {
        let mut wanted: Vec<_> = known
            .arguments
            .iter()
            .map(|name| (*name).to_owned())
            .collect();
        wanted.extend(known.rest.map(|name| format!("{name} …")));
        let message = format!("`{command}` takes: {}", wanted.join(" "));
        let message = message.trim_end().trim_end_matches(':').to_owned();
        return Err(Failure::new(Exit::Usage, message).help("give its arguments in this order"));
    }
    let names = known.arguments.iter().zip(first);
    let mut arguments: Map<_, _> = names
        .map(|(name, word)| ((*name).to_owned(), value(name, word)))
        .collect();
    if let Some(name) = known.rest.filter(|_| !rest.is_empty()) {
        arguments.insert(name.to_owned(), json!(rest));
    }
    Ok(arguments)
}

/// An argument; those that count are numbers.
fn value(name: &str, word: &str) -> Value {
    match name {
        "n" | "max" | "min" | "soft" | "hard" => {
            serde_json::from_str(word).unwrap_or_else(|_| json!(word))
        }
        _ => json!(word),
    }
}

/// An argument of a command that an app has made up.
fn named(command: &str, word: &str) -> Result<(String, Value), Failure> {
    let Some((name, text)) = word.split_once('=') else {
        let message = format!("`{word}` is no argument of `{command}`");
        return Err(Failure::new(Exit::Usage, message).help("write it as NAME=VALUE"));
    };
    let value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str, sort: Sort) -> Result<Value, Failure> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        arguments(&words[0], &words[1..], sort).map(Value::Object)
    }

    #[test]
    fn words_are_given_their_names() {
        for (line, sort, expected) in [
            ("ping", Sort::Inspect, json!({})),
            ("query_task a b", Sort::Inspect, json!({"ids": ["a", "b"]})),
            ("revoke a", Sort::Control, json!({"task_id": ["a"]})),
            (
                "terminate KILL a",
                Sort::Control,
                json!({"signal": "KILL", "task_id": ["a"]}),
            ),
            (
                "rate_limit t 10/m",
                Sort::Control,
                json!({"task_name": "t", "rate_limit": "10/m"}),
            ),
            (
                "time_limit t 5 10.5",
                Sort::Control,
                json!({"task_name": "t", "soft": 5, "hard": 10.5}),
            ),
            ("pool_grow", Sort::Control, json!({})),
            ("mine a=1 b=x", Sort::Inspect, json!({"a": 1, "b": "x"})),
        ] {
            assert_eq!(read(line, sort).ok(), Some(expected), "{line}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (line, sort) in [
            ("ping", Sort::Control),
            ("ping x", Sort::Inspect),
            ("revoke", Sort::Control),
            ("terminate KILL", Sort::Control),
            ("mine x", Sort::Inspect),
        ] {
            assert!(read(line, sort).is_err(), "{line}");
        }
    }
}
