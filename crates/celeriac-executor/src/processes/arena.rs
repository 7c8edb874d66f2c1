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
//! - A lane names the call it runs before that call's first instruction, and keeps the name until
//!   the outcome is in the ring.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::Mmap;
use rustix::buffer::spare_capacity;
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;

use crate::os::{self, SharedBytes, SharedWords};

/// How much of a child's stream is kept until it is in the socket.
pub(super) const RING_BYTES: usize = 256 * 1024;

/// Bodies above this travel through the arena.
pub(super) const INLINE_BYTES: usize = 64 * 1024;

/// A region's pages are kept for the next body up to here, and given back beyond.
pub(super) const KEPT_BYTES: u64 = KEPT as u64;
const KEPT: usize = 8 * 1024 * 1024;

/// Each region's address space; pages exist only where something was written.
const REGION_BITS: u32 = 36;

/// The longest text of bytes that fits a region.
pub(super) const REGION_BYTES: u64 = 1 << REGION_BITS;

const PRODUCED: usize = 0;
const OPEN_AT: usize = 1;
/// The word for the cause of death a child leaves behind.
pub(super) const CAUSE: usize = 2;
const FIRST_LANE: usize = 8;

/// How many calls a child runs at once, and how many chunks it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) lanes: usize,
    pub(super) seats: usize,
}

impl Shape {
    fn words(self) -> usize {
        FIRST_LANE + 3 * self.lanes + self.seats
    }

    fn ring_at(self) -> u64 {
        (self.words() as u64 * 8).next_multiple_of(64 * 1024)
    }

    fn size(self) -> u64 {
        (1 + 2 * self.seats as u64) << REGION_BITS
    }
}

/// Where one body, or several, are put by one side and found by the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Region {
    /// Where in the file it begins.
    at: u64,
}

impl Region {
    /// What a parent writes and its child reads.
    pub(super) fn inbox(seat: u32) -> Self {
        Self {
            at: (1 + 2 * u64::from(seat)) << REGION_BITS,
        }
    }

    /// What a child writes and its parent reads.
    pub(super) fn outbox(seat: u32) -> Self {
        Self {
            at: (2 + 2 * u64::from(seat)) << REGION_BITS,
        }
    }
}

/// Where in the ring the byte at position `at` of the stream stands.
pub(super) fn ring_index(at: u64) -> usize {
    usize::try_from(at % RING_BYTES as u64).expect("it is below the ring's length")
}

/// The name of one call in a child: the serial number of its chunk there, and its place in that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CallName {
    /// Counted from 1 in each child, so that no name is all zeros.
    pub(super) serial: u32,
    pub(super) index: u32,
}

impl CallName {
    fn pack(self) -> u64 {
        u64::from(self.serial) << 32 | u64::from(self.index)
    }

    #[expect(clippy::cast_possible_truncation, reason = "both halves are wanted")]
    fn unpack(word: u64) -> Self {
        Self {
            serial: (word >> 32) as u32,
            index: word as u32,
        }
    }
}

/// A call that a lane runs, or ran last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) lane: usize,
    pub(super) call: CallName,
    /// When it began; means something only if it has limits.
    pub(super) since: u64,
}

/// What became of a chunk that was sent to a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// Nobody has touched it.
    Queued,
    /// The child has begun with it.
    Started,
    /// The parent took it back, or it was an earlier chunk.
    Gone,
}

/// What the parent has to tell about a chunk that runs. Larger ones overtake smaller ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u64)]
pub(super) enum Notice {
    /// Its soft time limit has passed, says the sender.
    Soft = 1 << 2,
    /// The calls not begun yet are not wanted: the pool shuts down.
    SkipRest = 1 << 3,
    /// It was cancelled.
    Cancel = 1 << 4,
    /// It should end because the pool or worker does.
    Shutdown = 1 << 5,
}

const QUEUED: u64 = 0;
const STARTED: u64 = 1;
const TAKEN: u64 = 2;
const CLAIM_MASK: u64 = 3;

