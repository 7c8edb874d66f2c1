//! Time limits.

use std::time::{Duration, Instant};

use celeriac_core::outcome::TaskError;

use super::Reactor;
use crate::pool::PoolKind;
use crate::pool::child::{Child, Stage};
use crate::pool::death::Doom;

/// A coroutine over its hard limit has so long to end before its child is killed.
const CANCEL_GRACE: Duration = Duration::from_secs(1);

impl Reactor {
    /// Sees to the calls whose limits are over.
    pub(super) fn ring(&mut self, now: Instant) {
        while let Some((number, seq)) = self.books.ringing(now) {
            let mut children = self.children.iter_mut();
            let Some(child) = children.find(|child| child.process.number == number) else {
                continue;
            };
            let next = over_limit(child, seq, now);
            if let Some(held) = child.held_mut(seq) {
                held.alarm = None;
                self.books.set_alarm(number, seq, &mut held.alarm, next);
            }
        }
    }
}

/// A limit of a call is over. Returns when the next one is.
fn over_limit(child: &mut Child, seq: u64, now: Instant) -> Option<Instant> {
    let held = child.held_mut(seq)?;
    let limits = held.call.limits;
    match (held.stage, limits.soft, limits.hard) {
        (Stage::Running, Some(soft), hard) => {
            held.stage = Stage::Softened;
            child.soften(seq);
            // A hard limit below the soft one is over as well.
            hard.and_then(|hard| now.checked_add(hard.saturating_sub(soft)))
        }
        (Stage::Answered, _, _) => {
            child.process.kill(Doom::HardLimit);
            None
        }
        (_, _, Some(hard)) => {
            held.fail(TaskError::time_limit(hard));
            if child.kind == PoolKind::Coroutines {
                child.cancel(seq);
                return Some(now + CANCEL_GRACE);
            }
            child.process.terminate(Doom::HardLimit, now);
            None
        }
        (_, _, None) => None,
    }
}
