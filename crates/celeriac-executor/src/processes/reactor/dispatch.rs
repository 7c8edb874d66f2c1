//! Which child gets what.

use celeriac_core::outcome::TaskError;

use super::super::child::Child;
use super::super::job::stopped;
use super::Reactor;

/// After so long without news from a child, what waits behind its call goes to an idle one.
const STEAL_AFTER_NS: u64 = 2_000_000;

impl Reactor {
    /// Sends what fits to the children with the least to do.
    pub(super) fn dispatch(&mut self, now: u64) {
        while let Some(entry) = self.queue.first_entry() {
            if let Some(error) = stopped(entry.get().request.control.interrupted()) {
                entry.remove().fail(&error);
                continue;
            }
            let pace = self.paces[entry.get().request.task as usize];
            let child = self
                .children
                .iter_mut()
                .filter(|child| child.has_room(entry.get(), pace))
                .min_by_key(|child| (child.load().chunks, child.load().calls));
            let Some(child) = child else {
                return;
            };
            let mut job = entry.remove();
            if let Some(most) = self.settings.max_tasks {
                let left = usize::try_from(most.get().saturating_sub(child.calls_sent()))
                    .unwrap_or(usize::MAX);
                if job.chunk.len() > left {
                    let rest = job.part(left..job.chunk.len());
                    self.queue.insert(rest.place(), rest);
                    job = job.part(0..left);
                }
                if job.chunk.len() == left {
                    child.retire();
                }
            }
            if let Err((job, error)) = child.send(job, pace, now) {
                job.fail(&TaskError::lost(format!(
                    "its arguments found no memory to travel in: {error}"
                )));
            }
        }
    }

    /// Takes work from behind a long call if a child is idle; says when to look again.
    pub(super) fn rebalance(&mut self, now: u64) -> Option<u64> {
        let idle = |child: &Child| child.is_ready() && child.load().chunks == 0;
        if !self.queue.is_empty() || !self.children.iter().any(idle) {
            return None;
        }
        let mut next = None;
        let mut taken = false;
        for child in &mut self.children {
            let Some(since) = child.backlog_since() else {
                continue;
            };
            let at = since + STEAL_AFTER_NS;
            if at > now {
                next = Some(next.map_or(at, |known: u64| known.min(at)));
                continue;
            }
            for job in child.take_back() {
                taken = true;
                self.queue.insert(job.place(), job);
            }
        }
        if taken {
            self.dispatch(now);
        }
        next
    }
}
