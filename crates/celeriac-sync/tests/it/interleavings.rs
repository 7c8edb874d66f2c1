//! No interleaving of threads breaks a lock in shared memory, or leaves somebody asleep whose turn it is.
//!
//! The sources of both are compiled here once more, on the primitives of a model checker, which tries every
//! order in which memory may show the threads each other's steps. Nobody who sleeps here is woken by time: a
//! wake-up that is lost is a deadlock, which the model checker reports.

use std::convert::Infallible;

use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::sync::Arc;
use loom::thread;

#[allow(dead_code, reason = "gates need more of it")]
#[path = "../../src/process/door.rs"]
mod door;
#[allow(dead_code, reason = "those who watch holders need more of it")]
#[path = "../../src/process/mutex.rs"]
mod mutex;

/// What the sources take their primitives from.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicU32, Ordering, fence};
}

/// What the system does for those who sleep on a word: it looks at the word and puts to sleep, or wakes, one
/// after another.
mod futex {
    use loom::sync::{Condvar, Mutex};

    use super::sync::{AtomicU32, Ordering};

    loom::lazy_static! {
        static ref SLEEPERS: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
    }

    /// Sleeps while the word has this value. It may be woken for nothing.
    pub(super) fn wait(word: &AtomicU32, value: u32) {
        let (one_at_a_time, woken) = &*SLEEPERS;
        let turn = one_at_a_time.lock().unwrap();
        // What is there now, not what this thread could have seen before.
        if word.fetch_or(0, Ordering::SeqCst) == value {
            drop(woken.wait(turn).unwrap());
        }
    }

    pub(super) fn wake(_: &AtomicU32, count: u32) {
        let (one_at_a_time, woken) = &*SLEEPERS;
        let _turn = one_at_a_time.lock().unwrap();
        if count == 1 {
            woken.notify_one();
        } else {
            woken.notify_all();
        }
    }
}

use sync::{AtomicU32, Ordering};

/// A lock, and what nobody may see whose seat it does not name.
struct Locked {
    word: AtomicU32,
    count: UnsafeCell<u32>,
}

impl Locked {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            word: AtomicU32::new(0),
            count: UnsafeCell::new(0),
        })
    }

    /// Takes it, however long that takes: whether its holder before left it unduly.
    fn lock(&self, seat: u32) -> bool {
        let sleep = |state| {
            futex::wait(&self.word, state);
            Ok::<_, Infallible>(())
        };
        let Ok(recovered) = match mutex::take(&self.word, seat) {
            Some(recovered) => Ok(recovered),
            None => mutex::wait(&self.word, seat, sleep),
        };
        self.count();
        recovered
    }

    /// Counts as who has it. The model checker reports two who do so at once.
    #[allow(
        unsafe_code,
        reason = "the cell is the model checker's, which watches it"
    )]
    fn count(&self) {
        // SAFETY: whoever comes here holds the lock, which the model checker proves.
        self.count.with_mut(|count| unsafe { *count += 1 });
    }

    fn release(&self) {
        mutex::release(&self.word, false);
    }

    /// How often it was taken.
    #[allow(unsafe_code, reason = "as above")]
    fn counted(&self) -> u32 {
        // SAFETY: all others have ended.
        self.count.with(|count| unsafe { *count })
    }
}

/// All interleavings in which a thread is interrupted no more often than this.
fn model(test: impl Fn() + Sync + Send + 'static) {
    let mut model = Builder::new();
    model.preemption_bound = Some(2);
    model.check(test);
}

/// Takes the lock in a thread of its own, as the process of a seat, and gives it back.
fn visits(locked: &Arc<Locked>, seat: u32) -> thread::JoinHandle<bool> {
    let locked = locked.clone();
    thread::spawn(move || {
        let recovered = locked.lock(seat);
        locked.release();
        recovered
    })
}

#[test]
fn one_at_a_time_has_a_lock_and_nobody_sleeps_before_a_free_one() {
    model(|| {
        let locked = Locked::new();
        let others = [visits(&locked, 2), visits(&locked, 3)];
        assert!(!locked.lock(1));
        locked.release();
        for other in others {
            assert!(!other.join().unwrap());
        }
        assert_eq!(locked.counted(), 3);
    });
}

#[test]
fn the_next_after_a_holder_that_died_is_told_and_the_others_are_not() {
    model(|| {
        let locked = Locked::new();
        // It dies with the lock.
        assert!(!locked.lock(1));
        let others = [visits(&locked, 2), visits(&locked, 3)];
        // Who sweeps may do so again, and after one that had begun.
        mutex::recover(&locked.word, 1);
        mutex::recover(&locked.word, 1);
        let told = others.map(|other| usize::from(other.join().unwrap()));
        assert_eq!(told.iter().sum::<usize>(), 1);
    });
}

#[test]
fn who_gives_up_waiting_leaves_its_turn_to_the_next() {
    model(|| {
        let locked = Locked::new();
        assert!(!locked.lock(1));
        let gives_up = {
            let locked = locked.clone();
            thread::spawn(move || {
                let mut slept = false;
                let sleep = |state| {
                    if slept {
                        return Err(());
                    }
                    slept = true;
                    futex::wait(&locked.word, state);
                    Ok(())
                };
                if mutex::wait(&locked.word, 2, sleep).is_ok() {
                    locked.release();
                }
            })
        };
        let other = visits(&locked, 3);
        locked.release();
        gives_up.join().unwrap();
        assert!(!other.join().unwrap());
    });
}

/// Things to be taken by those who wait at a door for them.
struct Store {
    door: AtomicU32,
    things: AtomicU32,
}

impl Store {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            door: AtomicU32::new(0),
            things: AtomicU32::new(0),
        })
    }

    fn put(&self) {
        self.things.fetch_add(1, Ordering::Relaxed);
        door::open(&self.door, 1);
    }

    fn take(&self) {
        let one_less = |things: u32| things.checked_sub(1);
        let attempt = || {
            self.things
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
        };
        loop {
            let seen = door::announce(&self.door);
            if let Ok(things) = attempt() {
                // Who leaves something opens for the next one, as whoever put it may have seen nobody.
                if things > 1 {
                    door::open(&self.door, 1);
                }
                return;
            }
            futex::wait(&self.door, seen);
        }
    }
}

#[test]
fn what_is_put_is_taken_by_those_who_sleep_for_it() {
    model(|| {
        let store = Store::new();
        let takers = [store.clone(), store.clone()];
        let takers = takers.map(|store| thread::spawn(move || store.take()));
        store.put();
        store.put();
        for taker in takers {
            taker.join().unwrap();
        }
        assert_eq!(store.things.load(Ordering::Relaxed), 0);
    });
}
