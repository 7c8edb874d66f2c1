//! A child that runs tasks, and the calls it holds.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use celeriac_core::Brief;
use celeriac_core::outcome::{ErrorKind, TaskError};
use celeriac_core::runtime::{Conclusion, EncodedResult, End, Told};
use rustix::process::Signal;

use super::books::Books;
use super::call::Call;
use super::credit::{AHEAD, Load, Pace};
use super::death::{lost, signal_name, terminated};
use super::process::Process;
use super::{PoolKind, PoolSettings};
use crate::channel::{Sent, tidy};
use crate::head;
use crate::packet::{self, Junk, Order, Record, Word};
use crate::told::{Ended, How, read_result};

/// A call that was read and not begun by so many children that died is what they die of.
const MOST_DEATHS: u8 = 3;

pub(super) struct Child {
    pub(super) process: Process,
    pub(super) kind: PoolKind,
    slots: usize,
    /// By the numbers that they have on the channel: those that run, and behind them those that lie
    /// there unread.
    held: BTreeMap<u64, Held>,
    seq: u64,
    load: Load,
    /// When it last began or ended something.
    stirred_at: Instant,
    /// How many calls it has been given, and not been relieved of, and how many it may be.
    given: u64,
    max_tasks: u64,
    /// Whether it is given nothing more.
    pub(super) leaving: bool,
    /// Whether it knows.
    pub(super) told_to_leave: bool,
    /// Whether a call of it has ended since its memory was looked at.
    pub(super) may_have_grown: bool,
    /// Its channel was full, or the system had no room, at this time.
    full_at: Option<Instant>,
}

pub(super) struct Held {
    pub(super) call: Call,
    pace: Pace,
    started: Option<Instant>,
    /// Results that are settled together with the delivery.
    results: Vec<EncodedResult>,
    /// Results that are not, and were said in the packet that is being read.
    interim: Vec<EncodedResult>,
    pub(super) stage: Stage,
    /// When its next limit is over.
    pub(super) alarm: Option<Instant>,
}

/// What else is known of a call that a child holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Running,
    /// Its soft limit was over.
    Softened,
    /// It was asked to end, because it was revoked or by this signal.
    Cancelled(Option<u32>),
    /// Its hard limit was over, and it has its answer.
    Answered,
}

impl Child {
    pub(super) fn new(process: Process, settings: &PoolSettings, now: Instant) -> Self {
        Self {
            process,
            kind: settings.kind,
            slots: settings.slots.get(),
            held: BTreeMap::new(),
            seq: 0,
            load: Load::default(),
            stirred_at: now,
            given: 0,
            max_tasks: settings.max_tasks.map_or(u64::MAX, NonZeroU64::get),
            leaving: false,
            told_to_leave: false,
            may_have_grown: false,
            full_at: None,
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.held.is_empty()
    }

    pub(super) fn load(&self) -> Load {
        self.load
    }

    /// Whether it takes calls at all.
    pub(super) fn is_open(&self) -> bool {
        self.process.greeted && !self.leaving && self.process.doom.is_none()
    }

    /// Whether a call would run at once.
    pub(super) fn has_slot(&self) -> bool {
        self.load.calls < self.slots && self.full_at.is_none()
    }

    /// Whether a call may wait in it.
    pub(super) fn has_room(&self, pace: Pace, bytes: usize, now: Instant) -> bool {
        // Orders to a coroutine would stand behind what it has no room for.
        self.kind != PoolKind::Coroutines
            && self.full_at.is_none()
            && now < self.stirred_at + AHEAD
            && self.load.has_room(self.slots, pace, bytes)
    }

    /// Sends it a call, or gives the call back if there is no room.
    pub(super) fn run(
        &mut self,
        call: Call,
        pace: Pace,
        now: Instant,
        packet: &mut Vec<u8>,
    ) -> Result<(), Box<Call>> {
        let seq = self.seq + 1;
        tidy(packet);
        packet.clear();
        let body = &call.delivery.message.body.bytes;
        let head = |out: &mut Vec<u8>| head::write_run(&call.delivery, out);
        packet::put(packet, Order::Run, seq, head, body);
        if self.process.channel.send(packet) != Ok(Sent::Yes) {
            self.full_at = Some(now);
            return Err(Box::new(call));
        }
        if self.held.is_empty() {
            self.stirred_at = now;
        }
        self.seq = seq;
        self.given += 1;
        self.load.add(pace);
        let held = Held {
            call,
            pace,
            started: None,
            results: Vec::new(),
            interim: Vec::new(),
            stage: Stage::Running,
            alarm: None,
        };
        self.held.insert(seq, held);
        if self.given >= self.max_tasks {
            self.leave();
        }
        Ok(())
    }

    /// Says something short; false if there is no room.
    fn say(&self, order: Order, seq: u64) -> bool {
        let mut packet = Vec::new();
        packet::put_short(&mut packet, order, seq);
        self.process.channel.send(&packet) == Ok(Sent::Yes)
    }

    /// Has it leave when it has run what it holds.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
        if !self.told_to_leave {
            self.told_to_leave = self.say(Order::Leave, 0);
        }
    }

