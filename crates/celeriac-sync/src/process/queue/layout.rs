//! Where everything of a queue is in its segment.
//!
//! ```text
//!  words    0  those who get: lock, where the line begins, how many were finished, end of the done
//!          16  those who put: lock, where the line ends, how many were put, begin of the done, spare slots
//!          32  both: capacity, closed, broken, size of the tables
//!          48  the three gates
//!          96  the arena's numbers
//!         112  the ends of a pipe: how many each seat has
//!         368  tables: line, done, spares, slots
//!              then in wide words: what small items take, the arena
//! ```
//!
//! What one side writes often is 64 bytes away from what the other does, so that they do not take the
//! memory from each other.

use super::super::arena;
use super::super::segment;

/// How many items there may be, put and not finished.
pub(super) const MOST: usize = 1 << 22;

/// How many the tables are for at first.
pub(super) const FIRST: usize = 256;

/// How many bytes an item takes that needs no room in the arena.
pub(super) const SMALL: usize = 128;

// Those who get.
pub(super) const GET_LOCK: usize = 0;
pub(super) const BEGIN: usize = 1;
pub(super) const FINISHED: usize = 2;
pub(super) const DONE_END: usize = 3;
/// The end of the line as those who get have seen it last.
pub(super) const END_SEEN: usize = 4;

// Those who put.
pub(super) const PUT_LOCK: usize = 16;
pub(super) const END: usize = 17;
pub(super) const PUT: usize = 18;
pub(super) const DONE_BEGIN: usize = 19;
/// The begin of the line as those who put have seen it last.
pub(super) const BEGIN_SEEN: usize = 20;
/// How many spare slots there are.
pub(super) const SPARE: usize = 21;
/// How many slots were ever used.
pub(super) const KNOWN: usize = 22;
/// How many slots are being written to, for which the line has to have room.
pub(super) const RESERVED: usize = 23;
/// The number of the next item that is put; two words.
pub(super) const NEXT: usize = 24;

// Both; seldom written.
pub(super) const CAPACITY: usize = 32;
pub(super) const CLOSED: usize = 33;
pub(super) const BROKEN: usize = 34;
pub(super) const SIZE: usize = 35;
/// The number before that of the item that was given back last; two words.
pub(super) const BEFORE: usize = 36;

// Gates.
pub(super) const FILLED: usize = 48;
pub(super) const EMPTIED: usize = 64;
pub(super) const COMPLETED: usize = 80;

pub(super) const ARENA: usize = 96;

/// For each seat how many ends it has that send, and in the upper half how many that receive.
pub(super) const ENDS: usize = ARENA + arena::NUMBERS;

// Tables.
pub(super) const LINE: usize = (ENDS + segment::MOST).next_multiple_of(16);
pub(super) const DONE: usize = LINE + MOST;
pub(super) const SPARES: usize = DONE + MOST;
pub(super) const SLOTS: usize = SPARES + MOST;
pub(super) const SLOT: usize = 8;
pub(super) const MAP: usize = SLOTS + MOST * SLOT;

// Wide words, in narrow ones.
pub(super) const ITEMS: usize = MAP + arena::MAP;
pub(super) const ROOM: usize = ITEMS + MOST * (SMALL / 4);
pub(super) const WORDS: usize = ROOM + arena::ROOM;

/// The tables, and how many words each has for a slot.
pub(super) const TABLES: [(usize, usize); 5] = [
    (LINE, 1),
    (DONE, 1),
    (SPARES, 1),
    (SLOTS, SLOT),
    (ITEMS, SMALL / 4),
];
