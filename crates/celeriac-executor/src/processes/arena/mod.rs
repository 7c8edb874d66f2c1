//! The memory a parent and one child share: the black box, and room for large bodies.
//!
//! ```text
//! words │ ring │ … │ inbox of seat 0 │ outbox of seat 0 │ inbox of seat 1 │ …
//! ```
//!
//! It is one sparse memory file of fixed size, sealed so that a hostile child cannot cut it short
//! under the parent. The parent looks only at the words in place, all of them atomic; the rest it
//! copies in and out, by `pread` and `pwrite` or through a mapping (see `views`), so that nothing it
//! has read can change any more.
//!
//! # Invariants
//!
//! - The ring holds every byte of the child's stream from what it has written to the socket up to
//!   `produced`. What a killed child had finished is there, whole.
//! - What stands on the board holds for both sides; see [`Board`].

mod board;
#[cfg(test)]
mod model;
mod names;
mod regions;
mod word;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};

pub(super) use self::board::{Board, CAUSE};
pub(super) use self::names::{CallName, Claim, Notice, Running};
pub(super) use self::regions::{KEPT_BYTES, REGION_BYTES, Region};
use crate::os::SharedWords;

/// How much of a child's stream is kept until it is in the socket.
pub(super) const RING_BYTES: usize = 256 * 1024;

/// Bodies above this travel through the arena.
pub(super) const INLINE_BYTES: usize = 64 * 1024;

/// How many calls a child runs at once, and how many chunks it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) lanes: usize,
    pub(super) seats: usize,
}

impl Shape {
    fn ring_at(self) -> u64 {
        (board::words(self) as u64 * 8).next_multiple_of(64 * 1024)
    }

    fn size(self) -> u64 {
        regions::end(self.seats)
    }
}

/// Where in the ring the byte at position `at` of the stream stands.
pub(super) fn ring_index(at: u64) -> usize {
    usize::try_from(at % RING_BYTES as u64).expect("it is below the ring's length")
}

/// The arena, as both sides see it.
#[derive(Debug)]
pub(super) struct Arena {
    file: OwnedFd,
    board: Board<SharedWords>,
    shape: Shape,
}

impl Arena {
    /// Makes the arena of a new child.
    pub(super) fn create(shape: Shape) -> io::Result<Self> {
        let file =
            rustix::fs::memfd_create("celeriac", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&file, shape.size())?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let arena = Self::open(file, shape)?;
        arena.board.set_open_at(None);
        Ok(arena)
    }

    /// Opens the arena that the parent passed.
    pub(super) fn open(file: OwnedFd, shape: Shape) -> io::Result<Self> {
        let words = SharedWords::map(&file, board::words(shape))?;
        let board = Board::new(words, shape.lanes);
        Ok(Self { file, board, shape })
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) fn board(&self) -> &Board<SharedWords> {
        &self.board
    }

    pub(super) fn ring_at(&self) -> u64 {
        self.shape.ring_at()
    }

    /// The parent's side: reads `out.len()` bytes of the child's stream from position `at`.
    pub(super) fn read_ring(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        let start = ring_index(at);
        let (first, second) = out.split_at_mut(out.len().min(RING_BYTES - start));
        self.read_at(self.ring_at() + start as u64, first)?;
        self.read_at(self.ring_at(), second)
    }

    fn read_at(&self, mut at: u64, mut out: &mut [u8]) -> io::Result<()> {
        while !out.is_empty() {
            let read = rustix::io::retry_on_intr(|| rustix::io::pread(&self.file, &mut *out, at))?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            at += read as u64;
            out = &mut out[read..];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { lanes: 2, seats: 3 };

    #[test]
    fn nobody_can_cut_the_arena_short() {
        let arena = Arena::create(SHAPE).unwrap();
        assert!(rustix::fs::ftruncate(arena.file(), 0).is_err());
    }
}
