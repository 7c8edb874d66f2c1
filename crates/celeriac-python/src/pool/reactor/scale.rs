//! How many children there are.

use std::time::{Duration, Instant};

use celeriac_core::ShutdownMode;
use celeriac_core::executor::Bounds;

use super::Reactor;
use crate::pool::child::Child;
use crate::pool::process::Process;
use crate::pool::{PoolSettings, StartError};
use crate::server::Role;

/// How often the memory of children is looked at while they run calls.
const MEMORY_EVERY: Duration = Duration::from_millis(100);

/// How often the number of children is looked at, if it follows the work.
const SCALE_EVERY: Duration = Duration::from_secs(1);

/// So many children in a row that die at their start make a pool that cannot start.
const MOST_STILLBIRTHS: u32 = 5;

/// The longest wait before a child is forked in the place of one that died at its start.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long the fork server may take to end in peace.
const END_GRACE: Duration = Duration::from_secs(10);

/// The number of children there should be.
#[derive(Default)]
pub(super) struct Scale {
    children: usize,
    fewest: usize,
    most: usize,
    keep_alive: Duration,
    /// Since when there have been more than are needed.
    slack_since: Option<Instant>,
    looked_at: Option<Instant>,
    memory_at: Option<Instant>,
    stillbirths: u32,
    /// The number of the last of them.
    stillborn: u64,
    /// Whether all children that there are at first have reported.
    ready: bool,
    paused_until: Option<Instant>,
}

impl Scale {
    pub(super) fn set_up(&mut self, settings: &PoolSettings) {
        self.most = settings.children.get();
        self.fewest = settings.fewest.get().min(self.most);
        self.children = self.fewest;
        self.keep_alive = settings.keep_alive;
    }

    pub(super) fn children(&self) -> usize {
        self.children
    }

    pub(super) fn resize(&mut self, children: usize) {
        (self.children, self.fewest, self.most) = (children, children, children);
    }

    /// Has the number follow the work between these bounds.
    pub(super) fn follow(&mut self, bounds: Bounds) {
        (self.fewest, self.most) = (bounds.fewest.get(), bounds.most.get());
        self.children = self.children.clamp(self.fewest, self.most);
    }

    /// A child died at its start. If it is one of many in a row, says so.
    pub(super) fn stillbirth(&mut self, child: &Process, now: Instant) -> Option<StartError> {
        self.stillbirths = self.stillbirths.saturating_add(1);
        self.stillborn = self.stillborn.max(child.number);
        let pause = Duration::from_millis(50) * 2_u32.saturating_pow(self.stillbirths.min(8));
        let pause = pause.min(LONGEST_PAUSE);
        self.paused_until = Some(now + pause);
        let cause = child.cause();
        if self.stillbirths <= MOST_STILLBIRTHS {
            tracing::warn!(cause, retry_in = ?pause, "a child died at its start");
        } else {
            tracing::debug!(cause, retry_in = ?pause, "another child died at its start");
        }
        (self.stillbirths >= MOST_STILLBIRTHS).then_some(StartError::Children { cause })
    }

    /// A child has reported; true if as many before it died that it is worth telling.
    fn birth(&mut self, number: u64) -> bool {
        if number <= self.stillborn {
            return false;
        }
        // Only one that is younger than all that died says that the next may live.
        std::mem::take(&mut self.stillbirths) >= MOST_STILLBIRTHS
    }

    fn follows_work(&self) -> bool {
        self.fewest < self.most
    }
}

impl Reactor {
    /// When to look again at the number of children, or at their memory.
    pub(super) fn scale_at(&self, now: Instant) -> Option<Instant> {
        let scale = &self.scale;
        let autoscale = (scale.follows_work() && scale.children > scale.fewest)
            .then(|| scale.looked_at.map_or(now, |at| at + SCALE_EVERY));
        let has_cap = self.settings.as_ref()?.max_memory_bytes.is_some();
        let memory = (has_cap && self.busy() > 0)
            .then(|| scale.memory_at.map_or(now, |at| at + MEMORY_EVERY));
        let pause = scale.paused_until.filter(|_| !self.is_closing());
        [autoscale, memory, pause].into_iter().flatten().min()
    }

    /// Follows the work, and lets children go that hold too much memory.
    pub(super) fn scale(&mut self, now: Instant) {
        if self.scale.follows_work() {
            self.follow_work(now);
        }
        let Some(most) = self
            .settings
            .as_ref()
            .and_then(|settings| settings.max_memory_bytes)
        else {
            return;
        };
        let memory_at = &mut self.scale.memory_at;
        let all = memory_at.is_none_or(|at| now >= at + MEMORY_EVERY);
        if all {
            *memory_at = Some(now);
        }
        for index in 0..self.children.len() {
            let child = &mut self.children[index];
            // After each call, or the next one would run in it too.
            let looks = std::mem::take(&mut child.may_have_grown) || all;
            if !looks || child.leaving {
                continue;
            }
            let used = child.process.resident_bytes();
            if used.is_some_and(|used| used > most.get()) {
                tracing::info!(
                    used_bytes = used,
                    "a child holds too much memory and is replaced"
                );
                self.dismiss(index, now);
            }
        }
    }

