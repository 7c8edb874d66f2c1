//! Watches how much memory a child holds.

use std::fs;

use rustix::process::Pid;

use super::super::ProcessSettings;

/// How often a child at work is weighed.
const TICK_NS: u64 = 20_000_000;

/// When a child was weighed, and what it may weigh, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    cap: Option<u64>,
    most: Option<u64>,
    at: Option<u64>,
    /// Whether a call has ended since.
    news: bool,
}

/// What a child's weight calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    Fine,
    /// It should be replaced when it has nothing to do.
    Heavy,
    /// It has to be killed.
    Over {
        used: u64,
        cap: u64,
    },
}

impl Scale {
    pub(super) fn new(settings: &ProcessSettings) -> Self {
        Self {
            cap: settings.memory_cap_bytes.map(u64::from),
            most: settings.max_memory_bytes.map(u64::from),
            at: None,
            news: false,
        }
    }

    fn is_used(self) -> bool {
        self.cap.is_some() || self.most.is_some()
    }

    /// The child was given work.
    pub(super) fn sent(&mut self, now: u64) {
        if self.is_used() && self.at.is_none() {
            self.at = Some(now + TICK_NS);
        }
    }

    /// A call has ended.
    pub(super) fn answered(&mut self) {
        self.news = self.is_used();
    }

    /// When to look next.
    pub(super) fn wake_at(&self) -> Option<u64> {
        self.at
    }

    /// Weighs the child if it is time, or if it has just become idle.
    pub(super) fn weigh(&mut self, pid: Pid, busy: bool, now: u64) -> Weight {
        let due = self.at.is_some_and(|at| at <= now);
        if !due && (busy || !self.news) {
            return Weight::Fine;
        }
        let ended = std::mem::take(&mut self.news);
        self.at = busy.then_some(now + TICK_NS);
        let used = resident_bytes(pid);
        match (self.cap, self.most) {
            (Some(cap), _) if used > cap && busy => Weight::Over { used, cap },
            (_, Some(most)) if used > most && ended => Weight::Heavy,
            _ => Weight::Fine,
        }
    }
}

/// The resident memory of a process; 0 if it is gone.
fn resident_bytes(pid: Pid) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{}/statm", pid.as_raw_nonzero()));
    let pages = statm
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}
