//! What the service process is asked, and by whom.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use celeriac_core::outcome::{ErrorKind, TaskError};
use celeriac_core::runtime::{Conclusion, EncodedResult, End, Told};
use celeriac_core::{Delivery, Reply};
use serde_json::Value;
use tokio::sync::oneshot;

use super::books::Books;
use super::call::guarded;
use super::process::Process;
use crate::channel::Sent;
use crate::head::CallHead;
use crate::packet::{self, Junk, Order, Record, Word};
use crate::told::{read_answer, read_result};

/// The service has at most so many questions at once.
const MOST_ASKED: usize = 16;

/// How long nobody is asked after the service died at its start.
const PAUSE: Duration = Duration::from_secs(5);

/// Why the service did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The app's own code raised an exception.
    #[error("{0}")]
    Raised(String),
    /// The process died of the question, twice.
    #[error("the service process died: {0}")]
    Died(String),
    /// The pool is closed.
    #[error("the pool is closed")]
    Closed,
}

/// A question.
pub(super) struct Ask {
    head: CallHead,
    /// The call that it concerns.
    delivery: Option<Arc<Delivery>>,
    asker: Asker,
    results: Vec<EncodedResult>,
    /// Whether a service has died that had read it.
    again: bool,
}

pub(super) enum Asker {
    /// Wants the end of its call told.
    Ending(Arc<dyn Reply>),
    Somebody(oneshot::Sender<Result<Value, ServiceError>>),
    Nobody,
}

impl Ask {
    pub(super) fn new(head: CallHead, delivery: Option<Arc<Delivery>>, asker: Asker) -> Self {
        Self {
            head,
            delivery,
            asker,
            results: Vec::new(),
            again: false,
        }
    }

    /// Answers that nobody can answer any more.
    pub(super) fn refuse(self) {
        if let Asker::Ending(reply) = self.asker {
            guarded(|| reply.failed(TaskError::shutdown()));
        } else {
            self.answer(Err(ServiceError::Closed));
        }
    }

    fn answer(self, answer: Result<Value, ServiceError>) {
        match (self.asker, answer) {
            (Asker::Nobody, Ok(_)) => {}
            (Asker::Nobody, Err(error)) => {
                tracing::warn!(%error, "the service process could not do what it was asked");
            }
            (Asker::Somebody(asker), answer) => {
                // Whoever asked may have left.
                let _ = asker.send(answer);
            }
            (Asker::Ending(reply), Ok(value)) => {
                let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
                let conclusion = Conclusion {
                    end: match value.get("end").and_then(Value::as_str) {
                        Some("succeeded") => End::Succeeded,
                        Some("retried") => End::Retried,
                        _ => End::Failed,
                    },
                    results: self.results,
                    busy: None,
                    told: Told {
                        text: text("exception"),
                        traceback: text("traceback"),
                    },
                };
                guarded(|| reply.concluded(conclusion));
            }
            (Asker::Ending(reply), Err(error)) => {
                let error = TaskError::new(ErrorKind::Failed, error.to_string());
                guarded(|| reply.failed(error));
            }
        }
    }
}

/// The questions under way, and the process that answers them.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) process: Option<Process>,
    waiting: VecDeque<Ask>,
    asked: BTreeMap<u64, Ask>,
    seq: u64,
    paused_until: Option<Instant>,
    told_to_leave: bool,
}

impl Desk {
    pub(super) fn ask(&mut self, ask: Ask) {
        self.waiting.push_back(ask);
    }

    /// Whether a process should be forked for it.
    pub(super) fn wants_process(&self, now: Instant) -> bool {
        self.process.is_none()
            && !self.waiting.is_empty()
            && self.paused_until.is_none_or(|until| now >= until)
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_empty()
    }

    /// Whether it is the service that has this number.
    pub(super) fn has(&self, number: u64) -> bool {
        self.process
            .as_ref()
            .is_some_and(|process| process.number == number)
    }

