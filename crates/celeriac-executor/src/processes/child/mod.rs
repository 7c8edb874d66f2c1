//! A child, as the reactor sees it.

mod flight;
mod limits;
mod process;
mod scale;

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::time::Duration;

use bytes::Bytes;
use celeriac_core::outcome::TaskError;
use celeriac_core::{Interrupt, OutcomeChunk, Progress};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::process::Pid;

use self::flight::Flight;
use self::limits::Look;
use self::process::Process;
use self::scale::{Scale, Weight};
use super::ProcessSettings;
use super::arena::{Arena, Claim, INLINE_BYTES, Notice, REGION_BYTES, RING_BYTES, Region, Running};
use super::clock;
use super::credit::{Load, Pace};
use super::death::Doom;
use super::job::{Job, guarded, stopped};
use super::setup::Setup;
use super::views::Views;
use super::wire::{
    About, CHILD_FRAME_LIMIT, Fields, HELLO, LARGE, OUTCOMES, OUTCOMES_HEADER, PROGRESS, RunHeader,
    VERSION, split_frame,
};

/// How long the parent waits for a child with coroutines to end a call by itself.
const BACKSTOP_NS: u64 = 1_000_000_000;

/// How long a child may take to exit after it was told to, or after its socket was closed.
const EXIT_GRACE_NS: u64 = 2_000_000_000;

/// One child process with everything it was given.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and nearly every combination occurs"
)]
pub(super) struct Child {
    process: Process,
    socket: OwnedFd,
    arena: Arena,
    views: Views,
    setup: Setup,
    /// Bytes the socket has not taken yet.
    out: Vec<u8>,
    sent: usize,
    /// Bytes of the child's stream that are not a whole frame yet, and where they begin in it.
    input: Vec<u8>,
    input_at: u64,
    seats: Vec<Option<Flight>>,
    free: Vec<u32>,
    /// Seats in the order they were filled.
    order: VecDeque<u32>,
    serial: u32,
    nonces: RandomState,
    load: Load,
    scale: Scale,
    calls_sent: u64,
    born: u64,
    greeted: bool,
    /// Whether it has answered nothing yet.
    fresh: bool,
    last_news: u64,
    check_at: Option<u64>,
    exit_by: Option<u64>,
    retiring: bool,
    hung_up: bool,
    ended: bool,
    doom: Option<Doom>,
}

/// What a dead child leaves.
pub(super) struct Remains {
    pub(super) status: Option<ExitStatus>,
    pub(super) noted: u64,
    pub(super) greeted: bool,
    pub(super) doom: Option<Doom>,
    pub(super) expected: bool,
    fresh: bool,
    lanes: Vec<Running>,
    arena: Arena,
    flights: Vec<(u32, Flight)>,
}

impl Remains {
    /// Gives the running calls their verdict and returns what is still to be run.
    pub(super) fn settle(self, cause: &str) -> Vec<Job> {
        let victims: Vec<Vec<usize>> = self
            .flights
            .iter()
            .map(|(seat, flight)| flight.victims(*seat, &self.arena, &self.lanes))
            .collect();
        // If it never ran a call, the first one it was given may be what it cannot take.
        let mut suspect = self.fresh && victims.iter().all(Vec::is_empty);
        let mut rest = Vec::new();
        for ((_, flight), victims) in self.flights.into_iter().zip(victims) {
            let suspect = std::mem::take(&mut suspect);
            rest.extend(flight.land(&victims, suspect, self.doom.as_ref(), cause));
        }
        rest
    }
}