    /// Has all children leave after what they run; others are forked in their places at once.
    pub(super) fn renew(&mut self, now: Instant) {
        for index in 0..self.children.len() {
            if !self.children[index].leaving {
                self.dismiss(index, now);
            }
        }
    }

    /// Has a child leave after what it runs; what it has not begun runs elsewhere.
    fn dismiss(&mut self, index: usize, now: Instant) {
        let child = &mut self.children[index];
        let calls = child.take_back(&mut self.buffer);
        child.leave();
        if !child.is_busy() {
            child.process.expect_exit(now);
        }
        self.requeue(calls);
    }

    fn follow_work(&mut self, now: Instant) {
        let slots = self
            .settings
            .as_ref()
            .map_or(1, |settings| settings.slots.get());
        let (busy, scale) = (self.busy(), &mut self.scale);
        if !self.queue.is_empty() && busy >= scale.children {
            let wanted = scale.children + self.queue.len().div_ceil(slots);
            scale.children = wanted.min(scale.most);
            scale.slack_since = None;
        }
        if busy >= scale.children {
            scale.slack_since = None;
        }
        if scale.looked_at.is_some_and(|at| now < at + SCALE_EVERY) {
            return;
        }
        scale.looked_at = Some(now);
        if busy < scale.children && scale.children > scale.fewest {
            let since = *scale.slack_since.get_or_insert(now);
            if now >= since + scale.keep_alive {
                scale.children -= 1;
            }
        }
    }

    /// Forks what is missing, and lets go what is too much.
    pub(super) fn replenish(&mut self, now: Instant) {
        if self.settings.is_none() {
            return;
        }
        self.greet();
        if self.desk.wants_process(now)
            && let Some(process) = self.launch.fork(Role::Service, now)
        {
            self.hear_process(&process);
            self.desk.process = Some(process);
        }
        if self.is_closing() {
            return;
        }
        if self.scale.paused_until.is_some_and(|until| now >= until) {
            self.scale.paused_until = None;
        }
        let staying = self
            .children
            .iter()
            .filter(|child| !child.leaving && !child.is_doomed());
        let staying = staying.count();
        let Some(settings) = &self.settings else {
            return;
        };
        if self.scale.paused_until.is_none() {
            for _ in staying..self.scale.children {
                let Some(process) = self.launch.fork(Role::Child, now) else {
                    break;
                };
                self.hear_process(&process);
                self.children.push(Child::new(process, settings, now));
            }
        }
        for _ in self.scale.children..staying {
            let idle = |child: &Child| child.is_open() && !child.is_busy();
            if let Some(index) = self.children.iter().rposition(idle) {
                self.dismiss(index, now);
            }
        }
    }

    /// Takes note of children that have reported.
    fn greet(&mut self) {
        let greeted = |child: &Child| child.is_open() || child.leaving;
        let all = self.children.iter().filter(|child| greeted(child));
        let count = all.clone().count();
        let youngest = all.map(|child| child.process.number).max();
        if youngest.is_some_and(|number| self.scale.birth(number)) {
            tracing::warn!("children start again");
            self.news.hindered(None);
        }
        if !self.scale.ready && count >= self.scale.children && count > 0 {
            self.scale.ready = true;
            self.news.started(Ok(()));
        }
    }

    /// Whether nothing is left to be sent to children, and nothing more will come.
    fn is_closing(&self) -> bool {
        self.mode.is_some() && self.queue.is_empty()
    }

    /// Lets children go that are no longer needed, and in the end everything; true when all is over.
    pub(super) fn wind_down(&mut self, now: Instant) -> bool {
        for child in &mut self.children {
            if child.leaving && !child.told_to_leave {
                child.leave();
            }
            if child.leaving && !child.is_busy() {
                child.process.expect_exit(now);
            }
        }
        if !self.is_closing() {
            return false;
        }
        for child in &mut self.children {
            if !child.is_busy() {
                child.leave();
                child.process.expect_exit(now);
                if !child.process.greeted || self.mode == Some(ShutdownMode::Kill) {
                    child.process.kill(crate::pool::death::Doom::Shutdown);
                }
            }
        }
        if !self.children.is_empty() {
            return false;
        }
        self.news.emptied();
        let Some(since) = self.closing else {
            return false;
        };
        if now >= since + END_GRACE {
            return true;
        }
        if self.desk.is_idle() {
            self.desk.leave(now);
        }
        if self.desk.process.is_none() {
            self.desk.close();
            self.launch.end();
        }
        !self.launch.is_running()
    }

    /// When what was to end in peace is ended otherwise.
    pub(super) fn closing_at(&self) -> Option<Instant> {
        self.closing.map(|since| since + END_GRACE)
    }
}