    /// When calls that lie unread behind a long one should run elsewhere.
    pub(super) fn overdue_at(&self) -> Option<Instant> {
        let ahead = self.load.calls > self.slots;
        let overdue = ahead.then(|| self.stirred_at + AHEAD);
        [overdue, self.full_at.map(|at| at + AHEAD)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes back what it has not read.
    pub(super) fn take_back(&mut self, buffer: &mut Vec<u8>) -> Vec<Call> {
        self.full_at = None;
        let mut calls = Vec::new();
        while let Some((kind, seq)) = self.process.channel.take_back(buffer) {
            if kind == Order::Leave as u8 {
                self.leaving = false;
                self.told_to_leave = false;
            } else if let Some(held) = self.held.remove(&seq) {
                self.load.remove(held.pace);
                self.given -= 1;
                calls.push(held.call);
            }
        }
        if self.given >= self.max_tasks {
            self.leave();
        }
        calls
    }

    /// Reads one packet.
    pub(super) fn hear(
        &mut self,
        packet: &[u8],
        books: &mut Books,
        now: Instant,
    ) -> Result<(), Junk> {
        self.full_at = None;
        let mut interim = None;
        for record in packet::records(packet) {
            let record = record?;
            match record.word {
                Word::Hello => self.process.greeted = true,
                Word::Started => self.on_started(record.seq, books, now)?,
                Word::Store => {
                    let seq = self.on_store(&record, books)?;
                    if interim != seq {
                        self.flush(interim.take());
                    }
                    interim = seq.or(interim);
                }
                Word::Done => self.on_done(&record, books, now)?,
                Word::Fault => self.process.fault = Some(packet::text(record.payload)),
                Word::Answer => return Err(Junk::new("an answer to no question")),
            }
        }
        // Those of a call that ended in the same packet went with its conclusion.
        self.flush(interim);
        Ok(())
    }

    fn flush(&mut self, seq: Option<u64>) {
        if let Some(held) = seq.and_then(|seq| self.held.get_mut(&seq)) {
            held.flush();
        }
    }

    fn on_started(&mut self, seq: u64, books: &mut Books, now: Instant) -> Result<(), Junk> {
        let held = self.held.get_mut(&seq).ok_or_else(|| unknown(seq))?;
        if held.started.replace(now).is_some() {
            return Err(Junk::new("a call started twice"));
        }
        self.stirred_at = now;
        held.call.tell(|reply| reply.started());
        let limits = held.call.limits;
        if limits.any() && self.kind.has_limits() {
            let first = limits
                .soft
                .or(limits.hard)
                .and_then(|limit| now.checked_add(limit));
            books.set_alarm(self.process.number, seq, &mut held.alarm, first);
        }
        Ok(())
    }

    fn on_store(&mut self, record: &Record<'_>, books: &Books) -> Result<Option<u64>, Junk> {
        let result = read_result(record.payload)?;
        if record.seq == 0 {
            books.stray(result);
            return Ok(None);
        }
        let held = self.held.get_mut(&record.seq);
        let held = held.ok_or_else(|| unknown(record.seq))?;
        if result.is_final() {
            held.results.push(result);
        } else {
            held.interim.push(result);
        }
        Ok(Some(record.seq))
    }

    fn on_done(
        &mut self,
        record: &Record<'_>,
        books: &mut Books,
        now: Instant,
    ) -> Result<(), Junk> {
        let ended = Ended::read(record.payload)?;
        let held = self.held.remove(&record.seq);
        let mut held = held.ok_or_else(|| unknown(record.seq))?;
        self.load.remove(held.pace);
        self.stirred_at = now;
        self.may_have_grown = true;
        books.set_alarm(self.process.number, record.seq, &mut held.alarm, None);
        let took = now - held.started.unwrap_or(now);
        books.paces.learn(held.call.task, took);
        if ended.recycle {
            // It leaves without being told to; what it has not read runs elsewhere.
            self.leaving = true;
            self.told_to_leave = true;
        }
        held.conclude(ended.how, took);
        Ok(())
    }

    /// Whether we end it.
    pub(super) fn is_doomed(&self) -> bool {
        self.process.doom.is_some()
    }

    pub(super) fn held_mut(&mut self, seq: u64) -> Option<&mut Held> {
        self.held.get_mut(&seq)
    }

    /// The number on the channel of a call that it holds.
    pub(super) fn find(&self, is: impl Fn(&Call) -> bool) -> Option<u64> {
        let mut held = self.held.iter();
        held.find_map(|(&seq, held)| is(&held.call).then_some(seq))
    }

    /// The calls that it holds, and when each began, if it has.
    pub(super) fn calls(&self) -> impl Iterator<Item = (&Call, Option<Instant>)> {
        self.held.values().map(|held| (&held.call, held.started))
    }

    /// Tells a call that its soft limit is over.
    pub(super) fn soften(&self, seq: u64) {
        if self.kind == PoolKind::Coroutines {
            self.say(Order::Soft, seq);
        } else if self.process.channel.note_interrupted(seq).is_ok() {
            self.process.signal(Signal::USR1);
        }
    }

    /// Ends a coroutine that runs.
    pub(super) fn cancel(&self, seq: u64) {
        self.say(Order::Cancel, seq);
    }

    /// What is left of a dead child: answers the calls that it ran, and gives those back that it had
    /// not begun.
    pub(super) fn bury(mut self, books: &mut Books, buffer: &mut Vec<u8>) -> Vec<Call> {
        let mut rest = self.take_back(buffer);
        for (seq, mut held) in std::mem::take(&mut self.held) {
            books.set_alarm(self.process.number, seq, &mut held.alarm, None);
            held.call.deaths += u8::from(held.started.is_none());
            if held.started.is_none() && held.call.deaths < MOST_DEATHS {
                rest.push(held.call);
            } else {
                let took = held.started.map_or(Duration::ZERO, |at| at.elapsed());
                let error = held.verdict(&self.process);
                held.was_lost(error, took);
            }
        }
        rest
    }
}

impl Held {
    /// Hands on the results that do not wait for the end.
    fn flush(&mut self) {
        for result in self.interim.drain(..) {
            self.call.tell(|reply| reply.stored(result));
        }
    }

    /// Answers it with an error, once.
    pub(super) fn fail(&mut self, error: TaskError) {
        if self.stage != Stage::Answered {
            self.stage = Stage::Answered;
            self.flush();
            self.call.fail(error);
        }
    }

    /// Its child is lost. If it had stored by then that it succeeded, so it did: what was lost came after.
    fn was_lost(mut self, error: TaskError, took: Duration) {
        let id = &self.call.delivery.message.headers.id;
        let is_success = |result: &EncodedResult| result.state == "SUCCESS" && result.id == *id;
        if error.kind() != ErrorKind::Lost || !self.results.iter().any(is_success) {
            return self.fail(error);
        }
        tracing::warn!(task.id = %Brief(id), %error, "a call succeeded before its child was lost");
        let conclusion = Conclusion {
            end: End::Succeeded,
            results: Vec::new(),
            busy: None,
            told: Told::default(),
        };
        self.conclude(How::Concluded(conclusion), took);
    }

    fn conclude(mut self, how: How, took: Duration) {
        if self.stage == Stage::Answered {
            return;
        }
        let succeeded = |conclusion: &Conclusion| conclusion.end == End::Succeeded;
        let mut conclusion = match (how, self.stage) {
            (How::Concluded(conclusion), _) if succeeded(&conclusion) => conclusion,
            (_, Stage::Cancelled(signal)) => return self.fail(cancelled(signal)),
            (How::Concluded(conclusion), _) => conclusion,
            (How::Lost(reason), _) => return self.was_lost(TaskError::lost(reason), took),
        };
        if self.started.is_none() {
            self.call.tell(|reply| reply.started());
        }
        conclusion.busy.get_or_insert(took);
        // In their order: what was said before the final one comes before it.
        self.interim.append(&mut self.results);
        conclusion.results = self.interim;
        self.call.tell(|reply| reply.concluded(conclusion));
    }

    /// What becomes of it when its child has died.
    fn verdict(&self, process: &Process) -> TaskError {
        match (self.stage, &process.doom) {
            (Stage::Cancelled(signal), _) => cancelled(signal),
            (_, Some(doom)) => doom.verdict(),
            (_, None) => lost(process.ending(), self.call.number),
        }
    }
}

fn cancelled(signal: Option<u32>) -> TaskError {
    match signal {
        Some(signal) => terminated(signal_name(signal).unwrap_or("a signal")),
        None => TaskError::cancelled(),
    }
}

fn unknown(seq: u64) -> Junk {
    Junk::new(format!("it speaks of call {seq}, which it does not have"))
}