impl Child {
    /// Starts a child. It has said nothing yet when this returns.
    pub(super) fn spawn(setup: Setup, settings: &ProcessSettings) -> io::Result<Self> {
        let arena = Arena::create(setup.shape)?;
        let (socket, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        send_setup(&socket, setup, &arena)?;
        let process = Process::spawn(theirs)?;
        let seats = setup.shape.seats;
        let last_seat = u32::try_from(seats).expect("pools are checked to be small");
        Ok(Self {
            process,
            socket,
            arena,
            views: Views::default(),
            setup,
            out: Vec::new(),
            sent: 0,
            input: Vec::new(),
            input_at: 0,
            seats: (0..seats).map(|_| None).collect(),
            free: (0..last_seat).rev().collect(),
            order: VecDeque::new(),
            serial: 0,
            nonces: RandomState::new(),
            load: Load::default(),
            calls_sent: 0,
            born: clock::now(),
            greeted: false,
            fresh: true,
            last_news: 0,
            check_at: None,
            scale: Scale::new(settings),
            exit_by: None,
            retiring: false,
            hung_up: false,
            ended: false,
            doom: None,
        })
    }

    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.process.pidfd()
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn load(&self) -> Load {
        self.load
    }

    pub(super) fn greeted(&self) -> bool {
        self.greeted
    }

    pub(super) fn calls_sent(&self) -> u64 {
        self.calls_sent
    }

    /// Whether it is one of the pool's children, and not on its way out.
    pub(super) fn serves(&self) -> bool {
        !self.retiring && self.doom.is_none() && !self.ended
    }

    /// Whether work may be sent to it.
    pub(super) fn is_ready(&self) -> bool {
        self.greeted && self.serves()
    }

    /// Whether its end of the socket is open.
    pub(super) fn is_open(&self) -> bool {
        !self.ended
    }

    /// Gives it no more work; it exits when it has done what it has.
    pub(super) fn retire(&mut self) {
        self.retiring = true;
    }

    /// Whether it retires and has nothing left to do.
    pub(super) fn is_spent(&self) -> bool {
        self.retiring && self.load.chunks == 0 && !self.hung_up
    }

    /// Tells it that there is no more work.
    pub(super) fn hang_up(&mut self, now: u64) {
        self.retiring = true;
        self.hung_up = true;
        self.exit_by = Some(now + EXIT_GRACE_NS);
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
    }

    /// Kills it and all that it has started; why is for the outcome of what it runs.
    pub(super) fn kill(&mut self, doom: Doom) {
        if self.doom.is_none() {
            self.doom = Some(doom);
            self.exit_by = self.process.kill();
        }
    }

    /// Whether a job fits in now; `pace` is that of its task.
    pub(super) fn has_room(&self, job: &Job, pace: Pace) -> bool {
        if !self.is_ready() || self.free.is_empty() {
            return false;
        }
        if self.load.chunks == 0 {
            return true;
        }
        if self.setup.coroutines {
            return self.load.calls + job.chunk.len() <= self.setup.shape.lanes;
        }
        !is_alone(job, pace) && self.load.has_room(job.chunk.bytes().len())
    }

    /// Puts a job into a free seat and its request into the write buffer.
    pub(super) fn send(&mut self, job: Job, pace: Pace, now: u64) -> Result<(), (Job, io::Error)> {
        let seat = self.free.pop().expect("it has room");
        let serial = self.serial + 1;
        let bytes = job.chunk.bytes().clone();
        let inline = bytes.len() <= INLINE_BYTES;
        if !inline
            && let Err(error) = self
                .views
                .write(&self.arena, Region::inbox(seat), 0, &bytes)
        {
            self.free.push(seat);
            return Err((job, error));
        }
        self.serial = serial;
        let nonce = self.nonces.hash_one(serial);
        let request = &job.request;
        let number = |count: usize| u32::try_from(count).expect("chunks are checked to be small");
        let header = RunHeader {
            seat,
            serial,
            nonce,
            task: request.task,
            content_type: job.chunk.content_type(),
            attempt: request.attempt,
            first: number(job.first),
            count: number(job.chunk.len()),
            soft: request.limits.soft.map_or(0, clock::nanos),
            hard: request.limits.hard.map_or(0, clock::nanos),
            id: &request.id.to_string(),
            inbox: if inline { 0 } else { number(bytes.len()) },
        };
        self.arena.offer(seat, serial);
        header.write(&mut self.out, if inline { &bytes } else { &[] });
        if let Some(first) = limits::first(request.limits, self.backstop()) {
            self.check_by(now + first);
        }
        let (alone, cost_ns) = (is_alone(&job, pace), pace.cost(job.chunk.len()));
        self.load.chunks += 1;
        self.load.calls += job.chunk.len();
        self.load.alone += usize::from(alone);
        self.load.cost_ns += cost_ns;
        self.calls_sent += job.chunk.len() as u64;
        self.scale.sent(now);
        self.order.push_back(seat);
        if self.order.len() == 1 || self.setup.coroutines {
            job.request.announce();
        }
        self.seats[seat as usize] = Some(Flight {
            job,
            serial,
            nonce,
            answered: super::job::Answered::default(),
            sent_at: now,
            cost_ns,
            alone,
            kill_at: None,
        });
        Ok(())
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

    /// Whether bytes wait for the socket.
    pub(super) fn wants_to_write(&self) -> bool {
        self.sent < self.out.len() && !self.ended
    }

    /// Hands the socket what it takes now.
    pub(super) fn flush(&mut self) {
        while self.wants_to_write() {
            match rustix::net::send(&self.socket, &self.out[self.sent..], SendFlags::NOSIGNAL) {
                Ok(sent) => self.sent += sent,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // It is dying; the rest is said when it is dead.
                Err(_) => break,
            }
        }
        self.out.clear();
        self.sent = 0;
    }

    /// Reads and answers what has come.
    pub(super) fn receive(&mut self, scratch: &mut [u8], paces: &mut [Pace], now: u64) {
        while !self.ended && self.doom.is_none() {
            match rustix::io::read(&self.socket, &mut *scratch) {
                Ok(0) => {
                    self.ended = true;
                    self.exit_by = Some(now + EXIT_GRACE_NS / 20);
                }
                Ok(read) => {
                    self.last_news = now;
                    self.input.extend_from_slice(&scratch[..read]);
                    self.parse(paces);
                    if read < scratch.len() {
                        return;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.ended = true;
                    self.exit_by = Some(now + EXIT_GRACE_NS / 20);
                }
            }
        }
    }

    /// Answers the whole frames of the input; a child that sent anything else is killed.
    fn parse(&mut self, paces: &mut [Pace]) {
        let mut input = std::mem::take(&mut self.input);
        let mut start = 0;
        let junk = loop {
            match split_frame(&input[start..], CHILD_FRAME_LIMIT) {
                Ok(None) => break None,
                Ok(Some((frame, taken))) => {
                    if let Err(what) = self.frame(frame, paces) {
                        break Some(what.to_owned());
                    }
                    start += taken;
                }
                Err(too_long) => break Some(format!("a frame of {} bytes", too_long.0)),
            }
        };
        input.drain(..start);
        self.input = input;
        self.input_at += start as u64;
        if let Some(what) = junk {
            self.kill(Doom::Junk(what));
        }
    }

    fn frame(&mut self, frame: &[u8], paces: &mut [Pace]) -> Result<(), &'static str> {
        const SHORT: &str = "a frame that is too short";
        let mut fields = Fields(frame);
        let kind = fields.u8().ok_or("an empty frame")?;
        if kind == HELLO {
            if fields.u32() != Some(VERSION) || self.greeted {
                return Err("a greeting out of place");
            }
            self.greeted = true;
            let pid = fields.u32().and_then(|pid| i32::try_from(pid).ok());
            self.process.introduce(pid.and_then(Pid::from_raw));
            return Ok(());
        }
        let about = About::read(&mut fields).ok_or(SHORT)?;
        let flight = self
            .seats
            .get(about.seat as usize)
            .and_then(Option::as_ref)
            .filter(|flight| flight.nonce == about.nonce)
            .ok_or("a frame about a call it was not given")?;
        match kind {
            OUTCOMES => {
                let busy = fields.u64().ok_or(SHORT)?;
                let records = Bytes::copy_from_slice(fields.0);
                self.outcomes(about, busy, records, paces)
            }
            LARGE => {
                let busy = fields.u64().ok_or(SHORT)?;
                let offset = fields.u64().ok_or(SHORT)?;
                let len = fields.u64().ok_or(SHORT)?;
                let record = self.read_large(about.seat, offset, len)?;
                self.outcomes(about, busy, record, paces)
            }
            PROGRESS => {
                let progress = Progress {
                    done: fields.u64().ok_or(SHORT)?,
                    total: fields.u64().ok_or(SHORT)?,
                    message: String::from_utf8_lossy(fields.0).into_owned(),
                };
                guarded(|| flight.job.request.control.report(progress));
                Ok(())
            }
            _ => Err("a frame of an unknown kind"),
        }
    }

    /// Copies an outcome out of the arena, so that the child cannot change it any more.
    fn read_large(&mut self, seat: u32, offset: u64, len: u64) -> Result<Bytes, &'static str> {
        let limit = self.setup.body_limit as u64 + 5;
        if len > limit || offset > REGION_BYTES - len {
            return Err("an outcome over the limit");
        }
        let size = usize::try_from(len).expect("it is below the limit");
        let record = self
            .views
            .read(&self.arena, Region::outbox(seat), offset, size)
            .map_err(|_| "an outcome that cannot be read")?;
        self.arena.trim(Region::outbox(seat), offset, len);
        Ok(record.into())
    }

    /// Passes outcomes on, if they are of calls that have none and can have one.
    fn outcomes(
        &mut self,
        about: About,
        busy: u64,
        records: Bytes,
        paces: &mut [Pace],
    ) -> Result<(), &'static str> {
        let Some(flight) = &mut self.seats[about.seat as usize] else {
            return Err("an outcome of no call");
        };
        let index = about.index as usize;
        let job = &flight.job;
        let outcomes = OutcomeChunk::from_bytes(
            job.chunk.content_type(),
            job.first + index,
            Duration::from_nanos(busy),
            records,
        )
        .map_err(|_| "outcomes that cannot be read")?;
        let count = outcomes.len();
        let fits = count > 0
            && index + count <= job.chunk.len()
            && (self.setup.coroutines || index == flight.answered.next())
            && self.arena.claim_of(about.seat, flight.serial) == Claim::Started
            && flight.answered.note(index, count);
        if !fits {
            return Err("outcomes of calls it has not run");
        }
        let pace = &mut paces[job.request.task as usize];
        pace.learn(busy, count);
        self.load.calls -= count;
        self.scale.answered();
        self.fresh = false;
        job.request.answer(outcomes);
        if flight.is_done() {
            self.finish(about.seat);
        }
        Ok(())
    }

