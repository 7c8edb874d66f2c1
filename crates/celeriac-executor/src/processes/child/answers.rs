//! What a child says, and what becomes of it. Nothing of it is trusted.

use std::time::Duration;

use bytes::Bytes;
use celeriac_core::{OutcomeChunk, Progress};
use rustix::process::Pid;

use super::super::arena::{Claim, REGION_BYTES, Region};
use super::super::credit::Pace;
use super::super::death::Doom;
use super::super::job::guarded;
use super::super::wire::{About, Fields, HELLO, LARGE, OUTCOMES, PROGRESS, VERSION};
use super::stream::Read;
use super::{Child, EXIT_GRACE_NS};

impl Child {
    /// Reads and answers what has come.
    pub(in crate::processes) fn receive(
        &mut self,
        scratch: &mut [u8],
        paces: &mut [Pace],
        now: u64,
    ) {
        while self.stream.is_open() && self.doom.is_none() {
            let read = self.stream.read(scratch);
            match read {
                Read::Nothing => return,
                Read::End => self.exit_by = Some(now + EXIT_GRACE_NS / 20),
                Read::Some | Read::Last => {
                    self.last_news = now;
                    self.answer(paces);
                }
            }
            if read == Read::Last {
                return;
            }
        }
    }

    /// Answers the whole frames that were read; a child that sent anything else is killed.
    pub(super) fn answer(&mut self, paces: &mut [Pace]) {
        let mut arrived = self.stream.arrived();
        let junk = loop {
            match arrived.next() {
                Ok(None) => break None,
                Ok(Some(frame)) => {
                    if let Err(what) = self.frame(frame, paces) {
                        break Some(what.to_owned());
                    }
                }
                Err(what) => break Some(what),
            }
        };
        self.stream.give_back(arrived);
        if let Some(what) = junk {
            self.kill(Doom::Junk(what));
        }
    }

    fn frame(&mut self, frame: &[u8], paces: &mut [Pace]) -> Result<(), &'static str> {
        const SHORT: &str = "a frame that is too short";
        let mut fields = Fields(frame);
        let kind = fields.u8().ok_or("an empty frame")?;
        if kind == HELLO {
            return self.hello(fields).ok_or("a greeting out of place");
        }
        let about = About::read(&mut fields).ok_or(SHORT)?;
        let flight = self
            .seats
            .get(about.seat)
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

    /// It is ready, unless it has been before.
    fn hello(&mut self, mut fields: Fields<'_>) -> Option<()> {
        let version = fields.u32()?;
        let pid = Pid::from_raw(i32::try_from(fields.u32()?).ok()?)?;
        if version != VERSION || self.greeted() {
            return None;
        }
        self.process.introduce(pid);
        Some(())
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
        let Some(flight) = self.seats.get_mut(about.seat) else {
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
            && self.arena.board().claim_of(about.seat, flight.serial) == Claim::Started
            && flight.answered.note(index, count);
        if !fits {
            return Err("outcomes of calls it has not run");
        }
        paces[job.request.task as usize].learn(busy, count);
        job.request.answer(outcomes);
        let is_done = flight.is_done();
        self.seats.answered(count);
        self.scale.answered();
        self.fresh = false;
        if is_done {
            self.finish(about.seat, 0);
        }
        Ok(())
    }
}
