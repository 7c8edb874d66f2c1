//! A child, as the reactor sees it.

mod answers;
mod flight;
mod limits;
mod process;
mod remains;
mod scale;
mod seats;
mod stream;
mod work;

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use self::limits::Look;
use self::process::Process;
use self::scale::{Scale, Weight};
use self::seats::Seats;
use self::stream::Stream;
use super::ProcessSettings;
use super::arena::Arena;
use super::clock;
use super::credit::Load;
use super::death::Doom;
use super::setup::Setup;
use super::views::Views;

/// How long the parent waits for a child with coroutines to end a call by itself.
const BACKSTOP_NS: u64 = 1_000_000_000;

/// How long a child may take to exit after it was told to; less after its socket was closed.
const EXIT_GRACE_NS: u64 = 2_000_000_000;

/// One child process with everything it was given.
pub(super) struct Child {
    process: Process,
    stream: Stream,
    arena: Arena,
    views: Views,
    setup: Setup,
    seats: Seats,
    scale: Scale,
    calls_sent: u64,
    born: u64,
    /// Whether it has answered nothing yet.
    fresh: bool,
    last_news: u64,
    check_at: Option<u64>,
    exit_by: Option<u64>,
    retiring: bool,
    hung_up: bool,
    doom: Option<Doom>,
}

impl Child {
    /// Starts a child. It has said nothing yet when this returns.
    pub(super) fn spawn(setup: Setup, settings: &ProcessSettings) -> io::Result<Self> {
        let arena = Arena::create(setup.shape)?;
        let (stream, theirs) = Stream::open(setup, &arena)?;
        Ok(Self {
            process: Process::spawn(theirs)?,
            stream,
            arena,
            views: Views::default(),
            setup,
            seats: Seats::new(setup.shape.seats),
            scale: Scale::new(settings),
            calls_sent: 0,
            born: clock::now(),
            fresh: true,
            last_news: 0,
            check_at: None,
            exit_by: None,
            retiring: false,
            hung_up: false,
            doom: None,
        })
    }

    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.process.pidfd()
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.stream.socket()
    }

    pub(super) fn load(&self) -> Load {
        self.seats.load()
    }

    /// Whether it has said that it is ready.
    pub(super) fn greeted(&self) -> bool {
        self.process.pid().is_some()
    }

    pub(super) fn calls_sent(&self) -> u64 {
        self.calls_sent
    }

    /// Whether it is one of the pool's children, and not on its way out.
    pub(super) fn serves(&self) -> bool {
        !self.retiring && self.doom.is_none() && self.is_open()
    }

    /// Whether no other is wanted in its place. One that is lost before it was ready keeps its place
    /// until it is buried and counted, so that a program of which no child comes up does not start
    /// one after the other.
    pub(super) fn has_place(&self) -> bool {
        self.serves() || !self.greeted()
    }

    /// Whether work may be sent to it.
    pub(super) fn is_ready(&self) -> bool {
        self.greeted() && self.serves()
    }

    /// Whether its end of the socket is open.
    pub(super) fn is_open(&self) -> bool {
        self.stream.is_open()
    }

    /// Whether bytes wait for the socket.
    pub(super) fn wants_to_write(&self) -> bool {
        self.stream.wants_to_write()
    }

    /// Hands the socket what it takes now.
    pub(super) fn flush(&mut self) {
        self.stream.flush();
    }

    /// Gives it no more work; it exits when it has done what it has.
    pub(super) fn retire(&mut self) {
        self.retiring = true;
    }

    /// Whether it retires and has nothing left to do.
    pub(super) fn is_spent(&self) -> bool {
        self.retiring && self.load().chunks == 0 && !self.hung_up
    }

    /// Tells it that there is no more work.
    pub(super) fn hang_up(&mut self, now: u64) {
        self.retiring = true;
        self.hung_up = true;
        self.exit_by = Some(now + EXIT_GRACE_NS);
        self.stream.hang_up();
    }

    /// Kills it and all that it has started; why is for the outcome of what it runs.
    pub(super) fn kill(&mut self, doom: Doom) {
        if self.doom.is_none() {
            self.doom = Some(doom);
            self.exit_by = self.process.kill();
        }
    }

    /// The most a child with coroutines may be late with a hard limit.
    fn backstop(&self) -> u64 {
        if self.setup.coroutines {
            BACKSTOP_NS
        } else {
            0
        }
    }

    fn check_by(&mut self, at: u64) {
        self.check_at = Some(self.check_at.map_or(at, |known| known.min(at)));
    }

    /// When it wants to be looked at next.
    pub(super) fn wake_at(&self, start_timeout: u64) -> Option<u64> {
        let awaited = !self.greeted() && self.doom.is_none();
        let hello = awaited.then_some(self.born + start_timeout);
        [hello, self.check_at, self.scale.wake_at(), self.exit_by]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what its time has come for.
    pub(super) fn look(&mut self, start_timeout: Duration, now: u64) {
        if !self.greeted() && now >= self.born + clock::nanos(start_timeout) {
            self.kill(Doom::Stuck(format!(
                "it was not ready within {start_timeout:?}"
            )));
        }
        if self.check_at.is_some_and(|at| at <= now) {
            self.check_at = None;
            if self.doom.is_none() {
                self.check(now);
            }
        }
        if self.exit_by.is_some_and(|at| at <= now) {
            self.exit_by = self.process.kill();
        }
        if self.doom.is_none() {
            self.weigh(now);
        }
    }

    /// Looks for calls that are over their time.
    fn check(&mut self, now: u64) {
        let look = Look {
            now,
            backstop: self.backstop(),
            last_news: self.last_news,
        };
        let findings = look.at(self.seats.in_order(), self.arena.board().lanes());
        if let Some(next) = findings.next {
            self.check_by(next);
        }
        let mut news = false;
        for running in findings.overdue {
            news |= self.arena.board().overdue(running.lane, running.call);
        }
        if let Some(doom) = findings.doom {
            self.kill(doom);
        } else if news {
            self.process.notify();
        }
    }

    /// Kills it if it holds more memory than it may, and retires it if it holds more than it should.
    fn weigh(&mut self, now: u64) {
        let Some(pid) = self.process.pid() else {
            return;
        };
        match self.scale.weigh(pid, self.load().chunks > 0, now) {
            Weight::Fine => {}
            Weight::Heavy => self.retire(),
            Weight::Over { used, cap } => self.kill(Doom::Memory { used, cap }),
        }
    }
}