    /// Empties a seat; the chunk behind it is the next one to run.
    fn finish(&mut self, seat: u32) -> Option<Flight> {
        let flight = self.seats[seat as usize].take()?;
        self.load.chunks -= 1;
        self.load.alone -= usize::from(flight.alone);
        self.load.cost_ns -= flight.cost_ns;
        self.free.push(seat);
        let size = flight.job.chunk.bytes().len();
        if size > INLINE_BYTES {
            self.arena.trim(Region::inbox(seat), 0, size as u64);
        }
        match self.order.front() {
            Some(&front) if front == seat => {
                self.order.pop_front();
            }
            _ => self.order.retain(|&other| other != seat),
        }
        if let Some(&front) = self.order.front()
            && let Some(next) = &self.seats[front as usize]
        {
            next.job.request.announce();
        }
        Some(flight)
    }

    /// Takes back what it has not begun with.
    pub(super) fn take_back(&mut self) -> Vec<Job> {
        let queued: Vec<u32> = self.order.iter().copied().collect();
        queued
            .into_iter()
            .filter_map(|seat| self.take_back_seat(seat))
            .collect()
    }

    fn take_back_seat(&mut self, seat: u32) -> Option<Job> {
        let serial = self.seats[seat as usize].as_ref()?.serial;
        if !self.arena.take_back(seat, serial) {
            return None;
        }
        let job = self.finish(seat)?.job;
        self.load.calls -= job.chunk.len();
        self.calls_sent -= job.chunk.len() as u64;
        Some(job)
    }

