//! A chunk in a child's hands.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use celeriac_core::outcome::{Outcome, TaskError};
use celeriac_core::payload::ContentType;
use celeriac_core::registry;
use celeriac_core::task::{Run, TaskDefinition};
use celeriac_core::{Context, Control, TaskId};

use super::super::arena::CallName;
use super::super::clock;
use super::super::wire::{About, Fields, RUN, RunHeader};
use super::outbox::Ticket;

/// A chunk to run, cut free from the frame it came in.
pub(super) struct Order {
    pub(super) ticket: Ticket,
    pub(super) task: &'static TaskDefinition,
    content_type: ContentType,
    attempt: u32,
    first: usize,
    pub(super) count: u32,
    pub(super) soft: Option<Duration>,
    pub(super) hard: Option<Duration>,
    id: TaskId,
}

impl Order {
    /// What a frame of the parent asks for, with its header and the chunk if that follows it.
    pub(super) fn read(frame: &[u8]) -> io::Result<(Self, RunHeader<'_>, &[u8])> {
        let mut fields = Fields(frame);
        (fields.u8() == Some(RUN))
            .then(|| {
                let header = RunHeader::read(&mut fields)?;
                Some((Self::new(&header)?, header, fields.0))
            })
            .flatten()
            .ok_or_else(|| io::Error::other("its parent sent a frame it does not know"))
    }

    fn new(header: &RunHeader<'_>) -> Option<Self> {
        let limit = |nanos: u64| (nanos != 0).then(|| Duration::from_nanos(nanos));
        Some(Self {
            ticket: Ticket::new(header.seat, header.serial, header.nonce),
            task: registry::all().nth(header.task as usize)?,
            content_type: header.content_type,
            attempt: header.attempt,
            first: header.first as usize,
            count: header.count,
            soft: limit(header.soft),
            hard: limit(header.hard),
            id: header.id.into(),
        })
    }

    pub(super) fn about(&self, index: u32) -> About {
        About {
            seat: self.ticket.seat,
            nonce: self.ticket.nonce,
            index,
        }
    }

    /// Whether anybody can tell if an interrupt reaches its calls: a plain function only notices the
    /// signal, which is sent for the sake of those that wait in a system call.
    pub(super) fn listens(&self) -> bool {
        self.task.wants_context || self.task.is_async || self.soft.is_some()
    }

    pub(super) fn name(&self, index: u32) -> CallName {
        CallName {
            serial: self.ticket.serial,
            index,
        }
    }

    /// When a call begins, if the parent watches its time.
    pub(super) fn stamp(&self) -> Option<u64> {
        self.soft.or(self.hard).map(|_| clock::now())
    }

    pub(super) fn context(&self, index: u32, control: Arc<Control>) -> Context {
        let deadline = self
            .soft
            .or(self.hard)
            .and_then(|limit| Instant::now().checked_add(limit));
        let id = self.id.nth(self.first + index as usize);
        Context::new(id, self.attempt, deadline, control).encoded_in(self.content_type)
    }
}

/// Begins a call; a panic of a hand-written entry point is an outcome too.
pub(super) fn begin(order: &Order, record: &[u8], context: &Context) -> Run<Outcome<Vec<u8>>> {
    catch_unwind(AssertUnwindSafe(|| {
        (order.task.call)(order.content_type, record, context)
    }))
    .unwrap_or_else(|panic| Run::Ready(Err(TaskError::from_panic(&*panic))))
}

/// The arguments of each call of a chunk.
pub(super) fn records(chunk: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Fields(chunk);
    std::iter::from_fn(move || {
        let len = rest.u32()? as usize;
        rest.bytes(len)
    })
}
