//! A child's stream of frames, kept in the black box until the socket has it.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use celeriac_core::chunk::push_outcome;
use celeriac_core::outcome::{ErrorKind, TaskError};
use memmap2::MmapMut;

use super::super::arena::{Arena, INLINE_BYTES, RING_BYTES, ring_index};
use super::super::wire::{About, BUSY_AT, OUTCOMES, OUTCOMES_HEADER, begin_frame, end_frame};
use super::outbox::Ticket;
use crate::os;

/// So many bytes are sent without waiting for more.
const FULL_BYTES: u64 = 64 * 1024;

/// What is kept of the text of an error that is too long.
const TEXT_BYTES: usize = 16 * 1024;

/// What has been written, and how far it has come.
pub(super) struct Stream {
    arena: &'static Arena,
    socket: OwnedFd,
    ring: MmapMut,
    /// Bytes put into the ring so far, and bytes of them the socket has taken.
    produced: u64,
    sent: u64,
    /// What was sent when the watch last looked.
    sent_at_tick: u64,
    open: Option<Open>,
    /// When the last frame of outcomes was closed.
    closed: Instant,
    /// Kept for their memory.
    record: Vec<u8>,
    frame: Vec<u8>,
}

/// A frame of outcomes that may still grow.
struct Open {
    at: u64,
    next: About,
    /// When the first of its calls was begun, or later.
    since: Instant,
}

impl Stream {
    /// Begins the stream of a child that has sent nothing yet.
    pub(super) fn new(socket: OwnedFd, arena: &'static Arena) -> io::Result<Self> {
        Ok(Self {
            arena,
            socket,
            ring: os::map_own(arena.file(), arena.ring_at(), RING_BYTES)?,
            produced: 0,
            sent: 0,
            sent_at_tick: 0,
            open: None,
            closed: Instant::now(),
            record: Vec::new(),
            frame: Vec::new(),
        })
    }

    /// Whether something waits to be sent.
    pub(super) fn is_pending(&self) -> bool {
        self.produced != self.sent
    }

    /// Sends what has been waiting since the last tick; says whether anything waits now.
    pub(super) fn tick(&mut self) -> bool {
        if self.is_pending() && self.sent == self.sent_at_tick {
            self.flush();
        }
        self.sent_at_tick = self.sent;
        self.is_pending()
    }

    /// Appends an outcome whose value is not large.
    pub(super) fn outcome(
        &mut self,
        ticket: &Ticket,
        about: About,
        outcome: Result<&Vec<u8>, &TaskError>,
    ) {
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        push_outcome(&mut record, outcome.map(Vec::as_slice));
        if let Err(error) = outcome
            && record.len() > INLINE_BYTES
        {
            record.clear();
            push_outcome(&mut record, Err(&shortened(error)));
        }
        self.record(ticket, about, &record);
        self.record = record;
    }

    /// Appends one outcome to the open frame, or opens one for it.
    fn record(&mut self, ticket: &Ticket, about: About, record: &[u8]) {
        let need = (record.len() + OUTCOMES_HEADER) as u64;
        if self.produced + need - self.sent > RING_BYTES as u64 {
            self.flush();
        }
        if self.open.as_ref().is_none_or(|open| open.next != about) {
            self.close();
            self.open(ticket, about);
        }
        let at = self.end();
        self.write_ring(at, record);
        if let Some(open) = &mut self.open {
            open.next.index += 1;
        }
        self.publish(at + record.len() as u64);
        if self.produced - self.sent >= FULL_BYTES {
            self.flush();
        }
    }

    /// Where the next byte goes: after the header of a frame just opened.
    fn end(&self) -> u64 {
        match &self.open {
            Some(open) if open.at == self.produced => open.at + OUTCOMES_HEADER as u64,
            _ => self.produced,
        }
    }

    fn publish(&mut self, end: u64) {
        self.produced = end;
        self.arena.board().set_produced(end);
    }

    fn open(&mut self, ticket: &Ticket, about: About) {
        let mut header = std::mem::take(&mut self.frame);
        header.clear();
        begin_frame(&mut header, OUTCOMES);
        about.write(&mut header);
        header.extend_from_slice(&[0; 8]);
        let at = self.produced;
        self.write_ring(at, &header);
        self.frame = header;
        self.arena.board().set_open_at(Some(at));
        self.open = Some(Open {
            at,
            next: about,
            since: ticket.since.max(self.closed),
        });
    }

    /// Fills in the length and the time of the open frame.
    fn close(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        self.closed = Instant::now();
        let busy = self.closed.duration_since(open.since);
        let busy = u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX);
        self.write_ring(open.at + BUSY_AT as u64, &busy.to_le_bytes());
        let length = u32::try_from(self.produced - open.at - 4).expect("frames are short");
        self.write_ring(open.at, &length.to_le_bytes());
        self.arena.board().set_open_at(None);
    }

    /// Appends a whole frame of another kind.
    pub(super) fn frame(&mut self, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) {
        self.close();
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        begin_frame(&mut frame, kind);
        fill(&mut frame);
        end_frame(&mut frame, 0);
        if self.produced + frame.len() as u64 - self.sent > RING_BYTES as u64 {
            self.flush();
        }
        let at = self.produced;
        self.write_ring(at, &frame);
        self.publish(at + frame.len() as u64);
        self.frame = frame;
    }

    fn write_ring(&mut self, at: u64, bytes: &[u8]) {
        let start = ring_index(at);
        let (first, second) = bytes.split_at(bytes.len().min(RING_BYTES - start));
        self.ring[start..start + first.len()].copy_from_slice(first);
        self.ring[..second.len()].copy_from_slice(second);
    }

    /// Sends everything. Waits for the parent if the socket is full; the parent always reads.
    pub(super) fn flush(&mut self) {
        self.close();
        while self.sent < self.produced {
            let start = ring_index(self.sent);
            let len = usize::try_from(self.produced - self.sent).expect("it fits the ring");
            let piece = &self.ring[start..RING_BYTES.min(start + len)];
            match rustix::io::retry_on_intr(|| rustix::io::write(&self.socket, piece)) {
                Ok(written) => self.sent += written as u64,
                // The parent hung up.
                Err(_) => std::process::exit(0),
            }
        }
    }
}

/// At most the first `limit` bytes of `text`, in whole characters.
pub(super) fn beginning(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// An error whose text is short enough to travel.
fn shortened(error: &TaskError) -> TaskError {
    let message = format!(
        "{}… ({} bytes in all)",
        beginning(error.message(), TEXT_BYTES),
        error.message().len()
    );
    let short = match error.kind() {
        ErrorKind::Failed => TaskError::failed(error.type_name().to_owned(), message),
        kind => TaskError::new(kind, message),
    };
    short.with_advice(error.advice())
}
