//! The one thread of a pool, which owns the fork server, what it has forked, and everything under way.

mod bury;
mod dispatch;
mod hear;
mod launch;
mod limits;
mod scale;
mod stacks;
mod waiting;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use celeriac_core::outcome::TaskError;
use celeriac_core::{Interrupt, Invocation, ShutdownMode};

use self::launch::Launch;
use self::scale::Scale;
use self::stacks::Survey;
use self::waiting::Waiting;
use super::books::Books;
use super::call::{Call, guarded, stopped};
use super::child::{Child, Stage};
use super::death::Doom;
use super::desk::Desk;
use super::mailbox::{Letter, Letters, Mailbox};
use super::{News, PoolKind, PoolSettings};
use crate::server::Recipe;

pub(super) struct Reactor {
    mailbox: Arc<Mailbox>,
    news: News,
    waiting: Waiting,
    launch: Launch,
    settings: Option<PoolSettings>,
    scale: Scale,
    survey: Option<Survey>,
    children: Vec<Child>,
    desk: Desk,
    /// Calls no child has, in the order of their numbers.
    queue: VecDeque<Call>,
    books: Books,
    submitted: u64,
    mode: Option<ShutdownMode>,
    /// Whether all is to end, in peace.
    closing: Option<Instant>,
    /// Whether all is to end at once.
    killed: bool,
    packet: Vec<u8>,
    buffer: Vec<u8>,
}

impl Reactor {
    /// Starts the fork server, and serves until the pool is closed.
    pub(super) fn run(recipe: Recipe, mailbox: Arc<Mailbox>, news: News) {
        let waiting = match Waiting::new(&mailbox) {
            Ok(waiting) => waiting,
            Err(error) => {
                news.imported(Err(error.into()));
                mailbox.close();
                return;
            }
        };
        let mut reactor = Self {
            mailbox,
            news,
            waiting,
            launch: Launch::new(recipe),
            settings: None,
            scale: Scale::default(),
            survey: None,
            children: Vec::new(),
            desk: Desk::default(),
            queue: VecDeque::new(),
            books: Books::default(),
            submitted: 0,
            mode: None,
            closing: None,
            killed: false,
            packet: Vec::new(),
            buffer: Vec::new(),
        };
        let mut letters = Letters::default();
        let serve = || while reactor.turn(&mut letters) {};
        if catch_unwind(AssertUnwindSafe(serve)).is_err() {
            tracing::error!("the thread of the Python pool panicked; its children are killed");
        }
        reactor.end();
    }

    /// One round: takes letters, sends work, waits, hears everybody. False when all is over.
    fn turn(&mut self, letters: &mut Letters) -> bool {
        let now = Instant::now();
        self.mailbox.take(letters);
        for invocation in letters.submitted.drain(..) {
            self.accept(invocation);
        }
        for letter in letters.orders.drain(..) {
            self.open(letter, now);
        }
        self.launch_server(now);
        self.relieve(now);
        self.scale(now);
        self.replenish(now);
        self.dispatch(now);
        self.desk.send(&mut self.packet);
        if self.killed || self.wind_down(now) {
            return false;
        }
        self.flush_control();
        self.wait(now);
        let now = Instant::now();
        self.ring(now);
        self.look(now);
        self.look_at_stacks(now);
        self.bury(now);
        true
    }

    fn accept(&mut self, invocation: Invocation) {
        if self.mode.is_some() {
            guarded(|| invocation.reply.failed(TaskError::shutdown()));
            return;
        }
        self.submitted += 1;
        let call = Call::accept(invocation, self.submitted, &self.mailbox);
        self.queue.extend(call);
    }

    fn open(&mut self, letter: Letter, now: Instant) {
        match letter {
            Letter::Start(settings) => self.start(*settings),
            Letter::Interrupt(number, interrupt) => self.interrupt(number, interrupt),
            Letter::Terminate(id, signal) => {
                self.terminate(|call| call.delivery.message.headers.id == id, signal);
            }
            Letter::Ask(ask) => self.desk.ask(ask),
            Letter::Resize(children) => self.scale.resize(children),
            Letter::Stacks(asker) => self.survey(asker, now),
            Letter::Autoscale(bounds) => self.scale.follow(bounds),
            Letter::Renew => self.renew(now),
            Letter::Shutdown(mode) => self.shut_down(mode),
            Letter::Close => {
                self.shut_down(ShutdownMode::Kill);
                self.closing.get_or_insert(now);
            }
            Letter::Kill => self.killed = true,
        }
    }

