//! Events, conditions and barriers.

use serde::{Deserialize, Serialize};

use super::{Answer, Op, Reply};
use crate::SyncError;

/// What is asked of an event.
pub(super) fn event(set: &mut bool, op: &Op) -> Option<Answer> {
    Some(match op {
        Op::WaitSet if *set => Ok(Reply::Done),
        Op::WaitSet => return None,
        Op::Set | Op::Clear => {
            *set = matches!(op, Op::Set);
            Ok(Reply::Done)
        }
        Op::Count => Ok(Reply::Number(u64::from(*set))),
        _ => Err(SyncError::OtherType),
    })
}

/// A condition: how many of those who wait are let go on just now.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Notices(u64);

impl Notices {
    pub(super) fn attempt(&mut self, op: &Op) -> Option<Answer> {
        match op {
            Op::WaitNotice => {
                self.0 = self.0.checked_sub(1)?;
            }
            Op::Notify { count } => self.0 = *count,
            _ => return Some(Err(SyncError::OtherType)),
        }
        Some(Ok(Reply::Done))
    }

    /// A notice is for those who wait when it is given.
    pub(super) fn end(&mut self) {
        self.0 = 0;
    }
}

/// A barrier. Who has arrived and waits is known by the object.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Meeting {
    parties: u64,
    waiting: u64,
    /// The place of who passes next, while a round passes.
    passing: Option<u64>,
    /// Whether those who wait are turned away, though it is whole.
    resets: bool,
    broken: bool,
}

impl Meeting {
    pub(super) fn new(parties: u64) -> Self {
        Self {
            parties,
            waiting: 0,
            passing: None,
            resets: false,
            broken: false,
        }
    }

    pub(super) fn abort(&mut self) {
        self.broken = true;
    }

    /// Is told how many wait.
    pub(super) fn see(&mut self, waiting: usize) {
        self.waiting = waiting as u64;
    }

    /// Begins a pass over those who wait, if all are there.
    pub(super) fn begin(&mut self) {
        if self.passing.is_none() && self.waiting >= self.parties && !self.broken {
            self.passing = Some(0);
        }
    }

    /// All who waited when it was reset have been turned away.
    pub(super) fn end(&mut self) {
        self.resets = false;
    }

    pub(super) fn attempt(&mut self, op: &Op) -> Option<Answer> {
        let done = Ok(Reply::Done);
        Some(match op {
            Op::Arrive { .. } => return self.arrive(),
            Op::Abort => {
                self.broken = true;
                done
            }
            Op::Reset => {
                self.broken = false;
                self.resets = true;
                done
            }
            Op::Count => Ok(Reply::Number(self.waiting)),
            Op::IsBroken => Ok(Reply::Flag(self.broken)),
            _ => Err(SyncError::OtherType),
        })
    }

    fn arrive(&mut self) -> Option<Answer> {
        if self.broken || self.resets {
            return Some(Err(SyncError::Broken));
        }
        let place = self.passing?;
        let next = place + 1;
        self.passing = (next < self.parties).then_some(next);
        Some(Ok(Reply::Number(place)))
    }
}
