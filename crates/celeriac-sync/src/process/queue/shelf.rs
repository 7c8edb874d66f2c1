//! What the three kinds of queue have in common: items in shared memory that are put, got and finished.
//!
//! Those who put have a lock, and those who get have one, so that neither waits for the other; a stack or
//! a heap has one for both. Slots go round: from those who put through the line to those who get, and through
//! the table of the done back.
//!
//! # Invariants
//!
//! - The lock of those who get is taken before the other one.
//! - Whoever finds that a holder of a lock has died says that the shelf is [broken](BROKEN), and whoever
//!   finds it broken [mends](super::mend) it before it does anything else.
//! - An item is there from the moment its slot says so: what was put is never in part, and what is got has
//!   a holder.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::arena::Arena;
use super::super::encoding::{self, Encoded};
use super::super::gate::{ALL, Attempt, Gate, open};
use super::super::segment::{Address, Kind, Plan, Segment};
use super::super::word;
use super::ends::{self, End};
use super::layout::{
    ARENA, BEFORE, BROKEN, CAPACITY, CLOSED, COMPLETED, DONE, DONE_END, EMPTIED, FILLED, FINISHED,
    FIRST, GET_LOCK, ITEMS, LINE, MAP, MOST, NEXT, PUT, PUT_LOCK, RESERVED, ROOM, SIZE, SMALL,
    SPARE, TABLES, WORDS,
};
use super::line::{Line, Order};
use super::mend;
use super::side::Side;
use super::slots::{self, Slot, State};
use crate::SyncError;

/// The number of the first item. Those that are given back get smaller ones.
const MIDDLE: u64 = 1 << 62;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    segment: Arc<Segment>,
    order: Order,
}

pub(super) fn plan(kind: Kind, shape: u32) -> Plan {
    Plan {
        kind,
        shape,
        words: LINE,
        more: WORDS - LINE,
        recover,
    }
}

/// Lets go of what the process in a seat held.
fn recover(words: &[AtomicU32], seat: u32) {
    if slots::leave(words, seat) {
        words[BROKEN].store(1, Ordering::Release);
        open(&words[FILLED], ALL);
    }
    ends::leave_all(words, seat);
    word::recover(&words[GET_LOCK], seat);
    word::recover(&words[PUT_LOCK], seat);
}

impl Shelf {
    pub(super) fn create(plan: Plan, order: Order, capacity: usize) -> Result<Self, SyncError> {
        let most = MOST;
        let unbounded = capacity == usize::MAX;
        if capacity > most && !unbounded {
            return Err(SyncError::TooMany { most });
        }
        let segment = Segment::create(plan)?;
        let shelf = Self { segment, order };
        shelf.back_tables(0, FIRST)?;
        #[expect(clippy::cast_possible_truncation, reason = "it is no more than most")]
        let limit = if unbounded {
            u32::MAX
        } else {
            capacity.max(1) as u32
        };
        shelf.set(CAPACITY, limit);
        slots::set_number(&shelf.words()[NEXT..], MIDDLE);
        slots::set_number(&shelf.words()[BEFORE..], MIDDLE - 1);
        Ok(shelf)
    }

    pub(super) fn open(address: Address, plan: Plan, order: Order) -> Result<Self, SyncError> {
        let segment = Segment::open(address, plan)?;
        Ok(Self { segment, order })
    }

    pub(super) fn address(&self) -> Address {
        self.segment.address()
    }

    /// This process's place among those who have it.
    pub(super) fn seat(&self) -> u32 {
        self.segment.seat()
    }

    pub(super) fn order(&self) -> Order {
        self.order
    }

    /// Puts an item, if there is room.
    pub(super) fn put<T: Serialize>(&self, item: &Encoded<T>) -> Attempt<()> {
        let put = match item.bytes().filter(|bytes| bytes.len() <= SMALL) {
            Some(bytes) => self.put_small(bytes),
            None => self.put_large(item),
        };
        match put {
            Ok(true) => Some(Ok(())),
            Ok(false) => None,
            Err(why) => Some(Err(why)),
        }
    }

    fn put_small(&self, bytes: &[u8]) -> Result<bool, SyncError> {
        let Some((side, slot)) = self.admit()? else {
            return Ok(false);
        };
        encoding::store(self.small(slot), bytes);
        self.slot(slot).set_bytes(bytes.len(), None);
        side.publish(slot);
        drop(side);
        self.filled();
        Ok(true)
    }