/// The arena, as both sides see it.
#[derive(Debug)]
pub(super) struct Arena {
    file: OwnedFd,
    words: SharedWords,
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
        arena.word(OPEN_AT).store(u64::MAX, Ordering::Relaxed);
        Ok(arena)
    }

    /// Opens the arena that the parent passed.
    pub(super) fn open(file: OwnedFd, shape: Shape) -> io::Result<Self> {
        let words = SharedWords::map(&file, shape.words())?;
        Ok(Self { file, words, shape })
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) fn words(&self) -> &SharedWords {
        &self.words
    }

    pub(super) fn ring_at(&self) -> u64 {
        self.shape.ring_at()
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        &self.words.words()[index]
    }

    /// How many bytes of its stream the child has put into the ring.
    pub(super) fn produced(&self) -> u64 {
        self.word(PRODUCED).load(Ordering::Acquire)
    }

    pub(super) fn set_produced(&self, bytes: u64) {
        self.word(PRODUCED).store(bytes, Ordering::Release);
    }

    /// Where in the stream a frame begins whose length is not written yet.
    pub(super) fn open_at(&self) -> Option<u64> {
        Some(self.word(OPEN_AT).load(Ordering::Acquire)).filter(|&at| at != u64::MAX)
    }

    pub(super) fn set_open_at(&self, at: Option<u64>) {
        self.word(OPEN_AT)
            .store(at.unwrap_or(u64::MAX), Ordering::Release);
    }

    /// The cause of death that the child noted, or 0.
    pub(super) fn cause(&self) -> u64 {
        self.word(CAUSE).load(Ordering::Acquire)
    }

    fn running_word(&self, lane: usize) -> &AtomicU64 {
        self.word(FIRST_LANE + lane)
    }

    fn since_word(&self, lane: usize) -> &AtomicU64 {
        self.word(FIRST_LANE + self.shape.lanes + lane)
    }

    /// Names the call that `lane` is about to run; `since` is when, if anybody will ask.
    pub(super) fn begin(&self, lane: usize, call: CallName, since: Option<u64>) {
        if let Some(since) = since {
            self.since_word(lane).store(since, Ordering::Release);
        }
        self.running_word(lane)
            .store(call.pack(), Ordering::Release);
    }

    /// Says that `lane` runs nothing.
    pub(super) fn rest(&self, lane: usize) {
        self.running_word(lane).store(0, Ordering::Release);
    }

    /// What each lane runs or ran last.
    pub(super) fn lanes(&self) -> impl Iterator<Item = Running> {
        (0..self.shape.lanes).filter_map(|lane| {
            let running = self.running_word(lane).load(Ordering::Acquire);
            let since = self.since_word(lane).load(Ordering::Acquire);
            // The time of the next call may already stand there: that only delays its limit.
            (running != 0).then(|| Running {
                lane,
                call: CallName::unpack(running),
                since,
            })
        })
    }

    fn overdue_word(&self, lane: usize) -> &AtomicU64 {
        self.word(FIRST_LANE + 2 * self.shape.lanes + lane)
    }

    /// The parent's side: says that a call is past its soft limit; false if that was said before.
    ///
    /// It is said of the call, not of the lane: should the lane have gone on, nobody listens.
    pub(super) fn overdue(&self, lane: usize, call: CallName) -> bool {
        self.overdue_word(lane).swap(call.pack(), Ordering::AcqRel) != call.pack()
    }

    /// The child's side: whether a call is past its soft limit.
    pub(super) fn is_overdue(&self, lane: usize, call: CallName) -> bool {
        self.overdue_word(lane).load(Ordering::Acquire) == call.pack()
    }

    fn seat_word(&self, seat: u32) -> &AtomicU64 {
        self.word(FIRST_LANE + 3 * self.shape.lanes + seat as usize)
    }

    /// Offers chunk number `serial` in `seat`.
    pub(super) fn offer(&self, seat: u32, serial: u32) {
        self.seat_word(seat)
            .store(u64::from(serial) << 32 | QUEUED, Ordering::Release);
    }

    /// Moves a chunk from one claim to another, with the notices that were left for it.
    fn change(&self, seat: u32, serial: u32, from: u64, to: u64) -> bool {
        let word = self.seat_word(seat);
        let mut known = word.load(Ordering::Acquire);
        while known >> 32 == u64::from(serial) && known & CLAIM_MASK == from {
            let next = known & !CLAIM_MASK | to;
            match word.compare_exchange(known, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(newer) => known = newer,
            }
        }
        false
    }

    /// The child's side: begins with a chunk, unless it was taken back.
    pub(super) fn claim(&self, seat: u32, serial: u32) -> bool {
        self.change(seat, serial, QUEUED, STARTED)
    }

    /// The parent's side: takes a chunk back, unless the child has begun with it.
    pub(super) fn take_back(&self, seat: u32, serial: u32) -> bool {
        self.change(seat, serial, QUEUED, TAKEN)
    }

    /// How far the chunk has come.
    pub(super) fn claim_of(&self, seat: u32, serial: u32) -> Claim {
        let word = self.seat_word(seat).load(Ordering::Acquire);
        match word & CLAIM_MASK {
            _ if word >> 32 != u64::from(serial) => Claim::Gone,
            QUEUED => Claim::Queued,
            STARTED => Claim::Started,
            _ => Claim::Gone,
        }
    }

    /// Leaves a notice for the chunk.
    pub(super) fn notify(&self, seat: u32, notice: Notice) {
        self.seat_word(seat)
            .fetch_or(notice as u64, Ordering::AcqRel);
    }

    /// The weightiest notice for chunk number `serial`.
    pub(super) fn notice(&self, seat: u32, serial: u32) -> Option<Notice> {
        let word = self.seat_word(seat).load(Ordering::Acquire);
        if word >> 32 != u64::from(serial) {
            return None;
        }
        [
            Notice::Shutdown,
            Notice::Cancel,
            Notice::SkipRest,
            Notice::Soft,
        ]
        .into_iter()
        .find(|&notice| word & notice as u64 != 0)
    }

    /// Puts bytes at `offset` of a region.
    pub(super) fn write(&self, region: Region, offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        let mut at = region.at + offset;
        while !bytes.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(&self.file, bytes, at))?;
            at += written as u64;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Copies `len` bytes from `offset` on out of a region.
    pub(super) fn read(&self, region: Region, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(len);
        while out.len() < len {
            let at = region.at + offset + out.len() as u64;
            match rustix::io::pread(&self.file, spare_capacity(&mut out), at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // The allocator may have given more room than was asked for.
        out.truncate(len);
        Ok(out)
    }

    /// Sees to it that a region has memory behind it up to `end`.
    pub(super) fn back(&self, region: Region, end: u64) -> io::Result<()> {
        let flags = FallocateFlags::KEEP_SIZE;
        rustix::io::retry_on_intr(|| rustix::fs::fallocate(&self.file, flags, region.at, end))?;
        Ok(())
    }

    /// The bytes of a region that are kept, to be copied in and out.
    pub(super) fn view(&self, region: Region) -> io::Result<SharedBytes> {
        SharedBytes::map(&self.file, region.at, KEPT)
    }

    /// The child's side: the bytes of an inbox that are kept, to be looked at in place.
    pub(super) fn view_inbox(&self, seat: u32) -> io::Result<Mmap> {
        os::map_theirs(&self.file, Region::inbox(seat).at, KEPT)
    }

    /// The parent's side: reads `out.len()` bytes of the child's stream from position `at`.
    pub(super) fn read_ring(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        let start = ring_index(at);
        let (first, second) = out.split_at_mut(out.len().min(RING_BYTES - start));
        self.read_at(self.ring_at() + start as u64, first)?;
        self.read_at(self.ring_at(), second)
    }

    /// Gives back the pages of what has been read from a region, beyond those worth keeping.
    pub(super) fn trim(&self, region: Region, offset: u64, len: u64) {
        let start = offset.max(KEPT_BYTES);
        let end = offset + len;
        if start < end {
            // Not doing it costs memory only.
            let _ = rustix::fs::fallocate(
                &self.file,
                FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                region.at + start,
                end - start,
            );
        }
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
    fn a_chunk_is_either_begun_or_taken_back_never_both() {
        let arena = Arena::create(SHAPE).unwrap();
        arena.offer(1, 7);
        assert!(arena.claim(1, 7));
        assert!(!arena.take_back(1, 7));
        arena.offer(1, 8);
        assert!(arena.take_back(1, 8));
        assert!(!arena.claim(1, 8));
        arena.offer(1, 9);
        assert!(!arena.claim(1, 8), "an old chunk is gone for good");
        assert_eq!(arena.claim_of(1, 8), Claim::Gone);
        assert_eq!(arena.claim_of(1, 9), Claim::Queued);
    }

    #[test]
    fn a_chunk_with_a_notice_can_be_begun_with_and_taken_back() {
        let arena = Arena::create(SHAPE).unwrap();
        arena.offer(0, 4);
        arena.notify(0, Notice::Soft);
        assert!(arena.claim(0, 4));
        assert_eq!(arena.notice(0, 4), Some(Notice::Soft));
        arena.offer(0, 5);
        arena.notify(0, Notice::Soft);
        assert!(arena.take_back(0, 5));
        assert_eq!(arena.claim_of(0, 5), Claim::Gone);
    }

    #[test]
    fn a_notice_reaches_its_chunk_only() {
        let arena = Arena::create(SHAPE).unwrap();
        arena.offer(0, 4);
        arena.notify(0, Notice::Soft);
        arena.notify(0, Notice::Cancel);
        assert_eq!(arena.notice(0, 4), Some(Notice::Cancel));
        assert_eq!(arena.notice(0, 3), None);
        arena.offer(0, 5);
        assert_eq!(arena.notice(0, 5), None);
    }

    #[test]
    fn a_call_is_called_overdue_once_and_no_other_with_it() {
        let arena = Arena::create(SHAPE).unwrap();
        let (first, second) = (
            CallName {
                serial: 1,
                index: 0,
            },
            CallName {
                serial: 1,
                index: 1,
            },
        );
        assert!(arena.overdue(1, first));
        assert!(!arena.overdue(1, first));
        assert!(arena.is_overdue(1, first));
        assert!(!arena.is_overdue(1, second) && !arena.is_overdue(0, first));
    }

    #[test]
    fn nobody_can_cut_the_arena_short() {
        let arena = Arena::create(SHAPE).unwrap();
        assert!(rustix::fs::ftruncate(arena.file(), 0).is_err());
    }

    #[test]
    fn a_body_survives_the_arena() {
        let arena = Arena::create(SHAPE).unwrap();
        let body: Vec<u8> = (0..10_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let inbox = Region::inbox(2);
        arena.write(inbox, 0, &body).unwrap();
        assert!(arena.read(inbox, 0, body.len()).unwrap() == body);
        arena.trim(inbox, 0, body.len() as u64);
        let read = arena.read(inbox, 0, body.len()).unwrap();
        assert!(read[..8 << 20] == body[..8 << 20] && read[8 << 20..].iter().all(|&b| b == 0));
    }
}
