//! Which command line the words of the process are: ours, a worker's for a Celery app, or `celery`'s.
//!
//! # Sources
//!
//! Celery's own command takes its global options before the command, and before Celery 5 it took them
//! after it. Both orders are understood.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// The commands that `celeriac` has itself, and Celery has not or has otherwise.
const OURS: &[&str] = &[
    "send",
    "result",
    "status",
    "queues",
    "dead",
    "purge",
    "tasks",
    "place",
    "db",
    "completions",
];

/// Celery's global options that are followed by a value, and our own.
const WITH_VALUE: &[&str] = &[
    "-A",
    "--app",
    "-b",
    "--broker",
    "--result-backend",
    "--loader",
    "--config",
    "--workdir",
    PYTHON,
];

/// The option that names an interpreter.
const PYTHON: &str = "--python";

/// Whose command line the words are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meant {
    /// That which every program of celeriac carries.
    Ours,
    /// That of a worker for a Celery app: the words without the command.
    Worker(Vec<OsString>),
    /// That of the app's own `celery`.
    Celery(Call),
}

/// A call of the app's own `celery`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Call {
    /// The interpreter, if one is named.
    pub(crate) python: Option<OsString>,
    /// What follows `python -m celery`.
    pub(crate) words: Vec<OsString>,
}

/// What `words`, of which the first is the program's name, are meant for.
pub(crate) fn meant(words: &[OsString], environment: impl Fn(&str) -> Option<OsString>) -> Meant {
    let given = words.get(1..).unwrap_or_default();
    let command = command(given);
    let name = command.and_then(|index| given[index].to_str());
    let named = given
        .iter()
        .take_while(|word| *word != "--")
        .any(|word| App::of(word) != App::No);
    // A variable as common as APP says nothing to commands that need no app.
    let needs_app = name.is_some_and(|name| !OURS.contains(&name));
    let has = |name: &str| environment(name).is_some_and(|value| !value.is_empty());
    if !named && !(needs_app && (has("APP") || has("CELERY_APP"))) {
        return Meant::Ours;
    }
    match (command, name) {
        (Some(index), Some("worker")) => {
            let mut words = words.to_vec();
            words.remove(index + 1);
            Meant::Worker(words)
        }
        _ => Meant::Celery(call(given)),
    }
}

/// Where the command stands: the first word that is neither an option nor the value of one.
fn command(words: &[OsString]) -> Option<usize> {
    let mut index = 0;
    while let Some(word) = words.get(index) {
        if word == "--" {
            return None;
        }
        if !word.as_bytes().starts_with(b"-") {
            return Some(index);
        }
        index += if takes_next(word) { 2 } else { 1 };
    }
    None
}

fn takes_next(word: &OsStr) -> bool {
    word.to_str().is_some_and(|word| WITH_VALUE.contains(&word))
}

/// What a word says of the app.
#[derive(Debug, PartialEq, Eq)]
enum App {
    No,
    /// The next word names it.
    Next,
    Named(OsString),
}

impl App {
    fn of(word: &OsStr) -> Self {
        let named = |value: &[u8]| Self::Named(OsString::from_vec(value.to_vec()));
        match word.as_bytes() {
            b"-A" | b"--app" => Self::Next,
            bytes => match (bytes.strip_prefix(b"--app="), bytes.strip_prefix(b"-A")) {
                (Some(value), _) | (None, Some(value)) => named(value),
                (None, None) => Self::No,
            },
        }
    }
}

/// The words for `celery`: the app stands before the command, and what is ours is taken out.
fn call(words: &[OsString]) -> Call {
    let mut call = Call::default();
    let mut app = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            call.words.push(word.clone());
            call.words.extend(words.cloned());
            break;
        }
        match App::of(word) {
            App::Next => app = words.next().cloned(),
            App::Named(name) => app = Some(name),
            App::No if word == PYTHON => call.python = words.next().cloned(),
            App::No => match word.as_bytes().strip_prefix(b"--python=") {
                Some(python) => call.python = Some(OsString::from_vec(python.to_vec())),
                None => call.words.push(word.clone()),
            },
        }
    }
    if let Some(app) = app {
        call.words.splice(0..0, ["-A".into(), app]);
    }
    call
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    fn read(line: &str) -> Meant {
        meant(&words(line), |_| None)
    }

    #[test]
    fn a_worker_for_an_app_is_found_in_either_order() {
        for (line, without_command) in [
            ("c -A proj worker -l info", "c -A proj -l info"),
            ("c worker -A proj -l info", "c -A proj -l info"),
            ("c --app=proj worker", "c --app=proj"),
            ("c -Aproj worker", "c -Aproj"),
            (
                "c -b redis://x --python p worker -A a",
                "c -b redis://x --python p -A a",
            ),
            ("c --workdir worker -A a worker", "c --workdir worker -A a"),
        ] {
            assert_eq!(read(line), Meant::Worker(words(without_command)), "{line}");
        }
    }

    #[test]
    fn other_commands_of_an_app_are_handed_over_with_the_app_in_front() {
        for (line, python, handed) in [
            ("c -A proj inspect ping", None, "-A proj inspect ping"),
            ("c inspect -A proj ping", None, "-A proj inspect ping"),
            ("c -A proj -q status", None, "-A proj -q status"),
            ("c --python p -A x beat -S y", Some("p"), "-A x beat -S y"),
            ("c --python=p -A x --help", Some("p"), "-A x --help"),
            ("c -A x call t -- -A y", None, "-A x call t -- -A y"),
        ] {
            let call = Call {
                python: python.map(OsString::from),
                words: words(handed),
            };
            assert_eq!(read(line), Meant::Celery(call), "{line}");
        }
    }

    #[test]
    fn without_an_app_it_is_our_own_command_line() {
        for line in [
            "c",
            "c --help",
            "c -b sqlite:x worker",
            "c send t -- -A",
            "c -b redis://x queues",
        ] {
            assert_eq!(read(line), Meant::Ours, "{line}");
        }
    }

    #[test]
    fn the_environment_names_the_app_for_commands_that_need_one() {
        for variable in ["APP", "CELERY_APP"] {
            let environment = |name: &str| (name == variable).then(|| "proj".into());
            let meant = |line: &str| meant(&words(line), environment);
            assert_eq!(meant("c worker -c 2"), Meant::Worker(words("c -c 2")));
            assert!(matches!(meant("c inspect ping"), Meant::Celery(_)));
            assert_eq!(meant("c queues"), Meant::Ours);
            assert_eq!(meant("c --help"), Meant::Ours);
        }
    }
}
