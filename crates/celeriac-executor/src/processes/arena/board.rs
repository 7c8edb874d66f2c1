//! What parent and child tell each other in shared words.
//!
//! Each word has one writer, but for those of the seats: there the parent offers a chunk and leaves
//! notices for it, and either side may claim it. `model` runs all of it in every order there is.
//!
//! # Invariants
//!
//! - A lane names the call it runs before that call's first instruction, and keeps the name until
//!   the outcome is in the ring.
//! - A chunk is begun with or taken back, never both, whatever notices come meanwhile.
//! - A time that is read with the name of a call is that call's, or a later one.

use std::sync::atomic::Ordering;

use super::Shape;
use super::names::{CallName, Claim, Notice, Running};
use super::word::{Memory, Word};
use crate::os::SharedWords;

const PRODUCED: usize = 0;
const OPEN_AT: usize = 1;
/// The word for the cause of death a child leaves behind.
pub(in crate::processes) const CAUSE: usize = 2;
const FIRST_LANE: usize = 8;

const QUEUED: u64 = 0;
const STARTED: u64 = 1;
const TAKEN: u64 = 2;
const CLAIM_MASK: u64 = 3;

/// The words, as both sides see them.
#[derive(Debug)]
pub(in crate::processes) struct Board<M> {
    memory: M,
    lanes: usize,
}

/// How many words there are.
pub(super) fn words(shape: Shape) -> usize {
    FIRST_LANE + 3 * shape.lanes + shape.seats
}

impl Board<SharedWords> {
    pub(in crate::processes) fn words(&self) -> &SharedWords {
        &self.memory
    }
}

impl<M: Memory> Board<M> {
    pub(super) fn new(memory: M, lanes: usize) -> Self {
        Self { memory, lanes }
    }

    fn word(&self, index: usize) -> &M::Word {
        self.memory.word(index)
    }

    /// How many bytes of its stream the child has put into the ring.
    pub(in crate::processes) fn produced(&self) -> u64 {
        self.word(PRODUCED).load(Ordering::Acquire)
    }

    pub(in crate::processes) fn set_produced(&self, bytes: u64) {
        self.word(PRODUCED).store(bytes, Ordering::Release);
    }

    /// Where in the stream a frame begins whose length is not written yet.
    pub(in crate::processes) fn open_at(&self) -> Option<u64> {
        Some(self.word(OPEN_AT).load(Ordering::Acquire)).filter(|&at| at != u64::MAX)
    }

    pub(in crate::processes) fn set_open_at(&self, at: Option<u64>) {
        self.word(OPEN_AT)
            .store(at.unwrap_or(u64::MAX), Ordering::Release);
    }

    /// The cause of death that the child noted, or 0.
    pub(in crate::processes) fn cause(&self) -> u64 {
        self.word(CAUSE).load(Ordering::Acquire)
    }

    fn running_word(&self, lane: usize) -> &M::Word {
        self.word(FIRST_LANE + lane)
    }

    fn since_word(&self, lane: usize) -> &M::Word {
        self.word(FIRST_LANE + self.lanes + lane)
    }

    /// Names the call that `lane` is about to run; `since` is when, if anybody will ask.
    pub(in crate::processes) fn begin(&self, lane: usize, call: CallName, since: Option<u64>) {
        if let Some(since) = since {
            self.since_word(lane).store(since, Ordering::Release);
        }
        self.running_word(lane)
            .store(call.pack(), Ordering::Release);
    }

    /// Says that `lane` runs nothing.
    pub(in crate::processes) fn rest(&self, lane: usize) {
        self.running_word(lane).store(0, Ordering::Release);
    }

