//! How the death of a child is told, in Celery's words where it has some.

use celeriac_core::outcome::{ErrorKind, Raised, TaskError};

/// Why the pool itself ends a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Doom {
    /// A call in it was over its hard limit; that call has its answer.
    HardLimit,
    /// It sent what no process sends.
    Junk(String),
    /// It did not report in time.
    Late,
    /// It was told to leave and did not.
    Lingers,
    /// The pool is shut down.
    Shutdown,
}

impl Doom {
    /// What becomes of a call that ran in it.
    pub(super) fn verdict(&self) -> TaskError {
        match self {
            Self::HardLimit => TaskError::lost(
                "Its process was killed because another call in it did not end at its hard time limit.",
            ),
            Self::Junk(what) => TaskError::lost(format!("Its process sent junk: {what}.")),
            Self::Late => TaskError::lost("Its process did not start in time."),
            Self::Lingers => TaskError::lost("Its process did not exit when it was told to."),
            Self::Shutdown => TaskError::shutdown(),
        }
    }
}

/// What becomes of a call of which the child died by itself.
pub(super) fn lost(status: Option<i32>, job: u64) -> TaskError {
    let status = describe(status);
    TaskError::lost(format!("Worker exited prematurely: {status} Job: {job}."))
}

/// What becomes of a call that was ended by a signal because somebody asked for that.
pub(crate) fn terminated(signal: &str) -> TaskError {
    let raised = Raised {
        arguments: vec![signal.into()],
        ..Raised::default()
    };
    TaskError::raised(ErrorKind::Cancelled, "", "it was terminated", raised)
}

/// A status as the fork server reports it: an exit code, or a signal below zero.
pub(super) fn describe(status: Option<i32>) -> String {
    match status {
        None => "unknown status".to_owned(),
        Some(code @ 0..) => format!("exitcode {code}"),
        Some(signal) => {
            let signal = signal.unsigned_abs();
            match signal_name(signal) {
                Some(name) => format!("signal {signal} ({name})"),
                None => format!("signal {signal}"),
            }
        }
    }
}

/// The name of a signal that ends processes, on Linux.
pub(super) fn signal_name(signal: u32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        16 => "SIGSTKFLT",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_is_told_as_celery_tells_it() {
        for (status, words) in [
            (
                Some(-9),
                "Worker exited prematurely: signal 9 (SIGKILL) Job: 7.",
            ),
            (Some(3), "Worker exited prematurely: exitcode 3 Job: 7."),
            (Some(-64), "Worker exited prematurely: signal 64 Job: 7."),
        ] {
            assert_eq!(lost(status, 7).message(), words);
        }
    }
}