    /// Sends what waits, as far as there is room.
    pub(super) fn send(&mut self, packet: &mut Vec<u8>) {
        let Some(process) = &self.process else { return };
        if !process.greeted || process.doom.is_some() {
            return;
        }
        while self.asked.len() < MOST_ASKED
            && let Some(ask) = self.waiting.front()
        {
            packet.clear();
            let delivery = ask.delivery.as_deref();
            let body = delivery.map_or(&[][..], |delivery| &delivery.message.body.bytes);
            let head = |out: &mut Vec<u8>| ask.head.write(delivery, out);
            packet::put(packet, Order::Call, self.seq + 1, head, body);
            if process.channel.send(packet) != Ok(Sent::Yes) {
                return;
            }
            self.seq += 1;
            self.asked
                .extend(self.waiting.pop_front().map(|ask| (self.seq, ask)));
        }
    }

    /// Reads one packet.
    pub(super) fn hear(&mut self, packet: &[u8], books: &Books) -> Result<(), Junk> {
        for record in packet::records(packet) {
            let record = record?;
            match (record.word, &mut self.process) {
                (Word::Hello, Some(process)) => process.greeted = true,
                (Word::Fault, Some(process)) => process.fault = Some(packet::text(record.payload)),
                (Word::Store, _) => self.on_store(&record, books)?,
                (Word::Answer, _) => self.on_answer(&record)?,
                _ => return Err(Junk::new("the service speaks like a child")),
            }
        }
        Ok(())
    }

    fn on_store(&mut self, record: &Record<'_>, books: &Books) -> Result<(), Junk> {
        let result = read_result(record.payload)?;
        match self.asked.get_mut(&record.seq) {
            Some(ask) if matches!(ask.asker, Asker::Ending(_)) => ask.results.push(result),
            _ => books.stray(result),
        }
        Ok(())
    }

    fn on_answer(&mut self, record: &Record<'_>) -> Result<(), Junk> {
        let answer = read_answer(record.payload)?;
        let ask = self.asked.remove(&record.seq);
        let ask = ask.ok_or_else(|| Junk::new("an answer to no question"))?;
        ask.answer(answer.map_err(ServiceError::Raised));
        Ok(())
    }

    /// Asks the process to leave.
    pub(super) fn leave(&mut self, now: Instant) {
        if let Some(process) = &mut self.process
            && !self.told_to_leave
        {
            let mut packet = Vec::new();
            packet::put_short(&mut packet, Order::Leave, 0);
            self.told_to_leave = process.channel.send(&packet) == Ok(Sent::Yes);
            process.expect_exit(now);
        }
    }

    /// The process is dead: what it had read is asked once more of the next one.
    pub(super) fn bury(&mut self, buffer: &mut Vec<u8>, now: Instant) {
        let Some(process) = self.process.take() else {
            return;
        };
        if !self.told_to_leave {
            tracing::warn!(cause = process.cause(), "the service process died");
        }
        self.told_to_leave = false;
        self.paused_until = (!process.greeted).then(|| now + PAUSE);
        let mut unread = Vec::new();
        while let Some((_, seq)) = process.channel.take_back(buffer) {
            unread.push(seq);
        }
        for (seq, mut ask) in std::mem::take(&mut self.asked).into_iter().rev() {
            ask.results.clear();
            if unread.contains(&seq) {
                self.waiting.push_front(ask);
            } else if ask.again {
                ask.answer(Err(ServiceError::Died(process.cause())));
            } else {
                ask.again = true;
                self.waiting.push_front(ask);
            }
        }
        if !process.greeted {
            // Nobody would answer soon, and deliveries wait for it.
            for ask in std::mem::take(&mut self.waiting) {
                ask.answer(Err(ServiceError::Died(process.cause())));
            }
        }
    }

    /// When a process may be forked again.
    pub(super) fn wake_at(&self, start_timeout: Duration) -> Option<Instant> {
        match &self.process {
            Some(process) => process.wake_at(start_timeout),
            None if self.waiting.is_empty() => None,
            None => self.paused_until,
        }
    }

    /// Refuses whatever is left.
    pub(super) fn close(&mut self) {
        let asked = std::mem::take(&mut self.asked).into_values();
        for ask in asked.chain(std::mem::take(&mut self.waiting)) {
            ask.refuse();
        }
    }
}
