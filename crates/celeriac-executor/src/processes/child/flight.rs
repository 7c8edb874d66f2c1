//! A job in a child's hands.

use celeriac_core::outcome::TaskError;

use super::super::arena::{Arena, Claim, Running};
use super::super::death::Doom;
use super::super::job::{Answered, Job};

/// A job that was sent to a child and is not answered in full.
pub(super) struct Flight {
    pub(super) job: Job,
    /// Its number in this child.
    pub(super) serial: u32,
    /// What its outcomes must name, and nobody else can know.
    pub(super) nonce: u64,
    pub(super) answered: Answered,
    pub(super) sent_at: u64,
    /// How much it counts in the child's load.
    pub(super) cost_ns: f64,
    pub(super) alone: bool,
    /// When the child is killed if it does not stop.
    pub(super) kill_at: Option<u64>,
}

/// How often a job may be the first one of a child that dies without having run any.
const MOST_DEATHS: u8 = 3;

impl Flight {
    pub(super) fn is_done(&self) -> bool {
        self.answered.len() == self.job.chunk.len()
    }

    /// The calls of this flight that the lanes say were running and that have no outcome.
    fn running(&self, lanes: &[Running]) -> Vec<usize> {
        lanes
            .iter()
            .filter(|running| running.call.serial == self.serial)
            .map(|running| running.call.index as usize)
            .filter(|&index| index < self.job.chunk.len() && !self.answered.contains(index))
            .collect()
    }

    /// The calls that a dead child was running.
    pub(super) fn victims(&self, seat: u32, arena: &Arena, lanes: &[Running]) -> Vec<usize> {
        match arena.board().claim_of(seat, self.serial) {
            Claim::Started => self.running(lanes),
            _ => Vec::new(),
        }
    }

    /// Ends the flight of a dead child: its running calls get the verdict, the rest come back.
    ///
    /// A job that is `suspect` was the first one of a child that died without having run any.
    pub(super) fn land(
        mut self,
        running: &[usize],
        suspect: bool,
        doom: Option<&Doom>,
        cause: &str,
    ) -> Vec<Job> {
        for &index in running {
            let call = self.job.first + index;
            let error = match doom {
                Some(doom) => doom.verdict(self.job.request.number, call),
                None => TaskError::lost(cause.to_owned()),
            };
            self.job.request.announce();
            self.job.fail_one(index, &error);
            self.answered.note(index, 1);
        }
        if suspect && self.answered.len() == 0 {
            self.job.deaths += 1;
        }
        let rest = self.answered.gaps(self.job.chunk.len());
        let rest = rest.into_iter().map(|range| self.job.part(range));
        if self.job.deaths < MOST_DEATHS {
            return rest.collect();
        }
        let error = TaskError::lost(format!(
            "{MOST_DEATHS} children died before they could begin with it; the last: {cause}"
        ));
        rest.for_each(|job| job.fail(&error));
        Vec::new()
    }
}
