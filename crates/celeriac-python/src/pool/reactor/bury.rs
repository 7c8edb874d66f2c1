//! The deaths of processes.

use std::time::{Duration, Instant};

use super::Reactor;
use crate::pool::StartError;
use crate::pool::child::Child;
use crate::pool::process::Process;

/// A channel is read so often at most for what a dead process said last. It cannot hold so much; only a
/// process that the dead one has left behind could go on speaking.
const MOST_ROUNDS: usize = 64;

impl Reactor {
    /// Sees to processes whose time has come.
    pub(super) fn look(&mut self, now: Instant) {
        let start_timeout = self.start_timeout();
        let children = self.children.iter_mut().map(|child| &mut child.process);
        for process in children.chain(&mut self.desk.process) {
            process.look(start_timeout, now);
        }
    }

    /// Settles what dead processes leave; those that follow them are forked in the next round.
    pub(super) fn bury(&mut self, now: Instant) {
        for index in (0..self.children.len()).rev() {
            if self.children[index].process.is_over(now) {
                // What it said before it died counts.
                let _ = (0..MOST_ROUNDS).all(|_| self.hear_child(index, now));
                self.bury_child(index, now);
            }
        }
        if self
            .desk
            .process
            .as_ref()
            .is_some_and(|service| service.is_over(now))
        {
            let _ = (0..MOST_ROUNDS).all(|_| self.hear_service());
            self.desk.bury(&mut self.buffer, now);
        }
    }

    fn bury_child(&mut self, index: usize, now: Instant) {
        let child = self.children.remove(index);
        let process = &child.process;
        if process.is_stillborn() && self.mode.is_none() {
            if let Some(error) = self.scale.stillbirth(process, now) {
                self.no_child_starts(&error);
            }
        } else if !(child.told_to_leave && process.status == Some(0)) && self.mode.is_none() {
            let cause = process.cause();
            tracing::warn!(cause, pid = process.pid(), "a child died and is replaced");
        }
        let rest = child.bury(&mut self.books, &mut self.buffer);
        self.requeue(rest);
    }

    /// Many in a row have died at their start. It ends a pool that was not ready yet. Later the calls wait,
    /// as they do with Celery, which forks on and on: it is not they that children die of, and what the
    /// app misses may come back.
    fn no_child_starts(&mut self, error: &StartError) {
        if self.news.started(Err(error.clone())) {
            tracing::error!(%error, "the pool cannot start");
            self.killed = true;
        } else if !self.children.iter().any(Child::is_open)
            && self.news.hindered(Some(error.clone()))
        {
            tracing::error!(%error, "calls wait until a child starts; it is tried again and again");
        }
    }

    /// Waits until the processes that were killed are dead, so that what they said last is read.
    pub(super) fn await_deaths(&mut self, most: Duration) {
        let until = Instant::now() + most;
        let children = self.children.iter().map(|child| &child.process);
        for process in children.chain(&self.desk.process) {
            process.await_death(until);
        }
    }
}

impl Process {
    /// Whether it died before it was of any use.
    fn is_stillborn(&self) -> bool {
        !self.greeted || self.doom == Some(crate::pool::death::Doom::Late)
    }
}