    /// What each lane runs or ran last.
    pub(in crate::processes) fn lanes(&self) -> impl Iterator<Item = Running> {
        (0..self.lanes).filter_map(|lane| {
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

    fn overdue_word(&self, lane: usize) -> &M::Word {
        self.word(FIRST_LANE + 2 * self.lanes + lane)
    }

    /// The parent's side: says that a call is past its soft limit; false if that was said before.
    ///
    /// It is said of the call, not of the lane: should the lane have gone on, nobody listens.
    pub(in crate::processes) fn overdue(&self, lane: usize, call: CallName) -> bool {
        self.overdue_word(lane).swap(call.pack(), Ordering::AcqRel) != call.pack()
    }

    /// The child's side: whether a call is past its soft limit.
    pub(in crate::processes) fn is_overdue(&self, lane: usize, call: CallName) -> bool {
        self.overdue_word(lane).load(Ordering::Acquire) == call.pack()
    }

    fn seat_word(&self, seat: u32) -> &M::Word {
        self.word(FIRST_LANE + 3 * self.lanes + seat as usize)
    }

    /// Offers chunk number `serial` in `seat`.
    pub(in crate::processes) fn offer(&self, seat: u32, serial: u32) {
        self.seat_word(seat)
            .store(u64::from(serial) << 32 | QUEUED, Ordering::Release);
    }

    /// Moves a chunk from one claim to another, with the notices that were left for it.
    fn change(&self, seat: u32, serial: u32, from: u64, to: u64) -> bool {
        let word = self.seat_word(seat);
        let mut known = u64::from(serial) << 32 | from;
        loop {
            let next = known & !CLAIM_MASK | to;
            match word.compare_exchange(known, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(newer) if newer >> 32 == u64::from(serial) && newer & CLAIM_MASK == from => {
                    known = newer;
                }
                Err(_) => return false,
            }
        }
    }

    /// The child's side: begins with a chunk, unless it was taken back.
    pub(in crate::processes) fn claim(&self, seat: u32, serial: u32) -> bool {
        self.change(seat, serial, QUEUED, STARTED)
    }

    /// The parent's side: takes a chunk back, unless the child has begun with it.
    pub(in crate::processes) fn take_back(&self, seat: u32, serial: u32) -> bool {
        self.change(seat, serial, QUEUED, TAKEN)
    }

    /// How far the chunk has come.
    pub(in crate::processes) fn claim_of(&self, seat: u32, serial: u32) -> Claim {
        let word = self.seat_word(seat).load(Ordering::Acquire);
        match word & CLAIM_MASK {
            _ if word >> 32 != u64::from(serial) => Claim::Gone,
            QUEUED => Claim::Queued,
            STARTED => Claim::Started,
            _ => Claim::Gone,
        }
    }

    /// Leaves a notice for the chunk.
    pub(in crate::processes) fn notify(&self, seat: u32, notice: Notice) {
        self.seat_word(seat)
            .fetch_or(notice as u64, Ordering::AcqRel);
    }

    /// The weightiest notice for chunk number `serial`.
    pub(in crate::processes) fn notice(&self, seat: u32, serial: u32) -> Option<Notice> {
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
}

#[cfg(test)]
mod tests {
    use super::super::Arena;
    use super::*;

    const SHAPE: Shape = Shape { lanes: 2, seats: 3 };

    #[test]
    fn a_chunk_is_either_begun_or_taken_back_never_both() {
        let arena = Arena::create(SHAPE).unwrap();
        let board = arena.board();
        board.offer(1, 7);
        assert!(board.claim(1, 7));
        assert!(!board.take_back(1, 7));
        board.offer(1, 8);
        assert!(board.take_back(1, 8));
        assert!(!board.claim(1, 8));
        board.offer(1, 9);
        assert!(!board.claim(1, 8), "an old chunk is gone for good");
        assert_eq!(board.claim_of(1, 8), Claim::Gone);
        assert_eq!(board.claim_of(1, 9), Claim::Queued);
    }

    #[test]
    fn a_chunk_with_a_notice_can_be_begun_with_and_taken_back() {
        let arena = Arena::create(SHAPE).unwrap();
        let board = arena.board();
        board.offer(0, 4);
        board.notify(0, Notice::Soft);
        assert!(board.claim(0, 4));
        assert_eq!(board.notice(0, 4), Some(Notice::Soft));
        board.offer(0, 5);
        board.notify(0, Notice::Soft);
        assert!(board.take_back(0, 5));
        assert_eq!(board.claim_of(0, 5), Claim::Gone);
    }

    #[test]
    fn a_notice_reaches_its_chunk_only() {
        let arena = Arena::create(SHAPE).unwrap();
        let board = arena.board();
        board.offer(0, 4);
        board.notify(0, Notice::Soft);
        board.notify(0, Notice::Cancel);
        assert_eq!(board.notice(0, 4), Some(Notice::Cancel));
        assert_eq!(board.notice(0, 3), None);
        board.offer(0, 5);
        assert_eq!(board.notice(0, 5), None);
    }

    #[test]
    fn a_call_is_called_overdue_once_and_no_other_with_it() {
        let arena = Arena::create(SHAPE).unwrap();
        let board = arena.board();
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
        assert!(board.overdue(1, first));
        assert!(!board.overdue(1, first));
        assert!(board.is_overdue(1, first));
        assert!(!board.is_overdue(1, second) && !board.is_overdue(0, first));
    }
}
