//! Why a child died, in words.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use celeriac_core::outcome::TaskError;

use crate::os::STACK_OVERFLOW;

/// Why the pool itself ends a child.
#[derive(Debug, Clone)]
pub(super) enum Doom {
    /// The running call of this request was over its hard limit.
    HardLimit {
        request: u64,
        call: usize,
        limit: Duration,
    },
    /// This request was cancelled and did not stop.
    Cancelled { request: u64, error: TaskError },
    /// It held more memory than allowed.
    Memory { used: u64, cap: u64 },
    /// It sent what no child sends.
    Junk(String),
    /// It never reported, or did not begin what it was given.
    Stuck(String),
    /// The pool is shut down.
    Shutdown,
}

impl Doom {
    /// What becomes of call `call` of request `request` that was running.
    pub(super) fn verdict(&self, request: u64, call: usize) -> TaskError {
        match self {
            Self::HardLimit {
                request: whose,
                call: which,
                limit,
            } if (*whose, *which) == (request, call) => TaskError::time_limit(*limit),
            Self::Cancelled {
                request: whose,
                error,
            } if *whose == request => error.clone(),
            Self::HardLimit { .. } => TaskError::lost(
                "its child was killed because another call in it blocked past its hard time limit",
            ),
            Self::Cancelled { .. } => TaskError::lost(
                "its child was killed because another call in it did not stop when cancelled",
            ),
            Self::Memory { used, cap } => TaskError::lost(format!(
                "its child used {} MB, over its cap of {} MB",
                used / 1_000_000,
                cap / 1_000_000
            )),
            Self::Junk(what) => TaskError::lost(format!("its child sent junk: {what}")),
            Self::Stuck(why) => TaskError::lost(format!("its child was stuck: {why}")),
            Self::Shutdown => TaskError::shutdown(),
        }
    }
}

/// How many processes the kernel has killed for want of memory.
pub(super) fn oom_kills() -> u64 {
    fs::read_to_string("/proc/vmstat")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("oom_kill "))?;
            line["oom_kill ".len()..].trim().parse().ok()
        })
        .unwrap_or(0)
}

/// What a child died of that the pool did not kill.
pub(super) fn cause(status: ExitStatus, noted: u64, oom: bool) -> String {
    if noted == STACK_OVERFLOW {
        return "its child died of a stack overflow; raise the stack's size or recurse less"
            .to_owned();
    }
    match (status.signal(), status.code()) {
        (Some(libc::SIGABRT), _) => "its child was aborted (SIGABRT)".to_owned(),
        (Some(libc::SIGKILL), _) if oom => {
            "its child was killed by signal 9 (SIGKILL), probably out of memory".to_owned()
        }
        (Some(signal), _) => match signal_hook::low_level::signal_name(signal) {
            Some(name) => format!("its child was killed by signal {signal} ({name})"),
            None => format!("its child was killed by signal {signal}"),
        },
        (None, Some(code)) => format!("its child exited with status {code}"),
        (None, None) => format!("its child died: {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_death_has_its_cause() {
        for (raw, noted, oom, words) in [
            (9, 0, false, "killed by signal 9 (SIGKILL)"),
            (9, 0, true, "probably out of memory"),
            (11, 0, false, "killed by signal 11 (SIGSEGV)"),
            (11, STACK_OVERFLOW, false, "stack overflow"),
            (6, 0, false, "aborted (SIGABRT)"),
            (3 << 8, 0, false, "exited with status 3"),
        ] {
            let cause = cause(ExitStatus::from_raw(raw), noted, oom);
            assert!(cause.contains(words), "{cause}");
        }
    }
}
