//! A segment: shared memory that says what it is, and who uses it.
//!
//! ```text
//!  wide words   0  magic and version, kind and shape, id
//!               4  who sweeps
//!               8  seats: the process that has each
//!             256  what the type has there, in narrow words
//! ```
//!
//! # Invariants
//!
//! - The seat of a process that has died is free only after what it held has been recovered.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::member::Member;
use super::memory::Memory;
use super::names::Link;
use crate::SyncError;

/// Changes with the layout of any type.
const MARK: u64 = u64::from_le_bytes(*b"celeri\x00\x01");

const KIND: usize = 1;
const ID: usize = 2;
const SWEEPER: usize = 4;
const SEATS: usize = 8;
const HEAD: usize = 256;

/// How many processes can use one segment at a time.
pub(super) const MOST: usize = HEAD - SEATS;

/// How many milliseconds the dead can wait among those who never do.
const DUE: u64 = 50;

/// What is in a segment, of what shape, and what to do about processes that have died.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) kind: Kind,
    /// A number for the type of the items; 0 if there are none.
    pub(super) shape: u32,
    /// How many words the type needs from the start.
    pub(super) words: usize,
    /// How many more it could need, which it has [backed](Segment::back) before it uses them.
    pub(super) more: usize,
    /// Recovers what the process in a seat held.
    pub(super) recover: fn(&[AtomicU32], u32),
}

/// The type that is in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    Lock = 1,
    RLock,
    Semaphore,
    Event,
    Condition,
    Barrier,
    Value,
    Array,
    Queue,
    LifoQueue,
    PriorityQueue,
    Pipe,
    Dict,
    List,
}

/// Names a segment to other processes, for as long as the one that wrote it keeps it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Address {
    pub(super) pid: u32,
    pub(super) descriptor: i32,
    pub(super) id: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Segment {
    memory: Memory,
    plan: Plan,
    /// The place of this process in the table, from 1 on.
    seat: u32,
    /// Held by the thread that sweeps.
    sweeping: Mutex<()>,
    /// The names under which others find it here.
    names: Mutex<Vec<Link>>,
    /// When this process swept last, in milliseconds of the system's clock.
    swept: AtomicU64,
}

impl Kind {
    /// The type of which a segment says that it has this kind.
    pub(super) fn name_of(kind: u32) -> &'static str {
        let kinds = [
            (Self::Lock, "Lock"),
            (Self::RLock, "RLock"),
            (Self::Semaphore, "Semaphore"),
            (Self::Event, "Event"),
            (Self::Condition, "Condition"),
            (Self::Barrier, "Barrier"),
            (Self::Value, "Value"),
            (Self::Array, "Array"),
            (Self::Queue, "Queue"),
            (Self::LifoQueue, "LifoQueue"),
            (Self::PriorityQueue, "PriorityQueue"),
            (Self::Pipe, "Pipe"),
            (Self::Dict, "Dict"),
            (Self::List, "List"),
        ];
        let named = kinds.into_iter().find(|(is, _)| *is as u32 == kind);
        named.map_or("?", |(_, name)| name)
    }
}

impl Address {
    fn file(self) -> io::Result<File> {
        let path = format!("/proc/{}/fd/{}", self.pid, self.descriptor);
        File::options().read(true).write(true).open(path)
    }
}

impl Plan {
    fn word(&self) -> u64 {
        u64::from(self.kind as u32) << 32 | u64::from(self.shape)
    }
}

