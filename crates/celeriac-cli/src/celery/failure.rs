//! Why a worker did not start, or ended: what is printed, and the exit code, which is Celery's.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::{fmt, iter};

use celeriac::report::{ExitStatus, Report};
use celeriac_core::BrokerError;
use celeriac_health::HealthError;
use celeriac_python::StartError;
use celeriac_worker::WorkerError;

/// The exit code for a process that could not be (of `sysexits.h`, as Celery has it for pid files).
const CANNOT_CREATE: u8 = 73;

/// Why there is no worker.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    /// What Python says of it.
    traceback: String,
    message: String,
    causes: Vec<String>,
    help: Option<String>,
}

impl Failure {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            traceback: String::new(),
            message: message.into(),
            causes: Vec::new(),
            help: None,
        }
    }

    /// The command line or the app does not make sense: Click's code for it.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(2, message)
    }

    /// Anything else.
    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self::new(1, message)
    }

    /// Another process is this worker already.
    pub(crate) fn taken(message: impl Into<String>) -> Self {
        Self::new(CANNOT_CREATE, message)
    }

    /// What an error of celeriac's reports of itself.
    fn of(error: &impl Report) -> Self {
        let code = match error.exit_status() {
            ExitStatus::Done => ExitStatus::Unexpected as u8,
            status => status as u8,
        };
        let mut failure = Self::new(code, error.to_string());
        failure.help = error.help();
        let mut source = error.source();
        while let Some(cause) = source {
            failure.causes.push(cause.to_string());
            source = cause.source();
        }
        failure
    }

    /// Adds what caused it.
    #[must_use]
    pub(crate) fn because(mut self, cause: impl Error) -> Self {
        self.causes.push(cause.to_string());
        let mut source = cause.source();
        while let Some(error) = source {
            self.causes.push(error.to_string());
            source = error.source();
        }
        self
    }

    /// Adds what can be done about it.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Writes `error: …`, what caused it and what can be done, and says how to exit.
    pub(crate) fn report(&self, out: &mut impl Write) -> ExitCode {
        // If standard error is closed the exit code is all that can be said.
        let _ = self.write(out);
        ExitCode::from(self.code)
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        if !self.traceback.is_empty() {
            writeln!(out, "{}", self.traceback.trim_end())?;
        }
        writeln!(out, "error: {}", self.message)?;
        for cause in &self.causes {
            writeln!(out, "caused by: {cause}")?;
        }
        match &self.help {
            Some(help) => writeln!(out, "help: {help}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Failure {
    /// The message with its causes, in one line.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        let mut causes = self.causes.iter();
        causes.try_for_each(|cause| write!(formatter, ": {cause}"))
    }
}

impl From<HealthError> for Failure {
    fn from(error: HealthError) -> Self {
        let message = error.to_string();
        match error.source() {
            Some(cause) => Self {
                causes: vec![cause.to_string()],
                ..Self::usage(message)
            },
            None => Self::usage(message),
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let (why, traceback, advice) = match error {
            StartError::App {
                why,
                traceback,
                advice,
            } => (why, traceback, advice),
            StartError::KeepsDying { ref last, .. } => {
                let last = Self::from((**last).clone());
                return Self {
                    code: 1,
                    message: error.to_string(),
                    causes: iter::once(last.message).chain(last.causes).collect(),
                    ..last
                };
            }
            error => return Self::other("the app cannot be run").because(error),
        };
        let (code, message) = match why.as_str() {
            "no_celery" => (2, "this Python has no Celery"),
            "import" => (2, "the app cannot be imported"),
            "no_app" => (2, "the module has no Celery app"),
            "refused" => (1, "this app does not run under celeriac"),
            "settings" => (1, "the app's settings do not fit together"),
            _ => (1, "the app failed at its start"),
        };
        let mut failure = Self::new(code, message).help(advice);
        failure.traceback = traceback;
        failure
    }
}

impl From<BrokerError> for Failure {
    fn from(error: BrokerError) -> Self {
        Self::of(&error)
    }
}

impl From<WorkerError> for Failure {
    fn from(error: WorkerError) -> Self {
        Self::of(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pythons_traceback_stands_before_the_advice() {
        let failure = Failure::from(StartError::App {
            why: "import".to_owned(),
            traceback: "Traceback …\nImportError: x\n".to_owned(),
            advice: "install x".to_owned(),
        });
        let mut out = Vec::new();
        failure.report(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "Traceback …\nImportError: x\nerror: the app cannot be imported\nhelp: install x\n"
        );
    }

    #[test]
    fn an_app_that_keeps_dying_is_told_with_what_ended_it_last() {
        let last = StartError::App {
            why: "import".to_owned(),
            traceback: "ImportError: x".to_owned(),
            advice: "install x".to_owned(),
        };
        let failure = Failure::from(StartError::KeepsDying {
            times: 8,
            last: Box::new(last),
        });
        let text = "the process that has imported the app died 8 times in a row";
        assert_eq!(
            failure.to_string(),
            format!("{text}: the app cannot be imported")
        );
        assert_eq!((failure.code, &*failure.traceback), (1, "ImportError: x"));
        assert_eq!(failure.help.as_deref(), Some("install x"));
    }

    #[test]
    fn a_failure_is_told_with_its_causes_and_the_remedy() {
        let cause = io::Error::other("the disk is full");
        let failure = Failure::other("cannot log")
            .because(cause)
            .help("make room");
        let mut out = Vec::new();
        failure.report(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "error: cannot log\ncaused by: the disk is full\nhelp: make room\n"
        );
    }
}
