//! Room for bytes in a segment, in units of 64 bytes.
//!
//! ```text
//!  words   0  how many units have memory behind them
//!          1  below this unit none is free
//!          2  how many units are in use
//! ```
//!
//! and a map with a bit for each unit, set if it is in use.
//!
//! # Invariants
//!
//! - All of this is derived: what is in use is known to who uses it, and is [marked](Arena::mark) anew
//!   after [`clear`](Arena::clear) when a process has died in the midst of a change.
//! - A unit is used only after there is memory behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::segment::Segment;
use crate::SyncError;

/// How many bytes all of it has.
pub(super) const SIZE: usize = 1 << 32;

/// How many bytes a unit has.
const UNIT: usize = 64;

/// How many narrow words its numbers take, its map, and itself.
pub(super) const NUMBERS: usize = 16;
pub(super) const MAP: usize = SIZE / UNIT / 32;
pub(super) const ROOM: usize = SIZE / 4;

const BACKED: usize = 0;
const LOWEST: usize = 1;
const USED: usize = 2;

/// Memory is had from the system in pieces of so many units at least.
const STEP: usize = 1024;

/// So many units keep their memory when none is in use.
const KEPT: usize = 16 * 1024 * 1024 / UNIT;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arena<'a> {
    pub(super) segment: &'a Arc<Segment>,
    /// Where its numbers are.
    pub(super) numbers: usize,
    /// Where its map is.
    pub(super) map: usize,
    /// Where it is itself: an even place.
    pub(super) room: usize,
}

/// How many units so many bytes take.
fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT).max(1)
}

impl<'a> Arena<'a> {
    fn number(self, which: usize) -> &'a AtomicU32 {
        &self.segment.body()[self.numbers + which]
    }

    fn get(self, which: usize) -> usize {
        self.number(which).load(Relaxed) as usize
    }

    /// How many units have memory behind them. Others may have spoilt the number.
    fn backed(self) -> usize {
        self.get(BACKED).min(SIZE / UNIT)
    }

    fn set(self, which: usize, value: usize) {
        #[expect(clippy::cast_possible_truncation, reason = "there are 2²⁶ units")]
        self.number(which).store(value as u32, Relaxed);
    }

    /// The words at a unit, and all after them; none if there is no such unit.
    pub(super) fn place(self, unit: u32) -> &'a [AtomicU64] {
        let words = self.segment.wide(self.room);
        words.get(unit as usize * (UNIT / 8)..).unwrap_or_default()
    }

    /// Takes room for so many bytes.
    pub(super) fn take(self, bytes: usize) -> Result<u32, SyncError> {
        let count = units(bytes);
        let start = if let Some(start) = self.find(count) {
            start
        } else {
            self.back(count)?;
            self.find(count).ok_or(SyncError::NoMemory)?
        };
        self.change(start, count, true);
        if start == self.get(LOWEST) {
            self.set(LOWEST, start + count);
        }
        #[expect(clippy::cast_possible_truncation, reason = "there are 2²⁶ units")]
        let start = start as u32;
        Ok(start)
    }

    /// Gives back what was taken for so many bytes.
    pub(super) fn free(self, unit: u32, bytes: usize) {
        let start = unit as usize;
        self.change(start, units(bytes), false);
        self.set(LOWEST, self.get(LOWEST).min(start));
        if self.get(USED) == 0 && self.backed() > KEPT {
            let backed = self.backed();
            // First nobody may use it, then it goes.
            self.set(BACKED, KEPT);
            let (from, words) = (KEPT * UNIT / 4, (backed - KEPT) * UNIT / 4);
            self.segment.give_back(self.room + from, words);
        }
    }

    /// Forgets what is in use.
    pub(super) fn clear(self) {
        let map = &self.segment.body()[self.map..self.map + MAP];
        for word in map.iter().take(self.backed().div_ceil(32)) {
            word.store(0, Relaxed);
        }
        self.set(LOWEST, 0);
        self.set(USED, 0);
    }

    /// Says that room for so many bytes is in use.
    pub(super) fn mark(self, unit: u32, bytes: usize) {
        self.change(unit as usize, units(bytes), true);
    }

    /// So many free units that follow each other.
    fn find(self, count: usize) -> Option<usize> {
        let map = &self.segment.body()[self.map..self.map + MAP];
        let end = self.backed();
        let mut start = self.get(LOWEST);
        let mut at = start;
        while at < end {
            let word = map[at / 32].load(Relaxed) >> (at % 32);
            if word == 0 {
                at = (at / 32 + 1) * 32;
            } else {
                at += word.trailing_zeros() as usize;
                if at - start >= count {
                    break;
                }
                at += (word >> word.trailing_zeros()).trailing_ones() as usize;
                start = at;
            }
            if at - start >= count {
                break;
            }
        }
        (at.min(end) >= start + count).then_some(start)
    }

    /// Has memory put behind so many more units.
    fn back(self, more: usize) -> Result<(), SyncError> {
        let backed = self.backed();
        let wished = more.max(STEP).max(backed / 4);
        let next = (backed + wished).next_multiple_of(STEP);
        // Near the end, or when memory is short, what is needed has to do.
        let least = (backed + more).next_multiple_of(STEP);
        self.back_to(next)
            .or_else(|_| self.back_to(least.min(SIZE / UNIT)))
    }

    fn back_to(self, next: usize) -> Result<(), SyncError> {
        let backed = self.backed();
        if next > SIZE / UNIT || next <= backed {
            return Err(SyncError::NoMemory);
        }
        let new = next - backed;
        self.segment
            .back(self.map + backed / 32, new.div_ceil(32))?;
        let (from, words) = (backed * UNIT / 4, new * UNIT / 4);
        self.segment.back(self.room + from, words)?;
        self.set(BACKED, next);
        Ok(())
    }

    /// Sets or clears the bits of so many units.
    fn change(self, start: usize, count: usize, used: bool) {
        let map = &self.segment.body()[self.map..self.map + MAP];
        let end = (start + count).min(self.backed());
        let mut at = start;
        while at < end {
            let bits = (32 - at % 32).min(end - at);
            let mask = (u32::MAX >> (32 - bits)) << (at % 32);
            let word = &map[at / 32];
            let before = word.load(Relaxed);
            let after = if used { before | mask } else { before & !mask };
            word.store(after, Relaxed);
            at += bits;
        }
        let (changed, all) = (end.saturating_sub(start), self.get(USED));
        let all = if used {
            all + changed
        } else {
            all.saturating_sub(changed)
        };
        self.set(USED, all);
    }
}