    /// Since when it has been silent although it holds more than it runs.
    pub(super) fn backlog_since(&self) -> Option<u64> {
        (self.load.chunks > 1 && !self.setup.coroutines && self.doom.is_none())
            .then_some(self.last_news.max(self.newest_front()))
    }

    fn newest_front(&self) -> u64 {
        let front = self.order.front().map(|&seat| &self.seats[seat as usize]);
        front
            .and_then(Option::as_ref)
            .map_or(0, |flight| flight.sent_at)
    }

    /// Passes an interrupt on to the calls of `request`; gives back those that will not run.
    pub(super) fn interrupt(
        &mut self,
        request: u64,
        interrupt: Interrupt,
        grace: Duration,
        now: u64,
    ) -> Vec<(Job, TaskError)> {
        let seats: Vec<u32> = self.order.iter().copied().collect();
        let mut ended = Vec::new();
        let mut signal = false;
        let mut grace = clock::nanos(grace);
        if self.setup.coroutines {
            // They end at the next await, so one that has not by then blocks the others too.
            grace = grace.min(BACKSTOP_NS);
        }
        for seat in seats {
            let Some(flight) = &self.seats[seat as usize] else {
                continue;
            };
            if flight.job.request.number != request {
                continue;
            }
            let error = stopped(Some(interrupt));
            if let Some(error) = error.clone()
                && let Some(job) = self.take_back_seat(seat)
            {
                ended.push((job, error));
                continue;
            }
            self.arena.notify(
                seat,
                match interrupt {
                    Interrupt::SoftTimeLimit => Notice::Soft,
                    Interrupt::Shutdown => Notice::Shutdown,
                    _ => Notice::Cancel,
                },
            );
            signal = true;
            if error.is_some() {
                let kill_at = now + grace;
                if let Some(flight) = &mut self.seats[seat as usize] {
                    flight.kill_at = Some(kill_at);
                }
                self.check_by(kill_at);
            }
        }
        if signal {
            self.process.notify();
        }
        ended
    }

