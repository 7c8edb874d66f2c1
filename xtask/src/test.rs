//! `cargo xtask test`: every test of the workspace, those in its documentation, then those of the
//! Python that travels in the worker, with each version of Celery.
//!
//! Uses cargo-nextest where it is installed, which runs each test in a process of its own, and
//! `cargo test` where it is not. What the tests talk to is started while they are compiled, and
//! they learn by variables where it is.

use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read, Write};
use std::path::Path;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::thread;

use crate::Result;
use crate::interrupts::Interrupts;
use crate::peers::{Peers, Variables};
use crate::steps::Program;
use crate::workspace::{Workspace, cargo_has};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the tests whose path contains one of these.
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// Start no servers; the tests that need them will fail.
    #[arg(long)]
    no_servers: bool,
}

pub(crate) fn run(args: &Args, workspace: &Workspace) -> Result<ExitCode> {
    let interrupts = Interrupts::watch()?;
    let runner = Runner {
        folder: &workspace.root,
        interrupts: &interrupts,
    };
    let nextest = cargo_has("nextest");
    let peers = (!args.no_servers).then(|| Peers::start(&workspace.target));
    let mut variables = Variables::new();
    if let Some(peers) = &peers {
        if !runner.run(&compilation(nextest), &variables)?.0.success() {
            return Ok(ExitCode::FAILURE);
        }
        variables = peers.ready(&interrupts)?;
    }
    let mut total = Tally::default();
    let mut passed = true;
    let mut programs = programs(&args.filters, nextest);
    programs.extend(python(&args.filters, &variables));
    for program in programs {
        let (status, tally) = runner.run(&program, &variables)?;
        let matched_none = !args.filters.is_empty() && status.code() == Some(NO_TESTS_RAN);
        passed &= status.success() || matched_none;
        total.add(&tally);
    }
    if !passed {
        eprintln!("to repeat it: {}", repeat(args).shown());
    }
    if total.passed + total.failed == 0 {
        return Err("no test ran".into());
    }
    println!(
        "total: {} passed, {} failed, {} skipped",
        total.passed, total.failed, total.skipped
    );
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What newer Pythons exit with if no test has matched.
const NO_TESTS_RAN: i32 = 5;

/// What all runs have in common.
const COMMON: [&str; 2] = ["--workspace", "--no-fail-fast"];

/// Makes the tests and runs none.
fn compilation(nextest: bool) -> Program {
    if nextest {
        Program::cargo(["nextest", "run", "--no-run", "--workspace"])
    } else {
        Program::cargo(["test", "--no-run", "--quiet", "--workspace"])
    }
}

/// What is run for `filters`, in order.
fn programs(filters: &[String], nextest: bool) -> Vec<Program> {
    let given = |start: &[&'static str]| {
        let words = start.iter().chain(&COMMON).copied().map(str::to_owned);
        let separator = (!filters.is_empty()).then(|| "--".to_owned());
        Program::cargo(words.chain(separator).chain(filters.iter().cloned()))
    };
    if nextest {
        vec![
            given(&["nextest", "run", "--no-tests=pass"]),
            given(&["test", "--doc"]),
        ]
    } else {
        vec![given(&["test"])]
    }
}

/// The tests of `python/`, for each Python among the peers.
fn python(filters: &[String], variables: &Variables) -> Vec<Program> {
    let interpreters = variables
        .iter()
        .filter(|(name, _)| name.starts_with("CELERIAC_TEST_PYTHON"));
    let patterns = filters.iter().flat_map(|filter| ["-k", filter.as_str()]);
    let words = ["-m", "unittest", "discover", "-s", "python/tests"];
    let words: Vec<_> = words.into_iter().chain(patterns).collect();
    interpreters
        .map(|(_, interpreter)| {
            Program::other(interpreter, words.iter().copied()).with("PYTHONDONTWRITEBYTECODE", "1")
        })
        .collect()
}

/// The whole of it, servers too, once more.
fn repeat(args: &Args) -> Program {
    let servers = args.no_servers.then_some("--no-servers");
    let filters = args.filters.iter().map(String::as_str);
    Program::cargo(["xtask", "test"].into_iter().chain(servers).chain(filters))
}

/// How many tests came to what.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Adds what a closing line of nextest, of a test binary or of Python says; other lines say
    /// nothing.
    fn read(&mut self, line: &str) {
        let line = without_colours(line);
        if self.read_python(&line) {
            return;
        }
        // What a test printed itself is indented.
        let counts = match line.trim_start().split_once(" run: ") {
            Some((start, counts)) if start.starts_with("Summary [") => counts,
            _ => match line.strip_prefix("test result: ") {
                Some(counts) => counts,
                None => return,
            },
        };
        let words: Vec<_> = counts
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse::<u64>() else {
                continue;
            };
            match pair[1] {
                "passed" => self.passed += count,
                // Nextest tells apart how a test failed: "1 timed out", "1 exec failed".
                "failed" | "timed" | "exec" => self.failed += count,
                "skipped" | "ignored" => self.skipped += count,
                _ => {}
            }
        }
    }
}

