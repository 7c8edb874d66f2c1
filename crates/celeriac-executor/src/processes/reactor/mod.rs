//! The one thread of a pool that owns its children and everything under way.

mod admission;
mod dispatch;
mod nursery;
mod waiting;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use celeriac_core::outcome::TaskError;
use celeriac_core::registry;
use celeriac_core::{Interrupt, ShutdownMode};

use self::nursery::Nursery;
use super::ProcessSettings;
use super::child::Child;
use super::clock;
use super::credit::Pace;
use super::death::{self, Doom};
use super::job::{Job, guarded, stopped};
use super::mailbox::{Letters, Mailbox};

/// How much is read from a child at once.
const READ_BYTES: usize = 64 * 1024;

pub(super) struct Reactor {
    settings: ProcessSettings,
    nursery: Nursery,
    mailbox: Arc<Mailbox>,
    children: Vec<Child>,
    queue: BTreeMap<(u64, usize), Job>,
    submitted: u64,
    tasks: HashMap<&'static str, u32>,
    paces: Vec<Pace>,
    mode: Option<ShutdownMode>,
    oom_kills: u64,
    scratch: Vec<u8>,
}

impl Reactor {
    /// Starts the children, says so, and serves until the pool is shut down.
    pub(super) fn run(
        settings: ProcessSettings,
        mailbox: Arc<Mailbox>,
        started: &Sender<io::Result<()>>,
    ) {
        let tasks = registry::all().zip(0..).map(|(task, n)| (task.name, n));
        let mut reactor = Self {
            nursery: Nursery::new(settings),
            mailbox,
            children: Vec::new(),
            queue: BTreeMap::new(),
            submitted: 0,
            tasks: tasks.collect(),
            paces: vec![Pace::default(); registry::all().count()],
            mode: None,
            oom_kills: death::oom_kills(),
            scratch: vec![0; READ_BYTES],
            settings,
        };
        for _ in 0..reactor.settings.children.get() {
            match reactor.nursery.start() {
                Ok(child) => reactor.children.push(child),
                Err(error) => {
                    reactor.end();
                    let _ = started.send(Err(error));
                    return;
                }
            }
        }
        let _ = started.send(Ok(()));
        let mut letters = Letters::default();
        let serve = || while reactor.turn(&mut letters) {};
        if catch_unwind(AssertUnwindSafe(serve)).is_err() {
            tracing::error!("the process pool's reactor panicked; its children are killed");
        }
        reactor.end();
    }

    /// One round: takes letters, sends work, waits, hears the children. False when all is over.
    fn turn(&mut self, letters: &mut Letters) -> bool {
        let now = clock::now();
        self.mailbox.take(letters);
        for invocation in letters.submitted.drain(..) {
            self.accept(invocation);
        }
        for (number, interrupt) in letters.interrupts.drain(..) {
            self.interrupt(number, interrupt, now);
        }
        if let Some(mode) = letters.shutdown.take() {
            self.shut_down(mode);
        }
        self.dispatch(now);
        let steal_at = self.rebalance(now);
        for child in &mut self.children {
            child.flush();
        }
        if self.wind_down(now) {
            return false;
        }
        let start_timeout = clock::nanos(self.settings.start_timeout);
        let wake_at = self
            .children
            .iter()
            .filter_map(|child| child.wake_at(start_timeout))
            .chain(steal_at)
            .chain(self.nursery.retry_at(now))
            .min();
        let dead = self.wait(wake_at);
        let now = clock::now();
        self.look(now);
        self.bury(dead, now);
        true
    }

    fn interrupt(&mut self, number: u64, interrupt: Interrupt, now: u64) {
        if let Some(error) = stopped(Some(interrupt)) {
            let places = (number, 0)..=(number, usize::MAX);
            let queued: Vec<_> = self.queue.range(places).map(|(&place, _)| place).collect();
            for place in queued {
                if let Some(job) = self.queue.remove(&place) {
                    job.fail(&error);
                }
            }
        }
        let grace = self.settings.cancel_grace;
        for child in &mut self.children {
            for (job, error) in child.interrupt(number, interrupt, grace, now) {
                job.fail(&error);
            }
        }
    }

