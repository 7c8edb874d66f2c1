//! How a command ends: its exit code, and what it prints of an error.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};

use celeriac_core::{
    BoxError, BrokerError, DestinationError, PlaceError, QueueNameError, RegistryError, TaskError,
};
use celeriac_executor::ExecutorError;
use celeriac_health::HealthError;
use celeriac_worker::WorkerError;

pub use crate::report::ExitStatus as Exit;
use crate::report::Report;

/// The exit codes, for `--help`.
pub(super) const HELP: &str = "\
Exit codes:
  0  it did what was asked
  1  something unexpected went wrong
  2  the command line does not make sense
  3  a setting, a place or a store cannot be used as it is
  4  the broker is away, locked or full: the same command may work later
  5  the task has failed
  6  the result is not there yet";

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    error: BoxError,
    causes: Vec<String>,
    help: Option<String>,
}

impl Failure {
    /// A failure with a message of its own.
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            error: message.into().into(),
            causes: Vec::new(),
            help: None,
        }
    }

    /// Adds what caused it.
    #[must_use]
    pub(super) fn because(mut self, cause: impl Error) -> Self {
        self.causes = std::iter::once(cause.to_string())
            .chain(sources(&cause))
            .collect();
        self
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn of(exit: Exit, error: impl Into<BoxError>) -> Self {
        let error = error.into();
        Self {
            exit,
            causes: sources(&*error),
            error,
            help: None,
        }
    }

    /// Writes `error: …`, each `caused by: …` and `help: …`, and says how to exit.
    pub(super) fn report(&self, out: &mut impl Write) -> Exit {
        // If standard error is closed the exit code is all that can be said.
        let _ = self.write(out);
        self.exit
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "error: {}", self.error)?;
        for cause in &self.causes {
            writeln!(out, "caused by: {cause}")?;
        }
        match &self.help {
            Some(help) => writeln!(out, "help: {help}"),
            None => Ok(()),
        }
    }
}

/// The messages of the error's sources, nearest first.
fn sources(error: &dyn Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(error) = source {
        causes.push(error.to_string());
        source = error.source();
    }
    causes
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(formatter)
    }
}

/// A failure is what the error reports of itself.
macro_rules! failures {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let (exit, help) = (error.exit_status(), Report::help(&error));
                Self { help, ..Self::of(exit, error) }
            }
        })*
    };
}

failures!(
    BrokerError,
    RegistryError,
    PlaceError,
    QueueNameError,
    DestinationError,
    ExecutorError,
    WorkerError
);

impl From<HealthError> for Failure {
    fn from(error: HealthError) -> Self {
        Self::of(Exit::Configuration, error)
    }
}

impl From<TaskError> for Failure {
    fn from(error: TaskError) -> Self {
        let causes = error.causes().to_vec();
        Self {
            causes,
            ..Self::of(error.exit_status(), error)
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(Exit::Unexpected, "cannot write to standard output").because(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_printed_with_its_causes_and_the_remedy() {
        let failure = Failure::from(BrokerError::Unavailable {
            address: "jobs.db".to_owned(),
            source: "the disk is gone".into(),
        });
        let mut out = Vec::new();
        assert_eq!(failure.report(&mut out), Exit::StoreUnavailable);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "error: broker at jobs.db is unavailable\n\
             caused by: the disk is gone\n\
             help: check that it runs, can be reached and is not locked, then try again\n"
        );
    }

    #[test]
    fn the_help_names_every_exit_code() {
        for exit in 0..=Exit::GaveUpWaiting as u8 {
            assert!(HELP.contains(&format!("\n  {exit}  ")), "{exit}");
        }
    }
}
