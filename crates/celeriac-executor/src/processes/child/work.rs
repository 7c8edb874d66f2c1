//! What a child is given to do, and what is taken back.

use std::io;
use std::time::Duration;

use celeriac_core::Interrupt;
use celeriac_core::outcome::TaskError;

use super::super::arena::{INLINE_BYTES, Notice, Region};
use super::super::clock;
use super::super::credit::Pace;
use super::super::job::{Answered, Job, stopped};
use super::super::wire::RunHeader;
use super::flight::Flight;
use super::{BACKSTOP_NS, Child, limits};

impl Child {
    /// Whether a job fits in now; `pace` is that of its task.
    pub(in crate::processes) fn has_room(&self, job: &Job, pace: Pace) -> bool {
        if !self.is_ready() || self.seats.are_taken() {
            return false;
        }
        let load = self.load();
        if load.chunks == 0 {
            return true;
        }
        if self.setup.coroutines {
            return load.calls + job.chunk.len() <= self.setup.shape.lanes;
        }
        !is_alone(job, pace) && load.has_room(job.chunk.bytes().len())
    }

    /// Puts a job into a free seat and its request into the write buffer.
    pub(in crate::processes) fn send(
        &mut self,
        job: Job,
        pace: Pace,
        now: u64,
    ) -> Result<(), (Job, io::Error)> {
        let reserved = self.seats.reserve();
        let seat = reserved.seat;
        let bytes = job.chunk.bytes().clone();
        let inline = bytes.len() <= INLINE_BYTES;
        if !inline
            && let Err(error) = self
                .views
                .write(&self.arena, Region::inbox(seat), 0, &bytes)
        {
            self.seats.give_back(reserved);
            return Err((job, error));
        }
        let request = &job.request;
        let number = |count: usize| u32::try_from(count).expect("chunks are checked to be small");
        let header = RunHeader {
            seat,
            serial: reserved.serial,
            nonce: reserved.nonce,
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
        self.arena.board().offer(seat, reserved.serial);
        header.write(self.stream.out(), if inline { &bytes } else { &[] });
        if let Some(first) = limits::first(request.limits, self.backstop()) {
            self.check_by(now + first);
        }
        self.calls_sent += job.chunk.len() as u64;
        self.scale.sent(now);
        if self.load().chunks == 0 || self.setup.coroutines {
            job.request.announce();
        }
        let flight = Flight {
            serial: reserved.serial,
            nonce: reserved.nonce,
            answered: Answered::default(),
            sent_at: now,
            cost_ns: pace.cost(job.chunk.len()),
            alone: is_alone(&job, pace),
            kill_at: None,
            job,
        };
        self.seats.fill(seat, flight);
        Ok(())
    }

    /// Empties a seat, of which `left` calls have no outcome; the chunk behind it is the next to run.
    pub(super) fn finish(&mut self, seat: u32, left: usize) -> Option<Flight> {
        let flight = self.seats.empty(seat, left)?;
        let size = flight.job.chunk.bytes().len();
        if size > INLINE_BYTES {
            self.arena.trim(Region::inbox(seat), 0, size as u64);
        }
        if let Some(next) = self.seats.front() {
            next.job.request.announce();
        }
        Some(flight)
    }

    /// Takes back what it has not begun with.
    pub(in crate::processes) fn take_back(&mut self) -> Vec<Job> {
        let taken = self.seats.taken();
        let jobs = taken.into_iter().map(|seat| self.take_back_seat(seat));
        jobs.flatten().collect()
    }

    fn take_back_seat(&mut self, seat: u32) -> Option<Job> {
        let flight = self.seats.get(seat)?;
        if !self.arena.board().take_back(seat, flight.serial) {
            return None;
        }
        let calls = flight.job.chunk.len();
        self.calls_sent -= calls as u64;
        Some(self.finish(seat, calls)?.job)
    }

    /// Since when it has been silent although it holds more than it runs.
    pub(in crate::processes) fn backlog_since(&self) -> Option<u64> {
        let front_sent_at = self.seats.front().map_or(0, |flight| flight.sent_at);
        (self.load().chunks > 1 && !self.setup.coroutines && self.doom.is_none())
            .then_some(self.last_news.max(front_sent_at))
    }

    /// Passes an interrupt on to the calls of `request`; gives back those that will not run.
    pub(in crate::processes) fn interrupt(
        &mut self,
        request: u64,
        interrupt: Interrupt,
        grace: Duration,
        now: u64,
    ) -> Vec<(Job, TaskError)> {
        let error = stopped(Some(interrupt));
        let notice = match interrupt {
            Interrupt::SoftTimeLimit => Notice::Soft,
            Interrupt::Shutdown => Notice::Shutdown,
            _ => Notice::Cancel,
        };
        let mut grace = clock::nanos(grace);
        if self.setup.coroutines {
            // They end at the next await, so one that has not by then blocks the others too.
            grace = grace.min(BACKSTOP_NS);
        }
        let mut ended = Vec::new();
        let mut noticed = false;
        for seat in self.seats.taken() {
            let flight = self.seats.get(seat);
            if flight.is_none_or(|flight| flight.job.request.number != request) {
                continue;
            }
            if let Some(error) = &error
                && let Some(job) = self.take_back_seat(seat)
            {
                ended.push((job, error.clone()));
                continue;
            }
            self.arena.board().notify(seat, notice);
            noticed = true;
            if error.is_some()
                && let Some(flight) = self.seats.get_mut(seat)
            {
                flight.kill_at = Some(now + grace);
                self.check_by(now + grace);
            }
        }
        if noticed {
            self.process.notify();
        }
        ended
    }

    /// Asks it to answer what it has not begun with an error, and takes the rest back.
    pub(in crate::processes) fn cancel_queued(&mut self) -> Vec<Job> {
        let jobs = self.take_back();
        for seat in self.seats.taken() {
            self.arena.board().notify(seat, Notice::SkipRest);
        }
        jobs
    }
}

/// Whether nothing may wait behind this job, nor it behind anything.
fn is_alone(job: &Job, pace: Pace) -> bool {
    job.request.early || !pace.is_short()
}
