//! The one thread of a pool that owns its children and everything under way.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use celeriac_core::outcome::{ErrorKind, TaskError};
use celeriac_core::policy::AckProfile;
use celeriac_core::registry::TASKS;
use celeriac_core::{Interrupt, Invocation, PayloadError, ShutdownMode, Work};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::ProcessSettings;
use super::arena::{REGION_BYTES, Shape};
use super::child::Child;
use super::clock;
use super::credit::{MOST_CHUNKS, Pace};
use super::death::{self, Doom};
use super::job::{Job, Request, guarded, stopped};
use super::mailbox::{Letters, Mailbox};
use super::setup::Setup;
use super::wire::ID_LIMIT;

/// How much is read from a child at once.
const READ_BYTES: usize = 64 * 1024;

/// After so long without news from a child, what waits behind its call goes to an idle one.
const STEAL_AFTER_NS: u64 = 2_000_000;

/// How long to wait before another child is started after one was lost so early.
const RETRY_AFTER_NS: u64 = 100_000_000;

/// So many children in a row may die before they are ready.
const MOST_STILLBORN: u32 = 3;

pub(super) struct Reactor {
    settings: ProcessSettings,
    setup: Setup,
    mailbox: Arc<Mailbox>,
    children: Vec<Child>,
    queue: BTreeMap<(u64, usize), Job>,
    submitted: u64,
    tasks: HashMap<&'static str, u32>,
    paces: Vec<Pace>,
    stillborn: u32,
    /// When the next child may be started, after one was lost before it was ready.
    retry_at: Option<u64>,
    /// Why no child can be started any more.
    broken: Option<String>,
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
        let lanes = settings.coroutines.map_or(1, std::num::NonZeroUsize::get);
        let setup = Setup {
            shape: Shape {
                lanes,
                seats: lanes.max(MOST_CHUNKS),
            },
            coroutines: settings.coroutines.is_some(),
            body_limit: settings.body_limit_bytes,
        };
        let tasks = TASKS.iter().zip(0..).map(|(task, n)| (task.name, n));
        let mut reactor = Self {
            setup,
            mailbox,
            children: Vec::new(),
            queue: BTreeMap::new(),
            submitted: 0,
            tasks: tasks.collect(),
            paces: vec![Pace::default(); TASKS.len()],
            stillborn: 0,
            retry_at: None,
            broken: None,
            mode: None,
            oom_kills: death::oom_kills(),
            scratch: vec![0; READ_BYTES],
            settings,
        };
        for _ in 0..reactor.settings.children.get() {
            match Child::spawn(setup, &reactor.settings) {
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
            .chain(self.retry_at)
            .min();
        let dead = self.wait(wake_at);
        let now = clock::now();
        self.look(now);
        self.bury(dead, now);
        true
    }

    /// Takes an invocation into the queue, or answers it at once if it can never run.
    fn accept(&mut self, invocation: Invocation) {
        let refused = self.refusal(&invocation);
        if let Some(error) = refused {
            guarded(|| invocation.reply.failed(error));
            return;
        }
        let task = self.tasks[invocation.task.name];
        let early = invocation.task.options.ack == AckProfile::Early;
        let number = self.submitted;
        self.submitted += 1;
        let Some(job) = Request::accept(invocation, number, task, early) else {
            return;
        };
        let mailbox = self.mailbox.clone();
        let control = job.request.control.clone();
        self.queue.insert(job.place(), job);
        control.on_interrupt(move |interrupt| mailbox.interrupt(number, interrupt));
    }

    /// Why an invocation can never run here.
    fn refusal(&self, invocation: &Invocation) -> Option<TaskError> {
        let bad = |reason: String| Some(TaskError::new(ErrorKind::BadArguments, reason));
        if self.mode.is_some() {
            return Some(TaskError::shutdown());
        }
        if let Some(why) = &self.broken {
            return Some(TaskError::lost(why.clone()));
        }
        let Work::Encoded(chunk) = &invocation.work else {
            return bad("a process pool only takes encoded calls".to_owned());
        };
        if !self.tasks.contains_key(invocation.task.name) {
            return Some(TaskError::new(
                ErrorKind::Unregistered,
                format!(
                    "`{}` is not among the registered tasks, so no child can run it",
                    invocation.task.name
                ),
            ));
        }
        if invocation.id.to_string().len() > ID_LIMIT {
            return bad(format!("its id is longer than {ID_LIMIT} bytes"));
        }
        let limit_bytes = self.settings.body_limit_bytes;
        let size_bytes = chunk.bytes().len();
        if size_bytes as u64 >= REGION_BYTES.min(u64::from(u32::MAX)) {
            return bad("4 GiB of arguments are too many for one chunk".to_owned());
        }
        if size_bytes <= limit_bytes {
            return None;
        }
        let longest = chunk.iter().map(<[u8]>::len).max().unwrap_or(0);
        (longest > limit_bytes).then(|| {
            let error = PayloadError::TooLarge {
                size_bytes: longest,
                limit_bytes,
            };
            TaskError::new(ErrorKind::BadArguments, format!("its arguments: {error}"))
        })
    }

    /// Sends what fits to the children with the least to do.
    fn dispatch(&mut self, now: u64) {
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
    fn rebalance(&mut self, now: u64) -> Option<u64> {
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
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
        }
        if !self.is_closing() && self.broken.is_none() {
            let serving = self.children.iter().filter(|child| child.serves()).count();
            for _ in serving..self.settings.children.get() {
                if self.retry_at.is_none() {
                    self.replace();
                }
            }
        }
        if let Some(why) = &self.broken
            && !self.children.iter().any(Child::serves)
        {
            let error = TaskError::lost(why.clone());
            self.fail_queue(&error);
        }
    }

    fn replace(&mut self) {
        match Child::spawn(self.setup, &self.settings) {
            Ok(child) => self.children.push(child),
            Err(error) => self.stillbirth(&format!("it could not be started: {error}")),
        }
    }

    /// Counts a child that was lost before it was ready; too many in a row end the pool.
    fn stillbirth(&mut self, cause: &str) {
        self.stillborn += 1;
        self.retry_at = Some(clock::now() + RETRY_AFTER_NS);
        tracing::warn!(
            cause,
            "a child of the process pool was lost before it was ready"
        );
        if self.stillborn >= MOST_STILLBORN && self.broken.is_none() {
            self.broken = Some(format!(
                "the process pool has no children: {MOST_STILLBORN} in a row were lost before \
                 they were ready; the last: {cause}"
            ));
            self.retry_at = None;
        }
    }

    /// Waits for news until `wake_at`, and hears it; returns the numbers of dead children.
    fn wait(&mut self, wake_at: Option<u64>) -> Vec<usize> {
        let mut timeout = wake_at.map(|at| at.saturating_sub(clock::now()));
        let asleep = self.mailbox.fall_asleep();
        if !asleep {
            timeout = Some(0);
        }
        let timeout = timeout.map(|nanos| {
            let timeout = Duration::from_nanos(nanos);
            Timespec {
                tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(timeout.subsec_nanos()),
            }
        });
        let mut fds = Vec::with_capacity(1 + 2 * self.children.len());
        fds.push(PollFd::from_borrowed_fd(self.mailbox.bell(), PollFlags::IN));
        for child in &self.children {
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, child.wants_to_write());
            // A closed socket would be ready for ever.
            if child.is_open() {
                fds.push(PollFd::from_borrowed_fd(child.socket(), flags));
            } else {
                fds.push(PollFd::from_borrowed_fd(child.pidfd(), PollFlags::IN));
            }
            fds.push(PollFd::from_borrowed_fd(child.pidfd(), PollFlags::IN));
        }
        // An error is a signal, and then a look around does no harm.
        let _ = rustix::event::poll(&mut fds, timeout.as_ref());
        let rung = !fds[0].revents().is_empty();
        let news: Vec<(bool, bool)> = fds[1..]
            .chunks_exact(2)
            .map(|pair| (!pair[0].revents().is_empty(), !pair[1].revents().is_empty()))
            .collect();
        drop(fds);
        self.mailbox.wake_up(rung);
        self.hear(&news)
    }

    fn hear(&mut self, news: &[(bool, bool)]) -> Vec<usize> {
        let now = clock::now();
        let mut dead = Vec::new();
        for (number, (child, &(spoke, died))) in self.children.iter_mut().zip(news).enumerate() {
            if spoke {
                let greeted = child.greeted();
                child.receive(&mut self.scratch, &mut self.paces, now);
                if child.greeted() && !greeted {
                    self.stillborn = 0;
                }
            }
            if died {
                dead.push(number);
            }
        }
        dead
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
                self.stillbirth(&cause);
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
