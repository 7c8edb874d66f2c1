//! Where a child finds the chunks that are too large for the socket.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;

use memmap2::Mmap;

use super::super::arena::{Arena, KEPT_BYTES, Region};

/// Views of the inboxes, so that arguments are decoded where the parent put them.
#[derive(Default)]
pub(super) struct Inboxes {
    views: HashMap<u32, Mmap>,
    /// For chunks of which the parent does not keep the pages.
    buffer: Vec<u8>,
}

impl Inboxes {
    /// The chunk of `len` bytes in the inbox of `seat`.
    ///
    /// It stays there until the last of its outcomes is sent.
    pub(super) fn chunk(&mut self, arena: &Arena, seat: u32, len: usize) -> io::Result<&[u8]> {
        if len as u64 > KEPT_BYTES {
            self.buffer = arena.read(Region::inbox(seat), 0, len)?;
            return Ok(&self.buffer);
        }
        let view = match self.views.entry(seat) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(arena.view_inbox(seat)?),
        };
        Ok(&view[..len])
    }

    /// Gives back what was only kept for a chunk that is done.
    pub(super) fn tidy(&mut self) {
        self.buffer = Vec::new();
    }
}
