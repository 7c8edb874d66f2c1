//! What a child tells its parent: outcomes, small and large, and progress.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use celeriac_core::Progress;
use celeriac_core::chunk::push_outcome;
use celeriac_core::outcome::{ErrorKind, Outcome, TaskError};

use super::super::arena::{Arena, INLINE_BYTES, Region};
use super::super::views::Views;
use super::super::wire::{About, HELLO, LARGE, PROGRESS, VERSION};
use super::stream::{Stream, beginning};

/// The longest progress message that is passed on.
const MESSAGE_BYTES: usize = 4096;

/// A chunk this child has been given.
pub(super) struct Ticket {
    pub(super) seat: u32,
    pub(super) serial: u32,
    pub(super) nonce: u64,
    /// How much of the seat's outbox is in use.
    outbox_used: AtomicU64,
    /// When it was begun with.
    pub(super) since: Instant,
}

impl Ticket {
    pub(super) fn new(seat: u32, serial: u32, nonce: u64) -> Self {
        Self {
            seat,
            serial,
            nonce,
            outbox_used: AtomicU64::new(0),
            since: Instant::now(),
        }
    }

    /// How long ago it was begun with, in nanoseconds.
    fn elapsed(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The sending end of the socket, shared by the threads of a child.
pub(super) struct Outbox {
    arena: &'static Arena,
    views: Mutex<Views>,
    stream: Mutex<Stream>,
}

impl Outbox {
    pub(super) fn new(socket: OwnedFd, arena: &'static Arena) -> io::Result<Self> {
        Ok(Self {
            arena,
            views: Mutex::default(),
            stream: Mutex::new(Stream::new(socket, arena)?),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the parent that this child is ready.
    pub(super) fn hello(&self) {
        let mut stream = self.lock();
        stream.frame(HELLO, |out| {
            out.extend_from_slice(&VERSION.to_le_bytes());
            out.extend_from_slice(&std::process::id().to_le_bytes());
        });
        stream.flush();
    }

    /// Appends the outcome of one call.
    ///
    /// On return it is in the black box: should the process die now, the parent still gets it.
    pub(super) fn outcome(&self, ticket: &Ticket, about: About, outcome: &Outcome<Vec<u8>>) {
        match outcome {
            Ok(value) if value.len() > INLINE_BYTES => self.large(ticket, about, value),
            Ok(value) => self.lock().outcome(ticket, about, Ok(value)),
            Err(error) => self.lock().outcome(ticket, about, Err(error)),
        }
    }

    /// Puts a value into the outbox of its seat and only its place into the stream.
    fn large(&self, ticket: &Ticket, about: About, value: &[u8]) {
        match self.write_outbox(ticket, value) {
            Ok((offset, len)) => {
                self.lock().frame(LARGE, |out| {
                    about.write(out);
                    for number in [ticket.elapsed(), offset, len] {
                        out.extend_from_slice(&number.to_le_bytes());
                    }
                });
            }
            Err(error) => {
                let reason = format!("its result found no memory to travel in: {error}");
                let error = TaskError::new(ErrorKind::BadResult, reason);
                self.lock().outcome(ticket, about, Err(&error));
            }
        }
    }

    /// Writes the record of a value; returns where it begins and how long it is.
    fn write_outbox(&self, ticket: &Ticket, value: &[u8]) -> io::Result<(u64, u64)> {
        let mut head = Vec::new();
        push_outcome(&mut head, Ok(&[]));
        let len = u32::try_from(value.len()).map_err(io::Error::other)?;
        head[1..].copy_from_slice(&len.to_le_bytes());
        let size = (head.len() + value.len()) as u64;
        let offset = ticket.outbox_used.fetch_add(size, Ordering::Relaxed);
        let region = Region::outbox(ticket.seat);
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        views.write(self.arena, region, offset, &head)?;
        views.write(self.arena, region, offset + head.len() as u64, value)?;
        Ok((offset, size))
    }

    /// Appends a progress report.
    pub(super) fn progress(&self, about: About, progress: &Progress) {
        let message = beginning(&progress.message, MESSAGE_BYTES);
        let mut stream = self.lock();
        stream.frame(PROGRESS, |out| {
            about.write(out);
            out.extend_from_slice(&progress.done.to_le_bytes());
            out.extend_from_slice(&progress.total.to_le_bytes());
            out.extend_from_slice(message.as_bytes());
        });
    }

    /// Sends everything.
    pub(super) fn flush(&self) {
        self.lock().flush();
    }

    /// Whether something waits to be sent.
    pub(super) fn is_pending(&self) -> bool {
        self.lock().is_pending()
    }

    /// Sends what has been waiting since the last tick; says whether anything waits now.
    pub(super) fn tick(&self) -> bool {
        self.lock().tick()
    }
}
