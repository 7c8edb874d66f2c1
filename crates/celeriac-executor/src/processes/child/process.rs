//! A child's process, and the keeper in front of it (see [`inside`](super::super::inside)).

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::super::clock;
use super::super::setup::marker;
use crate::os;

/// How long a keeper may take to end its child and all that the child has started.
const END_GRACE: Duration = Duration::from_secs(2);

/// A child and its keeper, which ends when the child has ended, and in the same way.
pub(super) struct Process {
    keeper: Child,
    pidfd: OwnedFd,
    /// The child itself, once it has said who it is.
    pid: Option<Pid>,
    /// Until when the keeper has to have ended it, once it was asked to.
    end_by: Option<u64>,
}

impl Process {
    /// Starts this binary once more, as a child that serves `socket`.
    pub(super) fn spawn(socket: OwnedFd) -> io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        if let Some(name) = std::env::args_os().next() {
            command.arg0(name);
        }
        let mut keeper = command
            .arg("celeriac-child")
            .env(os::MARKER, marker())
            .stdin(Stdio::from(socket))
            .process_group(0)
            .spawn()?;
        match rustix::process::pidfd_open(Pid::from_child(&keeper), PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self {
                keeper,
                pidfd,
                pid: None,
                end_by: None,
            }),
            Err(error) => {
                let _ = keeper.kill();
                let _ = keeper.wait();
                Err(error.into())
            }
        }
    }

    /// It is ready to be read when all has ended.
    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// The child has said who it is.
    pub(super) fn introduce(&mut self, pid: Pid) {
        self.pid = Some(pid);
    }

    /// The child itself, if it has said who it is.
    pub(super) fn pid(&self) -> Option<Pid> {
        self.pid
    }

    /// Has the child look for what was left for it.
    pub(super) fn notify(&self) {
        self.send(Signal::USR1);
    }

    /// Ends the child and all that it has started; says when to call this again, should it not end.
    pub(super) fn kill(&mut self) -> Option<u64> {
        let now = clock::now();
        match self.end_by {
            None if self.pid.is_some() => {
                self.send(Signal::TERM);
                self.end_by = Some(now + clock::nanos(END_GRACE));
            }
            Some(end_by) if now < end_by => {}
            // The keeper cannot end it. Or it has not said who it is: then it has run no task, and
            // may not be a child of ours at all.
            _ => {
                self.send(Signal::KILL);
                return None;
            }
        }
        self.end_by
    }

    fn send(&self, signal: Signal) {
        // It fails if it has ended, and that is fine.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, signal);
    }

    /// Waits for its end; it has ended, or was killed.
    pub(super) fn reap(&mut self) -> Option<ExitStatus> {
        let mut ended = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let patience = END_GRACE.try_into().ok();
        if rustix::event::poll(&mut ended, patience.as_ref()) != Ok(1) {
            self.send(Signal::KILL);
        }
        self.keeper.wait().ok()
    }
}
