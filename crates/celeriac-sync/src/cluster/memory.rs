//! Objects in the memory of one process: of a served manager, or of a program that tries things out.

use std::collections::{BTreeSet, HashMap};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Error;
use super::state::{Batch, Object, Outcome, Session};
use super::store::{Ear, Store};

/// How long an object without a name is kept that nobody uses.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// After so many batches it is looked for objects that nobody uses.
const ROUND: u64 = 100_000;

/// All objects of a place.
#[derive(Debug)]
pub(super) struct Objects {
    by_name: HashMap<String, Entry>,
    clock: Clock,
    batches: u64,
}

#[derive(Debug)]
struct Entry {
    object: Object,
    used: u64,
    named: bool,
}

/// Milliseconds since 1970 that never go back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    start: Instant,
    start_ms: u64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            start_ms: wall_ms(),
        }
    }

    pub(super) fn now(&self) -> u64 {
        self.start_ms.saturating_add(millis(self.start.elapsed()))
    }
}

/// Milliseconds since 1970, as the system has them.
pub(super) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    millis(since.unwrap_or_default())
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Objects {
    pub(super) fn new() -> Self {
        Self {
            by_name: HashMap::new(),
            clock: Clock::new(),
            batches: 0,
        }
    }

    /// Carries a batch out, and gives the other sessions that have answers now.
    pub(super) fn apply(&mut self, batch: &Batch) -> (Outcome, BTreeSet<Session>) {
        let now = self.clock.now();
        self.batches += 1;
        if self.batches.is_multiple_of(ROUND) {
            self.clean(now);
        }
        if !self.by_name.contains_key(&batch.object) {
            let entry = Entry {
                object: Object::new(batch.plan.clone(), now),
                used: now,
                named: batch.plan.named,
            };
            self.by_name.insert(batch.object.clone(), entry);
        }
        let Some(entry) = self.by_name.get_mut(&batch.object) else {
            return Default::default();
        };
        entry.used = now;
        match entry.object.glance(batch, now) {
            Some(outcome) => (outcome, BTreeSet::new()),
            None => entry.object.apply(batch, now),
        }
    }

    fn clean(&mut self, now: u64) {
        let kept = millis(KEPT);
        self.by_name.retain(|_, entry| {
            entry.named || now.saturating_sub(entry.used) < kept || !entry.object.is_idle(now)
        });
    }
}

/// A place in the memory of this process.
#[derive(Debug)]
struct Room {
    objects: Objects,
    ears: HashMap<Session, Sender<String>>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Memory(Arc<Mutex<Room>>);

impl Memory {
    /// The place of this name, which lives as long as the process.
    pub(super) fn open(name: &str) -> Self {
        static ROOMS: LazyLock<Mutex<HashMap<String, Memory>>> = LazyLock::new(Mutex::default);
        let mut rooms = ROOMS.lock().unwrap_or_else(PoisonError::into_inner);
        let room = || {
            Self(Arc::new(Mutex::new(Room {
                objects: Objects::new(),
                ears: HashMap::new(),
            })))
        };
        rooms.entry(name.to_owned()).or_insert_with(room).clone()
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    fn apply(&mut self, batches: &[Batch]) -> Result<Vec<Outcome>, Error> {
        let mut room = self.room();
        let outcomes = batches.iter().map(|batch| {
            let (outcome, told) = room.objects.apply(batch);
            for session in told {
                let ear = room.ears.get(&session);
                // Whose ear is gone does not hear.
                if ear.is_some_and(|ear| ear.send(batch.object.clone()).is_err()) {
                    room.ears.remove(&session);
                }
            }
            outcome
        });
        Ok(outcomes.collect())
    }

    fn listen(&mut self, session: Session) -> Result<Box<dyn Ear>, Error> {
        let (sender, receiver) = channel();
        self.room().ears.insert(session, sender);
        Ok(Box::new(Heard(receiver)))
    }
}

struct Heard(Receiver<String>);

impl Ear for Heard {
    fn hear(&mut self, most: Duration) -> Result<Vec<String>, Error> {
        match self.0.recv_timeout(most) {
            Ok(object) => Ok(std::iter::once(object).chain(self.0.try_iter()).collect()),
            Err(RecvTimeoutError::Timeout) => Ok(Vec::new()),
            Err(RecvTimeoutError::Disconnected) => {
                Err(Error::unreachable("memory", "another listens in its place"))
            }
        }
    }
}
