//! Runs one step after another and prints a line for each.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use crate::Result;

/// One thing to be checked.
pub(crate) struct Step<'a> {
    /// What it is called on its line, and how it is picked on the command line.
    pub(crate) name: String,
    /// How it is done.
    pub(crate) work: Work<'a>,
}

/// How a step is done.
pub(crate) enum Work<'a> {
    /// By another program; it fails if that does.
    Program(Program),
    /// By a function of ours; it gives a remark for its line.
    Ours(Box<dyn Fn() -> Result<String> + 'a>),
    /// Not at all, for this reason.
    Skipped(&'static str),
}

/// A command line, kept so that it can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// Variables to be set for it.
    pub(crate) variables: Vec<(&'static str, String)>,
    /// What is run; cargo if it is `None`.
    pub(crate) name: Option<String>,
    /// What it is told.
    pub(crate) args: Vec<String>,
}

impl Program {
    /// `cargo` with `args`.
    pub(crate) fn cargo<A: Into<String>>(args: impl IntoIterator<Item = A>) -> Self {
        Self {
            variables: Vec::new(),
            name: None,
            args: args.into_iter().map(Into::into).collect(),
        }
    }

    /// The program `name` with `args`.
    pub(crate) fn other<A: Into<String>>(name: &str, args: impl IntoIterator<Item = A>) -> Self {
        Self {
            name: Some(name.to_owned()),
            ..Self::cargo(args)
        }
    }

    /// The same with a variable set.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    /// Ready to be run in `folder`.
    pub(crate) fn command(&self, folder: &Path) -> Command {
        let mut command = match &self.name {
            Some(name) => Command::new(name),
            None => crate::workspace::cargo(),
        };
        command
            .args(&self.args)
            .envs(self.variables.iter().cloned())
            .current_dir(folder);
        command
    }

    /// As typed into a shell.
    pub(crate) fn shown(&self) -> String {
        let variables = self
            .variables
            .iter()
            .map(|(name, value)| format!("{name}={}", quoted(value)));
        variables
            .chain([quoted(self.name.as_deref().unwrap_or("cargo"))])
            .chain(self.args.iter().map(|arg| quoted(arg)))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// `word` as a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Runs `steps` in `folder`, up to the first that fails unless told to keep going.
pub(crate) fn run(steps: &[Step], folder: &Path, keep_going: bool) -> Result<ExitCode> {
    let start = Instant::now();
    let width = steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
    let mut failed = Vec::new();
    for step in steps {
        print!("{:width$}  ", step.name);
        io::stdout().flush()?;
        let begun = Instant::now();
        let (passed, remark, log) = run_one(step, folder)?;
        let seconds = begun.elapsed().as_secs_f64();
        let verdict = if passed { "ok" } else { "FAILED" };
        let line = format!("{verdict:<6}{seconds:>7.1} s  {remark}");
        println!("{}", line.trim_end());
        if !passed {
            println!("{}\nto repeat it: {}\n", log.trim_end(), repeat(step));
            failed.push(step.name.as_str());
            if !keep_going {
                break;
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    if failed.is_empty() {
        println!("{} steps passed in {seconds:.0} s", steps.len());
        Ok(ExitCode::SUCCESS)
    } else {
        println!("failed: {}", failed.join(", "));
        Ok(ExitCode::FAILURE)
    }
}

/// Whether it passed, a remark for its line, and what to show if it failed.
fn run_one(step: &Step, folder: &Path) -> Result<(bool, String, String)> {
    Ok(match &step.work {
        Work::Skipped(reason) => (true, format!("skipped: {reason}"), String::new()),
        Work::Ours(check) => match check() {
            Ok(remark) => (true, remark, String::new()),
            Err(error) => (false, String::new(), error.to_string()),
        },
        Work::Program(program) => {
            let output = program
                .command(folder)
                .stdin(Stdio::null())
                .output()
                .map_err(|error| format!("cannot run `{}`: {error}", program.shown()))?;
            let mut log = String::from_utf8_lossy(&output.stdout).into_owned();
            log.push_str(&String::from_utf8_lossy(&output.stderr));
            (output.status.success(), String::new(), log)
        }
    })
}

fn repeat(step: &Step) -> String {
    match &step.work {
        Work::Program(program) => program.shown(),
        Work::Ours(_) | Work::Skipped(_) => format!("cargo xtask check {}", step.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn step<'a>(name: &str, passes: bool, runs: &'a Cell<u32>) -> Step<'a> {
        let check = move || {
            runs.set(runs.get() + 1);
            if passes {
                Ok(String::new())
            } else {
                Err("it does not hold".into())
            }
        };
        Step {
            name: name.to_owned(),
            work: Work::Ours(Box::new(check)),
        }
    }

    #[test]
    fn the_first_failure_ends_the_run_unless_told_to_keep_going() {
        let runs = Cell::new(0);
        let steps = [
            step("good", true, &runs),
            step("bad", false, &runs),
            step("last", true, &runs),
        ];

        let code = run(&steps, Path::new("."), false).unwrap();
        assert_eq!((code, runs.take()), (ExitCode::FAILURE, 2));

        let code = run(&steps, Path::new("."), true).unwrap();
        assert_eq!((code, runs.take()), (ExitCode::FAILURE, 3));

        let code = run(&steps[..1], Path::new("."), false).unwrap();
        assert_eq!((code, runs.take()), (ExitCode::SUCCESS, 1));
    }

    #[test]
    fn a_failed_program_is_shown_as_a_shell_takes_it() {
        let program = Program::cargo(["doc", "it's"]).with("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(
            program.shown(),
            r"RUSTDOCFLAGS='-D warnings' cargo doc 'it'\''s'"
        );
    }
}
