//! What a process needs that does nothing but keep another one.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use rustix::process::{Pid, WaitStatus};

/// Splits this process in two; `None` in the new one.
///
/// Only the thread that calls this goes on in the new one, so there should be no other.
pub(crate) fn split() -> io::Result<Option<Pid>> {
    // SAFETY: nothing is shared with threads that the new process does not have: callers are on the
    // only one, before `main`.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        child => Ok(Pid::from_raw(child)),
    }
}

/// What a keeper waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A process of its own ended, or several.
    Death,
    /// SIGTERM: it should end.
    End,
    /// SIGUSR1: to be passed on.
    Notice,
}

/// Signals that are held back until somebody waits for them.
pub(crate) struct Held {
    held: libc::sigset_t,
    before: libc::sigset_t,
}

impl Held {
    /// Holds them back in this thread, which should be the only one.
    pub(crate) fn hold() -> Self {
        // SAFETY: both sets are initialised before they are read, and SIGCHLD is given back its
        // default, which runs no code.
        unsafe {
            let mut held = MaybeUninit::uninit();
            libc::sigemptyset(held.as_mut_ptr());
            for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGUSR1] {
                libc::sigaddset(held.as_mut_ptr(), signal);
            }
            let held = held.assume_init();
            let mut before = MaybeUninit::zeroed();
            libc::sigprocmask(libc::SIG_BLOCK, &raw const held, before.as_mut_ptr());
            // Where it is ignored, nobody is told how a process ended.
            libc::signal(libc::SIGCHLD, libc::SIG_DFL);
            Self {
                held,
                before: before.assume_init(),
            }
        }
    }

    /// Lets them through again.
    pub(crate) fn release(&self) {
        // SAFETY: the set is the one that was found.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut()) };
    }

    /// Waits for the next one.
    pub(crate) fn next(&self) -> Heard {
        let mut signal = 0;
        // SAFETY: the set is initialised, and the number is written before it is read.
        unsafe { libc::sigwait(&raw const self.held, &raw mut signal) };
        match signal {
            libc::SIGTERM => Heard::End,
            libc::SIGUSR1 => Heard::Notice,
            _ => Heard::Death,
        }
    }

    /// Ends this process as another one ended, without what is usually done at an exit.
    pub(crate) fn end_as(&self, status: WaitStatus) -> ! {
        if let Some(signal) = status.terminating_signal() {
            // SAFETY: the default is set, which runs no code, before the signal is let through.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                self.release();
                libc::raise(signal);
            }
        }
        // SAFETY: it takes any number.
        unsafe { libc::_exit(status.exit_status().unwrap_or(1)) }
    }
}

/// Sends SIGUSR1 to the first thread of another process.
pub(crate) fn notify(process: Pid) {
    let number = process.as_raw_nonzero().get();
    // SAFETY: a signal to another process touches nothing of this one.
    unsafe { libc::syscall(libc::SYS_tgkill, number, number, libc::SIGUSR1) };
}
