//! The processes that use a segment, and whether they live.
//!
//! # Sources
//!
//! `proc_pid_stat(5)`: the number of a process and when it started name it for good; the number alone is
//! given again.

use std::fs;
use std::num::NonZeroU64;
use std::sync::OnceLock;

/// A process: its number, and when it started in ticks of the system, cut to 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Member(NonZeroU64);

impl Member {
    /// This process.
    pub(super) fn me() -> Self {
        static ME: OnceLock<Member> = OnceLock::new();
        *ME.get_or_init(|| {
            let pid = std::process::id();
            let started = started(pid).unwrap_or_default();
            Self::of(pid, started).expect("no process has the number 0")
        })
    }

    fn of(pid: u32, started: u32) -> Option<Self> {
        NonZeroU64::new(u64::from(started) << 32 | u64::from(pid)).map(Self)
    }

    /// As it stands in a seat; `None` of an empty one.
    pub(super) fn from_word(word: u64) -> Option<Self> {
        NonZeroU64::new(word).map(Self)
    }

    pub(super) fn word(self) -> u64 {
        self.0.get()
    }

    pub(super) fn pid(self) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the other half is its start"
        )]
        let pid = self.word() as u32;
        pid
    }

    /// Whether it still runs. One that has ended and waits to be reaped does not.
    pub(super) fn lives(self) -> bool {
        let now = started(self.pid()).and_then(|started| Self::of(self.pid(), started));
        now == Some(self)
    }
}

/// When a living process has started.
fn started(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it, in parentheses, may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let ticks: u64 = fields.nth(18)?.parse().ok()?;
    let lives = !matches!(state, "Z" | "X");
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low bits tell two apart"
    )]
    lives.then_some(ticks as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_lives_until_it_has_ended() {
        assert!(Member::me().lives());
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let started = started(child.id()).unwrap();
        let member = Member::of(child.id(), started).unwrap();
        assert!(member.lives());
        let other = Member::of(child.id(), started.wrapping_add(1)).unwrap();
        assert!(!other.lives());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!member.lives());
    }
}