impl Tally {
    /// The same for `Ran 9 tests in 1.0s`, and what follows it: `FAILED (failures=1, skipped=2)`.
    fn read_python(&mut self, line: &str) -> bool {
        let line = line.trim_end();
        if let Some(("", rest)) = line.split_once("Ran ")
            && let Some((count, _)) = rest.split_once(" test")
        {
            self.passed += count.parse::<u64>().unwrap_or(0);
            return true;
        }
        let counts = line.strip_prefix("FAILED (").or(line.strip_prefix("OK ("));
        let Some(counts) = counts.and_then(|counts| counts.strip_suffix(')')) else {
            return false;
        };
        for (word, count) in counts.split(", ").filter_map(|pair| pair.split_once('=')) {
            let count = count.parse::<u64>().unwrap_or(0);
            match word {
                "failures" | "errors" => self.failed += count,
                "skipped" => self.skipped += count,
                _ => continue,
            }
            self.passed = self.passed.saturating_sub(count);
        }
        true
    }
}

/// Where programs are run, and what ends them early.
struct Runner<'a> {
    folder: &'a Path,
    interrupts: &'a Interrupts,
}

impl Runner<'_> {
    /// Runs `program` and passes its output on; how it exited, and its tally.
    fn run(&self, program: &Program, variables: &Variables) -> Result<(ExitStatus, Tally)> {
        if self.interrupts.came() {
            return Err("interrupted".into());
        }
        let mut command = program.command(self.folder);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        if io::stdout().is_terminal() {
            command.env("CARGO_TERM_COLOR", "always");
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run `{}`: {error}", program.shown()))?;
        self.interrupts.pass_on_to(&child)?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let mut tally = Tally::default();
        thread::scope(|scope| -> Result<()> {
            let errors = scope.spawn(|| pass_on(err, io::stderr()));
            tally.add(&pass_on(out, io::stdout())?);
            tally.add(&errors.join().map_err(|_| "a reader panicked")??);
            Ok(())
        })?;
        Ok((child.wait()?, tally))
    }
}

/// Copies lines from `from` to `to` until the end, and reads them on the way.
fn pass_on(from: Option<impl Read>, mut to: impl Write) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let Some(from) = from else { return Ok(tally) };
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    // Bytes, because a test may print what is no text.
    while reader.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        to.flush()?;
        tally.read(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(tally)
}

/// `line` less the escape sequences that colour it.
fn without_colours(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or("", |(_, text)| text));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str]) -> (u64, u64, u64) {
        let mut tally = Tally::default();
        for line in lines {
            tally.read(line);
        }
        (tally.passed, tally.failed, tally.skipped)
    }

    #[test]
    fn closing_lines_of_both_runners_are_added_up() {
        let lines = [
            "        PASS [   0.005s] (1/9) xtask run: 4 passed",
            "     Summary [   0.010s] 9 tests run: 6 passed (1 slow), 2 failed, 1 timed out, 4 skipped",
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s",
            "test tests::total ... ok",
        ];
        assert_eq!(tally(&lines), (11, 3, 5));
    }

    #[test]
    fn closing_lines_of_python_are_added_up() {
        let lines = [
            "Ran 110 tests in 9.5s",
            "FAILED (failures=1, errors=2, skipped=4)",
            "Ran 1 test in 0.1s",
            "OK",
        ];
        assert_eq!(tally(&lines), (104, 3, 4));
    }

    #[test]
    fn each_python_among_the_peers_runs_its_tests() {
        let variables = vec![
            ("CELERIAC_TEST_REDIS", "redis://h".to_owned()),
            ("CELERIAC_TEST_PYTHON_57", "/venv/bin/python".to_owned()),
        ];
        let shown: Vec<_> = python(&["pool".to_owned()], &variables)
            .iter()
            .map(Program::shown)
            .collect();
        assert_eq!(
            shown,
            [
                "PYTHONDONTWRITEBYTECODE=1 /venv/bin/python -m unittest discover -s python/tests -k pool"
            ]
        );
    }

    #[test]
    fn colours_do_not_hide_a_closing_line() {
        let line = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.0s] \u{1b}[1m2\u{1b}[0m tests run: \
                    \u{1b}[1m2\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, \u{1b}[1m0\u{1b}[0m skipped";
        assert_eq!(tally(&[line]), (2, 0, 0));
    }

    #[test]
    fn documentation_is_tested_with_either_runner() {
        let filters = ["map".to_owned(), "place".to_owned()];
        let shown = |nextest| -> Vec<_> {
            let programs = programs(&filters, nextest);
            programs.iter().map(Program::shown).collect()
        };
        assert_eq!(
            shown(true),
            [
                "cargo nextest run --no-tests=pass --workspace --no-fail-fast -- map place",
                "cargo test --doc --workspace --no-fail-fast -- map place",
            ]
        );
        assert_eq!(
            shown(false),
            ["cargo test --workspace --no-fail-fast -- map place"]
        );
    }
}
