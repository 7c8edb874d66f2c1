//! How a program ends: what it prints of its error, and the exit code.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use celeriac_core::{BrokerError, PlaceError, RegistryError, TaskError};

/// Exit code of an error nothing more is known of.
pub(crate) const UNEXPECTED: u8 = 1;
/// Exit code of a setting that cannot be used.
pub(crate) const CONFIGURATION: u8 = 3;
/// Exit code of a broker or result backend that could not be reached.
pub(crate) const STORE_UNAVAILABLE: u8 = 4;
/// Exit code of a task that has no value.
pub(crate) const TASK_FAILED: u8 = 5;

/// What an error of celeriac tells the person at the terminal, beside its message.
pub trait Report: Error {
    /// The exit code of a program that ends with it: 1 to 255, 1 by default.
    fn exit_code(&self) -> u8 {
        UNEXPECTED
    }

    /// What to do about it, if its message does not say so already.
    fn help(&self) -> Option<String> {
        None
    }
}

impl Report for PlaceError {
    fn exit_code(&self) -> u8 {
        CONFIGURATION
    }
}

impl Report for RegistryError {
    fn exit_code(&self) -> u8 {
        CONFIGURATION
    }
}

impl Report for BrokerError {
    fn exit_code(&self) -> u8 {
        if self.is_transient() {
            STORE_UNAVAILABLE
        } else {
            UNEXPECTED
        }
    }

    fn help(&self) -> Option<String> {
        Self::help(self)
    }
}

impl Report for TaskError {
    fn exit_code(&self) -> u8 {
        TASK_FAILED
    }
}

/// What ends a program: what `main` may return under `#[celeriac::main]`.
#[diagnostic::on_unimplemented(
    message = "`main` cannot return `{Self}`",
    note = "under `#[celeriac::main]` it returns `()`, `ExitCode`, or a `Result` of either"
)]
pub trait Exit {
    /// Reports an error to `output`, and gives the exit code.
    fn exit(self, output: &mut dyn Write) -> ExitCode;
}

impl Exit for () {
    fn exit(self, _: &mut dyn Write) -> ExitCode {
        ExitCode::SUCCESS
    }
}

impl Exit for ExitCode {
    fn exit(self, _: &mut dyn Write) -> ExitCode {
        self
    }
}

impl<V: Exit, E: Into<Box<dyn Error>>> Exit for Result<V, E> {
    fn exit(self, output: &mut dyn Write) -> ExitCode {
        match self {
            Ok(value) => value.exit(output),
            Err(error) => {
                let error = error.into();
                // The code still tells of the error if nobody can read the text.
                let _ = write_error(&*error, output);
                ExitCode::from(exit_code(&*error))
            }
        }
    }
}

/// Ends `main`: prints its error, if any, to standard error.
pub fn exit(returned: impl Exit) -> ExitCode {
    returned.exit(&mut io::stderr().lock())
}

/// Writes `error: …`, a `caused by: …` for each source, and `help: …` if there is any.
///
/// # Errors
///
/// What `output` reports.
pub fn write_error(
    error: &(dyn Error + 'static),
    output: &mut (impl Write + ?Sized),
) -> io::Result<()> {
    writeln!(output, "error: {error}")?;
    for cause in chain(error).skip(1) {
        writeln!(output, "caused by: {cause}")?;
    }
    if let Some(failed) = task_error(error) {
        // It crossed a process or machine, and holds its causes as text.
        for cause in failed.causes() {
            writeln!(output, "caused by: {cause}")?;
        }
    }
    match chain(error).filter_map(known).find_map(Report::help) {
        Some(help) => writeln!(output, "help: {help}"),
        None => Ok(()),
    }
}

/// The exit code that the error asks for, or else the nearest of its sources that does; else 1.
pub fn exit_code(error: &(dyn Error + 'static)) -> u8 {
    chain(error)
        .filter_map(known)
        .map(Report::exit_code)
        .find(|code| *code != UNEXPECTED)
        .unwrap_or(UNEXPECTED)
}

/// The error and its sources, nearest first.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| {
        (*error).source()
    })
}

/// The task's error, if that is what ended the program.
fn task_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TaskError> {
    match error.downcast_ref::<crate::Error>() {
        Some(crate::Error::Task(failed)) => Some(failed),
        _ => error.downcast_ref(),
    }
}

/// The error as one of celeriac's own, if it is. Every type that implements [`Report`] stands here.
fn known<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a dyn Report> {
    fn of<'a, T: Report + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a dyn Report> {
        error.downcast_ref::<T>().map(|own| own as &dyn Report)
    }
    of::<TaskError>(error)
        .or_else(|| of::<crate::Error>(error))
        .or_else(|| of::<BrokerError>(error))
        .or_else(|| of::<PlaceError>(error))
        .or_else(|| of::<RegistryError>(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use celeriac_core::{ErrorKind, Registry};

    #[derive(Debug, thiserror::Error)]
    #[error("cannot start the shop")]
    struct Outer<E: Error + 'static>(#[source] E);

    fn report(returned: impl Exit) -> (String, ExitCode) {
        let mut output = Vec::new();
        let code = returned.exit(&mut output);
        (String::from_utf8(output).unwrap(), code)
    }

    fn is(code: ExitCode, expected: u8) -> bool {
        // `ExitCode` cannot be compared, but it can be shown.
        format!("{code:?}") == format!("{:?}", ExitCode::from(expected))
    }

    #[test]
    fn success_prints_nothing() {
        for (text, code) in [report(()), report(Ok::<_, io::Error>(()))] {
            assert!(text.is_empty());
            assert!(is(code, 0));
        }
        assert!(is(report(Ok::<_, io::Error>(ExitCode::from(9))).1, 9));
    }

    #[test]
    fn an_error_is_printed_with_its_causes_and_exits_with_1() {
        let (text, code) = report(Err::<(), _>(Outer(io::Error::other("the door is locked"))));
        assert_eq!(
            text,
            "error: cannot start the shop\ncaused by: the door is locked\n"
        );
        assert!(is(code, 1));
    }

    #[test]
    fn a_boxed_error_is_reported_alike() {
        let error: Box<dyn Error> = "plain words".into();
        let (text, code) = report(Err::<(), _>(error));
        assert_eq!(text, "error: plain words\n");
        assert!(is(code, 1));
    }

    #[test]
    fn an_error_of_celeriac_gives_its_exit_code_from_any_depth() {
        let unknown = || Registry::default().get("nap").unwrap_err();
        assert!(is(report(Err::<(), _>(unknown())).1, CONFIGURATION));
        assert!(is(report(Err::<(), _>(Outer(unknown()))).1, CONFIGURATION));
        let failed = TaskError::new(ErrorKind::TimeLimit, "too slow");
        assert!(is(report(Err::<(), _>(failed)).1, TASK_FAILED));
    }

    #[test]
    fn the_causes_a_task_error_brought_along_are_printed() {
        let failed = TaskError::from_error(Outer(io::Error::other("the door is locked")));
        assert_eq!(
            report(Err::<(), _>(failed)).0,
            "error: cannot start the shop\ncaused by: the door is locked\n"
        );
    }
}