/// The segments of this process by their ids, so that each is mapped once and has one seat.
fn known() -> MutexGuard<'static, HashMap<u64, Weak<Segment>>> {
    static KNOWN: LazyLock<Mutex<HashMap<u64, Weak<Segment>>>> = LazyLock::new(Mutex::default);
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Segment {
    /// A new one. It ends with the last process that uses it.
    pub(super) fn create(plan: Plan) -> Result<Arc<Self>, SyncError> {
        let words = HEAD * 2 + plan.words;
        let memory = Memory::new(words + plan.more).and_then(|memory| {
            memory.back(0, words)?;
            Ok(memory)
        });
        let memory = memory.map_err(|_| SyncError::NoMemory)?;
        let head = memory.wide(HEAD);
        let id = RandomState::new().hash_one(Member::me());
        head[KIND].store(plan.word(), Ordering::Relaxed);
        head[ID].store(id, Ordering::Relaxed);
        head[0].store(MARK, Ordering::Release);
        Self::join(memory, plan, id, &mut known())
    }

    /// One that another process has made, or this one.
    pub(super) fn open(address: Address, plan: Plan) -> Result<Arc<Self>, SyncError> {
        let mut known = known();
        if let Some(segment) = known.get(&address.id).and_then(Weak::upgrade) {
            check(&segment.memory, plan)?;
            return Ok(segment);
        }
        let memory = Memory::map(address.file().map_err(|_| SyncError::Gone)?);
        let memory = memory.map_err(|_| SyncError::Gone)?;
        check(&memory, plan)?;
        if memory.wide(HEAD)[ID].load(Ordering::Relaxed) != address.id {
            return Err(SyncError::Gone);
        }
        Self::join(memory, plan, address.id, &mut known)
    }

    /// Has what an address names found by a name, for as long as this process uses it.
    pub(super) fn keep(address: Address, link: Link) {
        let segment = known().get(&address.id).and_then(Weak::upgrade);
        if let Some(segment) = segment {
            let names = segment.names.lock();
            names.unwrap_or_else(PoisonError::into_inner).push(link);
        }
    }

    /// What an address names: its kind, and how many bytes of memory are behind it. Nothing if it has ended.
    pub(super) fn look(address: Address) -> Option<(u32, u64)> {
        let file = address.file().ok()?;
        let bytes = file.metadata().ok()?.blocks() * 512;
        let memory = Memory::map(file).ok()?;
        let head = memory.wide(HEAD);
        let is_it = head.len() == HEAD
            && head[0].load(Ordering::Acquire) == MARK
            && head[ID].load(Ordering::Relaxed) == address.id;
        let kind = (head.get(KIND)?.load(Ordering::Relaxed) >> 32) as u32;
        is_it.then_some((kind, bytes))
    }

    fn join(
        memory: Memory,
        plan: Plan,
        id: u64,
        known: &mut HashMap<u64, Weak<Self>>,
    ) -> Result<Arc<Self>, SyncError> {
        let mut segment = Self {
            memory,
            plan,
            seat: 0,
            sweeping: Mutex::new(()),
            names: Mutex::default(),
            swept: AtomicU64::new(now()),
        };
        segment.sweep();
        segment.seat = segment.take_seat()?;
        let segment = Arc::new(segment);
        known.retain(|_, segment| segment.strong_count() > 0);
        known.insert(id, Arc::downgrade(&segment));
        Ok(segment)
    }

    fn take_seat(&self) -> Result<u32, SyncError> {
        let me = Member::me().word();
        let seats = (1..).zip(self.seats());
        for (seat, word) in seats {
            let taken = word.compare_exchange(0, me, Ordering::AcqRel, Ordering::Relaxed);
            if taken.is_ok() {
                return Ok(seat);
            }
        }
        Err(SyncError::TooMany { most: MOST })
    }

    fn seats(&self) -> &[AtomicU64] {
        &self.memory.wide(HEAD)[SEATS..]
    }

    /// What other processes open it by.
    pub(super) fn address(&self) -> Address {
        Address {
            pid: std::process::id(),
            descriptor: self.memory.as_fd().as_raw_fd(),
            id: self.memory.wide(HEAD)[ID].load(Ordering::Relaxed),
        }
    }

    /// What the type has there.
    pub(super) fn body(&self) -> &[AtomicU32] {
        self.memory.narrow(HEAD * 2)
    }

    /// What the type has from the narrow word `from` on, in wide words.
    pub(super) fn wide(&self, from: usize) -> &[AtomicU64] {
        self.memory.wide_from(HEAD * 2 + from)
    }

    /// Puts memory behind so many words of the type.
    pub(super) fn back(&self, from: usize, words: usize) -> Result<(), SyncError> {
        let backed = self.memory.back(HEAD * 2 + from, words);
        backed.map_err(|_| SyncError::NoMemory)
    }

    /// Gives the memory behind so many words of the type back to the system.
    pub(super) fn give_back(&self, from: usize, words: usize) {
        self.memory.give_back(HEAD * 2 + from, words);
    }

    /// The seat of this process.
    pub(super) fn seat(&self) -> u32 {
        self.seat
    }

    /// Who has a seat.
    pub(super) fn member(&self, seat: u32) -> Option<Member> {
        let word = self.seats().get((seat as usize).checked_sub(1)?)?;
        Member::from_word(word.load(Ordering::Acquire))
    }

    /// [Sweeps](Self::sweep) if this process has not for a while, for those who never wait.
    pub(super) fn sweep_if_due(&self) {
        let (now, before) = (now(), self.swept.load(Ordering::Relaxed));
        if now.saturating_sub(before) >= DUE {
            self.swept.store(now, Ordering::Relaxed);
            self.sweep();
        }
    }

    /// Recovers what the dead held, and frees their seats. Only one process does so at a time; the others
    /// return at once.
    pub(super) fn sweep(&self) {
        let Ok(_sweeping) = self.sweeping.try_lock() else {
            return;
        };
        let sweeper = &self.memory.wide(HEAD)[SWEEPER];
        let me = Member::me().word();
        let before = sweeper.load(Ordering::Acquire);
        if Member::from_word(before).is_some_and(Member::lives) && before != me {
            return;
        }
        // A sweeper that died has left nothing half done that is not done again.
        let taken = sweeper.compare_exchange(before, me, Ordering::AcqRel, Ordering::Relaxed);
        if taken.is_err() {
            return;
        }
        for (seat, word) in (1..).zip(self.seats()) {
            let member = word.load(Ordering::Acquire);
            if Member::from_word(member).is_some_and(|member| !member.lives()) {
                (self.plan.recover)(self.body(), seat);
                word.store(0, Ordering::Release);
            }
        }
        sweeper.store(0, Ordering::Release);
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if self.seat != 0 {
            // A guard that was forgotten instead of dropped holds nothing any more.
            (self.plan.recover)(self.body(), self.seat);
            self.seats()[self.seat as usize - 1].store(0, Ordering::Release);
        }
    }
}

/// A number for the type, which another type is not likely to have.
pub(super) fn shape<T>() -> u32 {
    let name = std::any::type_name::<T>().bytes();
    let hash = name.fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    #[expect(clippy::cast_possible_truncation, reason = "it only tells types apart")]
    let size = size_of::<T>() as u32;
    hash.rotate_left(5) ^ size
}

/// Milliseconds of a clock that is quick to read and exact to a few of them.
fn now() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    u64::try_from(now.tv_sec * 1000 + now.tv_nsec / 1_000_000).unwrap_or_default()
}

/// Whether it is a segment of ours, with what is wanted in it.
fn check(memory: &Memory, plan: Plan) -> Result<(), SyncError> {
    let head = memory.wide(HEAD);
    if head.len() < HEAD || head[0].load(Ordering::Acquire) != MARK {
        return Err(SyncError::Foreign);
    }
    if head[KIND].load(Ordering::Relaxed) != plan.word() {
        return Err(SyncError::OtherType);
    }
    if memory.narrow(HEAD * 2).len() < plan.words + plan.more {
        return Err(SyncError::Foreign);
    }
    Ok(())
}