    /// Asks it to answer what it has not begun with an error, and takes the rest back.
    pub(super) fn cancel_queued(&mut self) -> Vec<Job> {
        let jobs = self.take_back();
        for &seat in &self.order {
            self.arena.notify(seat, Notice::SkipRest);
        }
        jobs
    }

    /// When it wants to be looked at next.
    pub(super) fn wake_at(&self, start_timeout: u64) -> Option<u64> {
        let hello = (!self.greeted && self.doom.is_none()).then_some(self.born + start_timeout);
        [hello, self.check_at, self.scale.wake_at(), self.exit_by]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what its time has come for.
    pub(super) fn look(&mut self, start_timeout: Duration, now: u64) {
        if !self.greeted && self.doom.is_none() && now >= self.born + clock::nanos(start_timeout) {
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
    }

    /// Looks for calls that are over their time.
    fn check(&mut self, now: u64) {
        let look = Look {
            now,
            backstop: self.backstop(),
            last_news: self.last_news,
        };
        let seats = self.order.iter().map(|&seat| &self.seats[seat as usize]);
        let findings = look.at(seats.flatten(), self.arena.lanes());
        if let Some(next) = findings.next {
            self.check_by(next);
        }
        let mut news = false;
        for running in findings.overdue {
            news |= self.arena.overdue(running.lane, running.call);
        }
        if let Some(doom) = findings.doom {
            self.kill(doom);
        } else if news {
            self.process.notify();
        }
    }

    /// Kills it if it holds more memory than it may, and retires it if it holds more than it should.
    pub(super) fn weigh(&mut self, now: u64) {
        let Some(pid) = self.process.pid().filter(|_| self.doom.is_none()) else {
            return;
        };
        match self.scale.weigh(pid, self.load.chunks > 0, now) {
            Weight::Fine => {}
            Weight::Heavy => self.retire(),
            Weight::Over { used, cap } => self.kill(Doom::Memory { used, cap }),
        }
    }

    /// After its death: takes what it left in the socket and in the black box, and reaps it.
    pub(super) fn bury(mut self, scratch: &mut [u8], paces: &mut [Pace], now: u64) -> Remains {
        let status = self.process.reap();
        self.ended = false;
        if !matches!(self.doom, Some(Doom::Junk(_))) {
            let doom = self.doom.take();
            self.receive(scratch, paces, now);
            if self.doom.is_none() {
                self.recover(paces);
            }
            self.doom = doom.or(self.doom);
        }
        let flights = std::mem::take(&mut self.order)
            .into_iter()
            .filter_map(|seat| Some((seat, self.seats[seat as usize].take()?)))
            .collect();
        Remains {
            status,
            noted: self.arena.cause(),
            greeted: self.greeted,
            doom: self.doom,
            expected: self.hung_up,
            fresh: self.fresh,
            lanes: self.arena.lanes().collect(),
            arena: self.arena,
            flights,
        }
    }

    /// Reads from the black box what the child had finished and not sent.
    fn recover(&mut self, paces: &mut [Pace]) {
        let received = self.input_at + self.input.len() as u64;
        let produced = self.arena.produced();
        let missing = produced.saturating_sub(received);
        if missing == 0 || missing > RING_BYTES as u64 {
            return;
        }
        let old = self.input.len();
        let missing = usize::try_from(missing).expect("it fits the ring");
        self.input.resize(old + missing, 0);
        if self
            .arena
            .read_ring(received, &mut self.input[old..])
            .is_err()
        {
            self.input.truncate(old);
            return;
        }
        // The last frame may still have been growing: it ends where the stream does.
        if let Some(at) = self.arena.open_at()
            && let Some(start) = at.checked_sub(self.input_at)
            && let Ok(start) = usize::try_from(start)
            && start + OUTCOMES_HEADER <= self.input.len()
            && let Ok(length) = u32::try_from(self.input.len() - start - 4)
        {
            self.input[start..start + 4].copy_from_slice(&length.to_le_bytes());
        }
        self.parse(paces);
    }
}

/// Whether nothing may wait behind this job, nor it behind anything.
fn is_alone(job: &Job, pace: Pace) -> bool {
    job.request.early || !pace.is_short()
}

/// Leaves the setup and the arena in the socket for the child to find.
fn send_setup(socket: &OwnedFd, setup: Setup, arena: &Arena) -> io::Result<()> {
    let file = [arena.file()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&file));
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(&setup.write())],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}
