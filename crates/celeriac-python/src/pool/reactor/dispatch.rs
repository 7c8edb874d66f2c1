//! Which child runs what.

use std::time::Instant;

use super::Reactor;
use crate::pool::child::Child;
use crate::pool::credit::Pace;

impl Reactor {
    /// Sends calls to children, in their order, as far as there is room.
    pub(super) fn dispatch(&mut self, now: Instant) {
        let mut busy = self.busy();
        while let Some(call) = self.queue.front() {
            let pace = self.books.paces.of(call.task);
            let bytes = call.delivery.message.body.bytes.len();
            let Some(index) = self.pick(pace, bytes, busy, now) else {
                return;
            };
            let Some(call) = self.queue.pop_front() else {
                return;
            };
            let child = &mut self.children[index];
            let was_idle = !child.is_busy();
            match child.run(call, pace, now, &mut self.packet) {
                Ok(()) => busy += usize::from(was_idle),
                // It has no room any more; another may have.
                Err(call) => self.queue.push_front(*call),
            }
        }
    }

    /// How many children hold calls.
    pub(super) fn busy(&self) -> usize {
        self.children.iter().filter(|child| child.is_busy()).count()
    }

    /// The child for the next call: one that would run it at once, or the one that holds the least.
    fn pick(&self, pace: Pace, bytes: usize, busy: usize, now: Instant) -> Option<usize> {
        let fair = self.settings.as_ref().is_none_or(|settings| settings.fair);
        // While a child that leaves still runs a call, the one that follows it must wait.
        let full = busy >= self.scale.children();
        let open = self
            .children
            .iter()
            .enumerate()
            .filter(|(_, child)| child.is_open() && (child.is_busy() || !full));
        let idle = open.clone().filter(|(_, child)| child.has_slot());
        let idle = idle.min_by_key(|(_, child)| child.load().calls);
        let ahead = || {
            let some = open.filter(|(_, child)| !fair && child.has_room(pace, bytes, now));
            some.min_by(|(_, a), (_, b)| a.load().cost.total_cmp(&b.load().cost))
        };
        idle.or_else(ahead).map(|(index, _)| index)
    }

    /// Takes back what waits behind a call that turned out to be long.
    pub(super) fn relieve(&mut self, now: Instant) {
        let overdue = |child: &Child| child.overdue_at().is_some_and(|at| now >= at);
        for index in 0..self.children.len() {
            if overdue(&self.children[index]) {
                let calls = self.children[index].take_back(&mut self.buffer);
                self.requeue(calls);
            }
        }
    }
}
