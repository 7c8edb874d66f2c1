//! Celery's ladder of signals, from friendly to final, and what is said at each step; and the signal that asks
//! what the worker is doing.
//!
//! # Sources
//!
//! `celery/apps/worker.py`: texts, `REMAP_SIGTERM`, and that SIGHUP restarts a worker whose standard
//! output is no terminal. The exit codes are those that Celery 5.5 and 5.7 end with: 1 after SIGINT, and
//! 0 after the others, cold shutdowns too.

use std::io::{self, IsTerminal as _, Write as _};

use celeriac_worker::Shutdown;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook::iterator::{Handle, Signals};

/// The signal that asks for stacks, as it does Celery.
pub(crate) const STACKS: i32 = SIGUSR1;

/// What a signal asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// How the worker stops.
    pub(crate) shutdown: Shutdown,
    /// Python's name of the signal.
    pub(crate) signal: &'static str,
    /// The exit code.
    pub(crate) code: u8,
    /// Whether the worker starts again afterwards.
    pub(crate) again: bool,
    /// What is said.
    pub(crate) says: Vec<String>,
}

/// Where a worker stands on the ladder.
#[derive(Debug)]
pub(crate) struct Ladder {
    /// Whether SIGTERM means what SIGQUIT does.
    remapped: bool,
    last: Option<Shutdown>,
    interrupted: bool,
}

impl Ladder {
    /// The bottom; `remap` is the value of `REMAP_SIGTERM`.
    pub(crate) fn new(remap: Option<&str>) -> Self {
        Self {
            remapped: remap == Some("SIGQUIT"),
            last: None,
            interrupted: false,
        }
    }

    /// The next step after `signal`.
    pub(crate) fn step(&mut self, signal: i32) -> Step {
        let says = |how| vec![format!("worker: {how} shutdown (MainProcess)")];
        let again = |what| format!("worker: Hitting Ctrl+C again will {what}!");
        let warm = |signal, code| Step {
            shutdown: Shutdown::Warm,
            signal,
            code,
            again: false,
            says: says("Warm"),
        };
        let mut step = match signal {
            SIGHUP => Step {
                again: true,
                says: vec![format!("Restarting celery worker ({})", command_line())],
                ..warm("SIGHUP", 0)
            },
            SIGTERM if !self.remapped => warm("SIGTERM", 0),
            SIGINT if !self.interrupted && self.last < Some(Shutdown::Cold) => {
                self.interrupted = true;
                let mut step = warm("SIGINT", 1);
                let what = "initiate cold shutdown, terminating all running tasks";
                step.says.insert(0, again(what));
                step
            }
            other => {
                let mut step = warm("SIGQUIT", u8::from(self.interrupted));
                step.shutdown = Shutdown::Cold;
                step.says = says("Cold");
                step.says.insert(0, again("terminate all running tasks"));
                if other == SIGINT {
                    step.signal = "SIGINT";
                } else if other == SIGTERM {
                    step.signal = "SIGTERM";
                }
                step
            }
        };
        // What was harder stays.
        step.shutdown = step.shutdown.max(self.last.unwrap_or(step.shutdown));
        self.last = Some(step.shutdown);
        step
    }
}

/// The words of this process, as SIGHUP will start it again.
fn command_line() -> String {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    words.collect::<Vec<_>>().join(" ")
}

/// Begins to take the signals, so that none ends the process by itself.
pub(crate) fn listen() -> io::Result<(Signals, Handle)> {
    let mut signals = vec![SIGTERM, SIGINT, SIGQUIT, STACKS];
    // Who closes a terminal does not mean to move the worker into the background.
    if !io::stdout().is_terminal() {
        signals.push(SIGHUP);
    }
    let signals = Signals::new(signals)?;
    let handle = signals.handle();
    Ok((signals, handle))
}

/// Says it where Celery says it, although logs may go elsewhere.
pub(crate) fn say(text: &str) {
    // Nobody may be listening any more.
    let _ = writeln!(io::stdout().lock(), "\n{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The modes and exit codes after these signals.
    fn climb(remap: Option<&str>, signals: &[i32]) -> Vec<(Shutdown, u8)> {
        let mut ladder = Ladder::new(remap);
        let mut step = |&signal: &i32| {
            let step = ladder.step(signal);
            (step.shutdown, step.code)
        };
        signals.iter().map(&mut step).collect()
    }

    #[test]
    fn the_ladder_is_celerys() {
        use Shutdown::{Cold, Warm};
        for (signals, steps) in [
            (&[SIGTERM, SIGTERM][..], &[(Warm, 0), (Warm, 0)][..]),
            (&[SIGINT, SIGINT], &[(Warm, 1), (Cold, 1)]),
            (&[SIGTERM, SIGINT], &[(Warm, 0), (Warm, 1)]),
            (&[SIGQUIT], &[(Cold, 0)]),
            (&[SIGTERM, SIGQUIT], &[(Warm, 0), (Cold, 0)]),
            (&[SIGHUP], &[(Warm, 0)]),
        ] {
            assert_eq!(climb(None, signals), steps, "{signals:?}");
        }
    }

    #[test]
    fn sigterm_can_mean_sigquit() {
        use Shutdown::{Cold, Warm};
        assert_eq!(climb(Some("SIGQUIT"), &[SIGTERM]), [(Cold, 0)]);
        assert_eq!(climb(Some(""), &[SIGTERM]), [(Warm, 0)]);
    }

    #[test]
    fn each_step_says_what_celery_says() {
        let mut ladder = Ladder::new(None);
        let says = "worker: Hitting Ctrl+C again will initiate cold shutdown, terminating all running \
                    tasks!";
        let warm = "worker: Warm shutdown (MainProcess)";
        assert_eq!(ladder.step(SIGINT).says, [says, warm]);
        let cold = "worker: Cold shutdown (MainProcess)";
        assert_eq!(ladder.step(SIGINT).says.last().unwrap(), cold);
        assert!(ladder.step(SIGHUP).again);
    }
}
