//! Signals that ask this process to end, made into an orderly end.
//!
//! A terminal sends Ctrl-C to the programs that run for us too, so they end by themselves; the
//! signals that only this process gets are passed on to them. Whoever waits asks [`Interrupts`].

use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::Result;

/// While it lives, no such signal ends this process by itself.
#[derive(Debug)]
pub(crate) struct Interrupts {
    seen: Arc<Seen>,
    signals: Handle,
    watcher: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    came: bool,
    /// The program to pass signals on to, by a handle that never means another one.
    program: Option<OwnedFd>,
}

impl Interrupts {
    /// Starts to catch them.
    pub(crate) fn watch() -> Result<Self> {
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
        let handle = signals.handle();
        let seen = Arc::new(Seen::default());
        let watched = Arc::clone(&seen);
        let watcher = thread::spawn(move || {
            for signal in signals.forever() {
                watched.note(signal);
            }
        });
        Ok(Self {
            seen,
            signals: handle,
            watcher: Some(watcher),
        })
    }

    /// Whether one came.
    pub(crate) fn came(&self) -> bool {
        self.seen.lock().came
    }

    /// Returns when one has come.
    pub(crate) fn wait(&self) {
        let mut state = self.seen.lock();
        while !state.came {
            let woken = self.seen.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Passes on to `child`, from now on, what it does not get by itself.
    pub(crate) fn pass_on_to(&self, child: &Child) -> Result<()> {
        let program = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
        self.seen.lock().program = Some(program);
        Ok(())
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.signals.close();
        if let Some(watcher) = self.watcher.take() {
            // If it panicked, no signal is waited for any more either.
            let _ = watcher.join();
        }
    }
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, signal: i32) {
        let mut state = self.lock();
        state.came = true;
        if signal != SIGINT
            && let Some(program) = &state.program
        {
            // It fails if the program has ended, which is what is asked for.
            let _ = pidfd_send_signal(program, Signal::TERM);
        }
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    #[test]
    fn a_signal_is_noticed_and_passed_on_to_the_program_that_runs() {
        let interrupts = Interrupts::watch().unwrap();
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        interrupts.pass_on_to(&child).unwrap();
        assert!(!interrupts.came());

        rustix::process::kill_process(rustix::process::getpid(), Signal::HUP).unwrap();

        interrupts.wait();
        assert!(interrupts.came());
        assert_eq!(child.wait().unwrap().signal(), Some(SIGTERM));
    }
}