    fn shut_down(&mut self, mode: ShutdownMode) {
        let rank = |mode| match mode {
            ShutdownMode::Wait => 0,
            ShutdownMode::CancelQueued => 1,
            _ => 2,
        };
        if self.mode.is_some_and(|known| rank(known) >= rank(mode)) {
            return;
        }
        self.mode = Some(mode);
        if mode == ShutdownMode::Wait {
            return;
        }
        for child in &mut self.children {
            for job in child.cancel_queued() {
                self.queue.insert(job.place(), job);
            }
            if mode == ShutdownMode::Kill {
                child.kill(Doom::Shutdown);
            }
        }
        self.fail_queue(&TaskError::shutdown());
    }

    fn fail_queue(&mut self, error: &TaskError) {
        for job in std::mem::take(&mut self.queue).into_values() {
            job.fail(error);
        }
    }

    /// Lets children go that are no longer needed; true when the pool has ended.
    fn wind_down(&mut self, now: u64) -> bool {
        self.replenish(now);
        let busy = |child: &Child| child.load().chunks > 0;
        let over = self.is_closing() && !self.children.iter().any(busy);
        for child in &mut self.children {
            if over {
                child.retire();
            }
            if child.is_spent() {
                child.hang_up(now);
            }
        }
        over && self.children.is_empty()
    }

    /// Whether nothing is left to be sent, and nothing more will come.
    fn is_closing(&self) -> bool {
        self.mode.is_some() && self.queue.is_empty()
    }

    /// Starts as many children as are missing, or gives up.
    fn replenish(&mut self, now: u64) {
        if !self.is_closing() {
            let places = self.children.iter().filter(|child| child.has_place());
            for _ in places.count()..self.settings.children.get() {
                self.children.extend(self.nursery.replace(now));
            }
        }
        if let Some(why) = self.nursery.broken()
            && !self.children.iter().any(Child::serves)
        {
            let error = TaskError::lost(why.to_owned());
            self.fail_queue(&error);
        }
    }

    /// Sees to the children whose time has come.
    fn look(&mut self, now: u64) {
        for child in &mut self.children {
            child.look(self.settings.start_timeout, now);
        }
    }

    /// Settles what dead children leave; replacements are started in the next round.
    fn bury(&mut self, dead: Vec<usize>, now: u64) {
        for number in dead.into_iter().rev() {
            let child = self.children.remove(number);
            let remains = child.bury(&mut self.scratch, &mut self.paces, now);
            let oom_kills = death::oom_kills();
            let oom = oom_kills > std::mem::replace(&mut self.oom_kills, oom_kills);
            let cause = match (&remains.doom, remains.status) {
                (Some(doom), _) => doom.verdict(u64::MAX, 0).to_string(),
                (None, Some(status)) => death::cause(status, remains.noted, oom),
                (None, None) => "its child died".to_owned(),
            };
            if !remains.greeted && self.mode.is_none() {
                self.nursery.stillbirth(&cause);
            } else if !remains.expected && self.mode.is_none() {
                tracing::warn!(cause, "a child of the process pool died and is replaced");
            }
            let rest = remains.settle(&cause);
            for job in rest {
                if matches!(self.mode, None | Some(ShutdownMode::Wait)) {
                    self.queue.insert(job.place(), job);
                } else {
                    job.fail(&TaskError::shutdown());
                }
            }
        }
    }

    /// The end: kills and reaps what is left, and answers whoever still waits.
    fn end(&mut self) {
        for child in &mut self.children {
            child.kill(Doom::Shutdown);
        }
        let now = clock::now();
        for child in std::mem::take(&mut self.children) {
            let remains = child.bury(&mut self.scratch, &mut self.paces, now);
            for job in remains.settle("its pool ended") {
                job.fail(&TaskError::shutdown());
            }
        }
        self.fail_queue(&TaskError::shutdown());
        for invocation in self.mailbox.close() {
            guarded(|| invocation.reply.failed(TaskError::shutdown()));
        }
    }
}
