//! What the pool keeps beside its children: the paces of tasks, and the limits that are running.

use std::collections::BTreeSet;
use std::time::Instant;

use celeriac_core::runtime::EncodedResult;

use super::call::guarded;
use super::credit::Paces;
use super::settings::Stray;

#[derive(Default)]
pub(super) struct Books {
    pub(super) paces: Paces,
    /// When, of which child, and which of its calls.
    alarms: BTreeSet<(Instant, u64, u64)>,
    pub(super) on_stray: Option<Stray>,
}

impl Books {
    /// Sets the alarm of a call, in the place of `known`.
    pub(super) fn set_alarm(
        &mut self,
        child: u64,
        seq: u64,
        known: &mut Option<Instant>,
        at: Option<Instant>,
    ) {
        if let Some(known) = known.take() {
            self.alarms.remove(&(known, child, seq));
        }
        if let Some(at) = at {
            self.alarms.insert((at, child, seq));
            *known = Some(at);
        }
    }

    pub(super) fn next_alarm(&self) -> Option<Instant> {
        self.alarms.first().map(|&(at, _, _)| at)
    }

    /// A call of which the alarm is due: its child, and its number there.
    pub(super) fn ringing(&mut self, now: Instant) -> Option<(u64, u64)> {
        let &(at, child, seq) = self.alarms.first()?;
        (at <= now).then(|| {
            self.alarms.pop_first();
            (child, seq)
        })
    }

    /// Hands on a result that belongs to no call.
    pub(super) fn stray(&self, result: EncodedResult) {
        let Some(Stray(take)) = &self.on_stray else {
            tracing::warn!(
                state = result.state,
                "a result that was stored outside of a call is dropped"
            );
            return;
        };
        guarded(|| take(result));
    }
}
