//! A process that the fork server has forked for us, child or service.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, getpgid, kill_process_group, pidfd_open, pidfd_send_signal,
};

use super::death::{Doom, describe};
use crate::channel::Channel;
use crate::server::{Role, Server};

/// What a process was asked to end with has so long to do it before it is killed.
const TERM_GRACE: Duration = Duration::from_millis(100);

/// How long after its death the fork server may take to report it.
const REPORT_GRACE: Duration = Duration::from_secs(1);

/// A process told to leave has so long for what its app does at the end.
const LEAVE_GRACE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Process {
    pub(super) number: u64,
    pub(super) channel: Channel,
    handle: Option<Handle>,
    asked_at: Instant,
    /// Whether it has reported.
    pub(super) greeted: bool,
    /// Why we end it, if we do.
    pub(super) doom: Option<Doom>,
    kill_at: Option<Instant>,
    /// Whether the group that it leads was asked to end with it.
    asked_group: bool,
    leave_by: Option<Instant>,
    died_at: Option<Instant>,
    /// An exit code, or a signal below zero.
    pub(super) status: Option<i32>,
    /// Whether its fork server is gone, so that nobody reports its status.
    orphan: bool,
    /// Why it could not go on, in its own words.
    pub(super) fault: Option<String>,
}

#[derive(Debug)]
struct Handle {
    pid: Pid,
    pidfd: OwnedFd,
    statm: Option<File>,
}

impl Process {
    /// Asks the fork server for it.
    pub(super) fn fork(
        number: u64,
        role: Role,
        server: &mut Server,
        now: Instant,
    ) -> io::Result<Self> {
        let channel = Channel::new()?;
        server.fork(number, role, channel.shared()?);
        Ok(Self {
            number,
            channel,
            handle: None,
            asked_at: now,
            greeted: false,
            doom: None,
            kill_at: None,
            asked_group: false,
            leave_by: None,
            died_at: None,
            status: None,
            orphan: false,
            fault: None,
        })
    }

    /// It exists now. Returns what is readable when it is dead.
    pub(super) fn exists(&mut self, pid: i32) -> Option<BorrowedFd<'_>> {
        let pid = Pid::from_raw(pid)?;
        // One that is dead and reaped by now has no descriptor, and its end is about to be reported.
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let statm = File::open(format!("/proc/{}/statm", pid.as_raw_nonzero())).ok();
        let handle = self.handle.insert(Handle { pid, pidfd, statm });
        if self.doom.is_some() {
            let _ = pidfd_send_signal(&handle.pidfd, Signal::KILL);
        }
        Some(handle.pidfd.as_fd())
    }

    /// Readable when it is dead.
    pub(super) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.handle.as_ref()?.pidfd.as_fd())
    }

    /// Waits until it is dead, or `until`.
    pub(super) fn await_death(&self, until: Instant) {
        let Some(pidfd) = self.pidfd() else { return };
        let left = until.saturating_duration_since(Instant::now());
        let Ok(left) = Timespec::try_from(left) else {
            return;
        };
        let mut wanted = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
        // If it cannot be waited for, there is nothing else to do about it.
        let _ = poll(&mut wanted, Some(&left));
    }

    pub(super) fn pid(&self) -> Option<i32> {
        Some(self.handle.as_ref()?.pid.as_raw_nonzero().get())
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(handle) = &self.handle {
            // It can only be gone already.
            let _ = pidfd_send_signal(&handle.pidfd, signal);
        }
    }

    /// Kills it and, if it leads a process group, that group too.
    pub(super) fn kill(&mut self, doom: Doom) {
        self.doom.get_or_insert(doom);
        self.kill_at = None;
        self.signal_group(Signal::KILL);
        self.signal(Signal::KILL);
    }

    /// Asks it and its group to end, and kills them soon after.
    pub(super) fn terminate(&mut self, doom: Doom, now: Instant) {
        self.doom.get_or_insert(doom);
        self.asked_group = self.signal_group(Signal::TERM);
        if !self.asked_group {
            self.signal(Signal::TERM);
        }
        self.kill_at.get_or_insert(now + TERM_GRACE);
    }

    /// Sends a signal to the process group that it leads, if it lives and leads one.
    fn signal_group(&self, signal: Signal) -> bool {
        // Until it is reaped, which is reported, its number is nobody else's.
        match &self.handle {
            Some(handle)
                if self.died_at.is_none() && getpgid(Some(handle.pid)) == Ok(handle.pid) =>
            {
                kill_process_group(handle.pid, signal).is_ok()
            }
            _ => false,
        }
    }

    /// It has nothing left to do but leave.
    pub(super) fn expect_exit(&mut self, now: Instant) {
        self.leave_by.get_or_insert(now + LEAVE_GRACE);
    }

    /// Its pidfd is readable.
    pub(super) fn has_died(&mut self, now: Instant) {
        if self.died_at.is_none()
            && self.asked_group
            && let Some(handle) = &self.handle
        {
            // What it has started may not have ended when it was asked to. While any of them lives, the
            // number of the group is nobody else's.
            let _ = kill_process_group(handle.pid, Signal::KILL);
        }
        self.died_at.get_or_insert(now);
    }

    /// Its fork server is gone, and it goes with it.
    pub(super) fn orphan(&mut self, now: Instant) {
        self.orphan = true;
        self.signal(Signal::KILL);
        if self.handle.is_none() {
            self.died_at.get_or_insert(now);
        }
    }

    /// Whether all is known of its death that will be.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.status.is_some()
            || self
                .died_at
                .is_some_and(|at| self.orphan || now >= at + REPORT_GRACE)
    }

    /// When to [look](Self::look) at it next.
    pub(super) fn wake_at(&self, start_timeout: Duration) -> Option<Instant> {
        let late = (!self.greeted).then(|| self.asked_at + start_timeout);
        let died = self.died_at.map(|at| at + REPORT_GRACE);
        [late, died, self.kill_at, self.leave_by]
            .into_iter()
            .flatten()
            .min()
    }

    /// Kills it if its time is over.
    pub(super) fn look(&mut self, start_timeout: Duration, now: Instant) {
        if self.kill_at.is_some_and(|at| now >= at) {
            self.kill(Doom::HardLimit);
        }
        if self.leave_by.is_some_and(|at| now >= at) {
            self.leave_by = None;
            self.kill(Doom::Lingers);
        }
        if !self.greeted && now >= self.asked_at + start_timeout {
            self.greeted = true;
            self.kill(Doom::Late);
        }
    }

    /// How much memory it holds now, in bytes.
    pub(super) fn resident_bytes(&self) -> Option<u64> {
        let statm = self.handle.as_ref()?.statm.as_ref()?;
        let mut text = [0; 128];
        let read = statm.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..read]).ok()?;
        let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
        Some(pages * rustix::param::page_size() as u64)
    }

    /// How it ended, in words.
    pub(super) fn cause(&self) -> String {
        match (&self.doom, &self.fault) {
            (_, Some(fault)) => fault.clone(),
            (Some(doom), None) => doom.verdict().to_string(),
            (None, None) => describe(self.ending()),
        }
    }

    /// Its status; of one that went with its fork server, how it went.
    pub(super) fn ending(&self) -> Option<i32> {
        self.status.or(self.orphan.then_some(-9))
    }
}
