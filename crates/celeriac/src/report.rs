//! How a program ends: what it prints of its error, and the exit code.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use celeriac_core::{
    BrokerError, DestinationError, ErrorKind, PlaceError, QueueNameError, RegistryError, TaskError,
};
use celeriac_executor::ExecutorError;
use celeriac_worker::WorkerError;

/// The exit codes of celeriac's programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// It did what was asked.
    Done = 0,
    /// Something went wrong that no other code tells of.
    Unexpected = 1,
    /// The command line does not make sense.
    Usage = 2,
    /// A setting, a place or a store cannot be used as it is.
    Configuration = 3,
    /// The broker is away, locked or full: the same command may work later.
    StoreUnavailable = 4,
    /// The task has failed.
    TaskFailed = 5,
    /// The result is not there yet.
    GaveUpWaiting = 6,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}

/// What an error of celeriac tells the person at the terminal, beside its message.
pub trait Report: Error {
    /// How a program exits that ends with it; unexpected, by default.
    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Unexpected
    }

    /// What to do about it, if its message does not say so already.
    fn help(&self) -> Option<String> {
        None
    }
}

impl Report for PlaceError {
    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Configuration
    }
}

impl Report for RegistryError {
    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Configuration
    }
}

impl Report for BrokerError {
    fn exit_status(&self) -> ExitStatus {
        match self {
            _ if self.is_transient() => ExitStatus::StoreUnavailable,
            Self::Unusable { .. } | Self::Unsupported { .. } => ExitStatus::Configuration,
            _ => ExitStatus::Unexpected,
        }
    }

    fn help(&self) -> Option<String> {
        Self::help(self)
    }
}

impl Report for WorkerError {
    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Broker(error) => error.exit_status(),
            Self::NameTaken { .. } => ExitStatus::Usage,
            _ => ExitStatus::Unexpected,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Broker(error) => Report::help(error),
            Self::NameTaken { .. } => Some(
                "give each worker a name of its own, such as `-n NAME@%h`, or have them share it \
                 with --allow-duplicate-name"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

impl Report for QueueNameError {
    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}

impl Report for DestinationError {
    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}

impl Report for ExecutorError {
    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Broker(_) => ExitStatus::Usage,
            _ => ExitStatus::Unexpected,
        }
    }
}

impl Report for TaskError {
    fn exit_status(&self) -> ExitStatus {
        match self.kind() {
            ErrorKind::Unavailable => ExitStatus::StoreUnavailable,
            _ => ExitStatus::TaskFailed,
        }
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
                exit_status(&*error).into()
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

/// How the error, or else the nearest of its sources that says so, asks to exit.
pub fn exit_status(error: &(dyn Error + 'static)) -> ExitStatus {
    chain(error)
        .filter_map(known)
        .map(Report::exit_status)
        .find(|status| *status != ExitStatus::Unexpected)
        .unwrap_or(ExitStatus::Unexpected)
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
        .or_else(|| of::<QueueNameError>(error))
        .or_else(|| of::<DestinationError>(error))
        .or_else(|| of::<ExecutorError>(error))
        .or_else(|| of::<WorkerError>(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use celeriac_core::Registry;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot start the shop")]
    struct Outer<E: Error + 'static>(#[source] E);

    fn report(returned: impl Exit) -> (String, ExitCode) {
        let mut output = Vec::new();
        let code = returned.exit(&mut output);
        (String::from_utf8(output).unwrap(), code)
    }

    fn is(code: ExitCode, expected: ExitStatus) -> bool {
        // `ExitCode` cannot be compared, but it can be shown.
        format!("{code:?}") == format!("{:?}", ExitCode::from(expected))
    }

    #[test]
    fn success_prints_nothing() {
        for (text, code) in [report(()), report(Ok::<_, io::Error>(()))] {
            assert!(text.is_empty());
            assert!(is(code, ExitStatus::Done));
        }
        let own = report(Ok::<_, io::Error>(ExitCode::from(
            ExitStatus::GaveUpWaiting,
        )));
        assert!(is(own.1, ExitStatus::GaveUpWaiting));
    }

    #[test]
    fn an_error_is_printed_with_its_causes_and_exits_with_1() {
        let (text, code) = report(Err::<(), _>(Outer(io::Error::other("the door is locked"))));
        assert_eq!(
            text,
            "error: cannot start the shop\ncaused by: the door is locked\n"
        );
        assert!(is(code, ExitStatus::Unexpected));
    }

    #[test]
    fn a_boxed_error_is_reported_alike() {
        let error: Box<dyn Error> = "plain words".into();
        let (text, code) = report(Err::<(), _>(error));
        assert_eq!(text, "error: plain words\n");
        assert!(is(code, ExitStatus::Unexpected));
    }

    #[test]
    fn an_error_of_celeriac_gives_its_exit_code_from_any_depth() {
        let unknown = || Registry::default().get("nap").unwrap_err();
        assert!(is(
            report(Err::<(), _>(unknown())).1,
            ExitStatus::Configuration
        ));
        assert!(is(
            report(Err::<(), _>(Outer(unknown()))).1,
            ExitStatus::Configuration
        ));
        let failed = TaskError::new(ErrorKind::TimeLimit, "too slow");
        assert!(is(report(Err::<(), _>(failed)).1, ExitStatus::TaskFailed));
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