    /// Takes a place, writes the item there while others go on, and puts it then.
    fn put_large<T: Serialize>(&self, item: &Encoded<T>) -> Result<bool, SyncError> {
        let Some((side, slot)) = self.admit()? else {
            return Ok(false);
        };
        side.harvest();
        let reserved = side.reserve(slot, item.len())?;
        drop(side);
        item.write_to(self.place(slot))?;
        let side = self.putting();
        if self.is_closed() {
            drop(side);
            return Err(SyncError::Closed);
        }
        reserved.keep(&side);
        side.publish(slot);
        drop(side);
        self.filled();
        Ok(true)
    }

    /// The side of those who put, and a spare slot, if an item more may come.
    fn admit(&self) -> Result<Option<(Side<'_>, u32)>, SyncError> {
        loop {
            let side = self.putting();
            if self.is_closed() {
                return Err(SyncError::Closed);
            }
            let capacity = self.get(CAPACITY).saturating_sub(self.get(RESERVED));
            if self.line().has(capacity) {
                return Ok(None);
            }
            if let Some(slot) = side.spare() {
                return Ok(Some((side, slot)));
            }
            let size = self.size();
            drop(side);
            if !self.grow(size)? {
                return Ok(None);
            }
        }
    }

    /// Gets what comes next: its slot, which is this process's until it is finished.
    pub(super) fn take(&self) -> Attempt<u32> {
        let side = self.getting();
        // What comes before it was closed is in the line when this is seen.
        let closed = self.is_closed();
        let Some(slot) = self.line().first() else {
            return closed.then_some(Err(SyncError::Closed));
        };
        self.slot(slot).set_state(State::Got(self.seat()));
        self.line().advance();
        drop(side);
        self.emptied();
        self.segment.sweep_if_due();
        Some(Ok(slot))
    }

    /// Says that what was got is finished.
    pub(super) fn finish(&self, slot: u32) {
        let side = self.getting();
        self.slot(slot).set_state(State::Free);
        let end = self.get(DONE_END);
        self.entry(DONE, end).store(slot, Ordering::Relaxed);
        self.set(DONE_END, end.wrapping_add(1));
        self.set(FINISHED, self.get(FINISHED).wrapping_add(1));
        drop(side);
        fence(Ordering::SeqCst);
        if self.completed_gate().is_awaited() && self.open_items() == 0 {
            self.completed_gate().open(ALL);
        }
    }

    /// Puts what was got back, as the next to be got.
    pub(super) fn give_back(&self, slot: u32) {
        self.both(|| {
            let known = self.slot(slot);
            known.set_number(match self.order {
                Order::First => self.count(BEFORE, -1),
                Order::Last => self.count(NEXT, 1),
                Order::Least(_) => known.number(),
            });
            known.set_state(State::Ready);
            self.line().push_next(slot);
        });
        self.filled();
    }

    /// The item in a slot.
    pub(super) fn read<T: DeserializeOwned>(&self, slot: u32) -> Result<T, SyncError> {
        encoding::read(self.place(slot), self.slot(slot).len())
    }

    pub(super) fn close(&self) {
        let side = self.putting();
        self.set(CLOSED, 1);
        drop(side);
        self.filled_gate().open(ALL);
        self.emptied_gate().open(ALL);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.words()[CLOSED].load(Ordering::Acquire) != 0
    }

    /// Counts one more of an end of a pipe here.
    pub(super) fn join_end(&self, end: End) {
        ends::join(self.words(), self.seat(), end);
    }

    /// Counts one less, and closes with the last one.
    pub(super) fn leave_end(&self, end: End) {
        if ends::leave(self.words(), self.seat(), end) {
            self.close();
        }
    }

    /// How many items can be got.
    pub(super) fn len(&self) -> usize {
        let _side = self.getting();
        self.line().len() as usize
    }

    /// How many items were put and are not finished.
    pub(super) fn open_items(&self) -> usize {
        let _side = self.getting();
        let finished = self.get(FINISHED);
        let put = self.words()[PUT].load(Ordering::Acquire);
        put.wrapping_sub(finished) as usize
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        let capacity = self.get(CAPACITY);
        (capacity != u32::MAX).then_some(capacity as usize)
    }