    /// A call is not wanted any more. What runs goes on, as in Celery, but for coroutines.
    fn interrupt(&mut self, number: u64, interrupt: Interrupt) {
        let Some(error) = stopped(Some(interrupt)) else {
            return;
        };
        let Some((index, seq)) = self.unqueue(|call| call.number == number, &error) else {
            return;
        };
        let child = &mut self.children[index];
        if child.kind == PoolKind::Coroutines
            && interrupt == Interrupt::Cancelled
            && let Some(held) = child.held_mut(seq)
            && held.stage != Stage::Answered
        {
            held.stage = Stage::Cancelled(None);
            child.cancel(seq);
        }
    }

    /// Ends a call, even if it runs.
    fn terminate(&mut self, is: impl Fn(&Call) -> bool, signal: i32) {
        let Some((index, seq)) = self.unqueue(is, &TaskError::cancelled()) else {
            return;
        };
        let child = &mut self.children[index];
        let Some(held) = child.held_mut(seq) else {
            return;
        };
        if held.stage == Stage::Answered {
            return;
        }
        held.stage = Stage::Cancelled(Some(signal.unsigned_abs()));
        if child.kind == PoolKind::Coroutines {
            child.cancel(seq);
        } else if let Some(signal) = rustix::process::Signal::from_named_raw(signal) {
            child.process.signal(signal);
        }
    }

    /// Answers a call that has not begun with `error`. If it has, says which child has it, and its
    /// number there.
    fn unqueue(&mut self, is: impl Fn(&Call) -> bool, error: &TaskError) -> Option<(usize, u64)> {
        let mut holders = self.children.iter();
        if let Some(index) = holders.position(|child| child.find(&is).is_some()) {
            let calls = self.children[index].take_back(&mut self.buffer);
            self.requeue(calls);
        }
        if let Some(place) = self.queue.iter().position(&is) {
            if let Some(call) = self.queue.remove(place) {
                call.fail(error.clone());
            }
            return None;
        }
        let mut children = self.children.iter().enumerate();
        children.find_map(|(index, child)| Some((index, child.find(&is)?)))
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
        for index in 0..self.children.len() {
            let calls = self.children[index].take_back(&mut self.buffer);
            self.requeue(calls);
            if mode == ShutdownMode::Kill {
                self.children[index].process.kill(Doom::Shutdown);
            }
        }
        self.fail_queue();
    }

    fn fail_queue(&mut self) {
        for call in std::mem::take(&mut self.queue) {
            call.fail(TaskError::shutdown());
        }
    }

    /// Whether what has not begun is not to begin any more.
    fn gives_up_queue(&self) -> bool {
        !matches!(self.mode, None | Some(ShutdownMode::Wait))
    }

    /// Puts calls back in their places.
    fn requeue(&mut self, calls: Vec<Call>) {
        for call in calls {
            if self.gives_up_queue() {
                call.fail(TaskError::shutdown());
            } else {
                let place = self
                    .queue
                    .partition_point(|other| other.number < call.number);
                self.queue.insert(place, call);
            }
        }
    }

    /// The end: kills what is left, and answers whoever still waits.
    fn end(&mut self) {
        for child in &mut self.children {
            child.process.kill(Doom::Shutdown);
        }
        if let Some(service) = &mut self.desk.process {
            service.kill(Doom::Shutdown);
        }
        self.await_deaths(Duration::from_secs(2));
        self.launch.kill();
        for child in std::mem::take(&mut self.children) {
            for call in child.bury(&mut self.books, &mut self.buffer) {
                call.fail(TaskError::shutdown());
            }
        }
        self.fail_queue();
        self.desk.close();
        let left = self.mailbox.close();
        for invocation in left.submitted {
            guarded(|| invocation.reply.failed(TaskError::shutdown()));
        }
        for letter in left.orders {
            if let Letter::Ask(ask) = letter {
                ask.refuse();
            }
        }
        self.news.ended();
    }
}