    /// For those who get.
    pub(super) fn filled_gate(&self) -> Gate<'_> {
        Gate::at(&self.segment, FILLED)
    }

    /// For those who put.
    pub(super) fn emptied_gate(&self) -> Gate<'_> {
        Gate::at(&self.segment, EMPTIED)
    }

    /// For those who join.
    pub(super) fn completed_gate(&self) -> Gate<'_> {
        Gate::at(&self.segment, COMPLETED)
    }

    /// An item has come.
    fn filled(&self) {
        fence(Ordering::SeqCst);
        if self.filled_gate().is_awaited() {
            self.filled_gate().open(1);
        }
        // Of many who wait for room one was woken; what is left is for the next one.
        self.let_in();
    }

    /// An item has gone.
    fn emptied(&self) {
        fence(Ordering::SeqCst);
        self.let_in();
        // The same for those who wait for items.
        if self.filled_gate().is_awaited() && self.line().len() > 0 {
            self.filled_gate().open(1);
        }
    }

    /// Wakes who waits for room when that is worth it: when a quarter is free.
    fn let_in(&self) {
        if self.emptied_gate().is_awaited() {
            let capacity = self.get(CAPACITY);
            let room = capacity.saturating_sub(self.line().len());
            if room >= (capacity / 4).max(1) {
                self.emptied_gate().open(1);
            }
        }
    }

    /// Takes the side of those who put.
    pub(super) fn putting(&self) -> Side<'_> {
        match self.order {
            Order::First => self.side(PUT_LOCK),
            Order::Last | Order::Least(_) => self.side(GET_LOCK),
        }
    }

    /// Takes the side of those who get.
    fn getting(&self) -> Side<'_> {
        self.side(GET_LOCK)
    }

    fn side(&self, lock: usize) -> Side<'_> {
        loop {
            let (held, recovered) = word::hold(&self.segment, lock);
            if recovered {
                self.set(BROKEN, 1);
            }
            if self.words()[BROKEN].load(Ordering::Acquire) == 0 {
                let shelf = self;
                return Side::new(shelf, held);
            }
            drop(held);
            self.both(|| {});
        }
    }

    /// Does something, and mends before what has to be mended, while nobody is at either side.
    fn both<R>(&self, act: impl FnOnce() -> R) -> R {
        let mut broken = false;
        let mut hold = |lock| {
            let (held, recovered) = word::hold(&self.segment, lock);
            broken |= recovered;
            held
        };
        let _getting = hold(GET_LOCK);
        let _putting = matches!(self.order, Order::First).then(|| hold(PUT_LOCK));
        if broken {
            self.set(BROKEN, 1);
        }
        // What is left while it is mended has to be mended again.
        if self.words()[BROKEN].swap(0, Ordering::AcqRel) != 0 {
            mend::mend(self);
        }
        act()
    }

    /// Makes the tables larger than `size`, unless another has: whether they are.
    fn grow(&self, size: u32) -> Result<bool, SyncError> {
        self.both(|| {
            if self.size() != size || self.get(SPARE) > 0 {
                return Ok(true);
            }
            if size as usize >= MOST {
                return Ok(false);
            }
            self.back_tables(size as usize, (size as usize * 2).min(MOST))?;
            mend::mend(self);
            Ok(true)
        })
    }

    /// Has memory put behind the tables.
    fn back_tables(&self, from: usize, to: usize) -> Result<(), SyncError> {
        for (table, words) in TABLES {
            self.segment
                .back(table + from * words, (to - from) * words)?;
        }
        #[expect(clippy::cast_possible_truncation, reason = "there are 2²²")]
        self.set(SIZE, to as u32);
        Ok(())
    }

    pub(super) fn line(&self) -> Line<'_> {
        let words = self.words();
        Line { shelf: self, words }
    }

    pub(super) fn arena(&self) -> Arena<'_> {
        Arena {
            segment: &self.segment,
            numbers: ARENA,
            map: MAP,
            room: ROOM,
        }
    }

    pub(super) fn slot(&self, slot: u32) -> Slot<'_> {
        Slot::of(self.words(), slot)
    }

    /// Where the bytes of an item are.
    fn place(&self, slot: u32) -> &[AtomicU64] {
        match self.slot(slot).place() {
            Some(unit) => self.arena().place(unit),
            None => self.small(slot),
        }
    }

    fn small(&self, slot: u32) -> &[AtomicU64] {
        let start = slot as usize % MOST * (SMALL / 8);
        &self.segment.wide(ITEMS)[start..start + SMALL / 8]
    }

    /// One place of a table that goes round.
    pub(super) fn entry(&self, table: usize, at: u32) -> &AtomicU32 {
        let index = at & self.size().wrapping_sub(1);
        &self.words()[table + index as usize % MOST]
    }

    /// Gives the number that is there, and makes it one more or less.
    pub(super) fn count(&self, which: usize, by: i64) -> u64 {
        let words = &self.words()[which..];
        let number = slots::number(words);
        slots::set_number(words, number.wrapping_add_signed(by));
        number
    }

    pub(super) fn words(&self) -> &[AtomicU32] {
        self.segment.body()
    }

    pub(super) fn get(&self, which: usize) -> u32 {
        self.words()[which].load(Ordering::Relaxed)
    }

    /// For how many slots the tables are. Others may have spoilt the number.
    pub(super) fn size(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "there are 2²²")]
        self.get(SIZE).min(MOST as u32)
    }

    pub(super) fn set(&self, which: usize, value: u32) {
        self.words()[which].store(value, Ordering::Release);
    }
}
