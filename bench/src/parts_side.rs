//! The peers of what threads share: the parts that ours is built of, put together for one use.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use event_listener::{Event, IntoNotification as _, Listener as _, listener};

use crate::repetitions::Report;
use crate::sharing::{LOCKS, ROOM, THREAD_ITEMS};

/// Runs what `measure` names, if it is built of parts.
pub(crate) fn run(measure: &str) -> Option<Report> {
    let report = match measure {
        "thread-lock" => locks(),
        "thread-queue" => items(),
        _ => return None,
    };
    match report {
        Ok(report) => Some(report),
    }
}

/// Waits until `attempt` gives something, with which `event` is told of each time that may be.
fn wait<T>(event: &Event, mut attempt: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        listener!(event => listener);
        if let Some(done) = attempt() {
            return done;
        }
        listener.wait();
    }
}

#[derive(Default)]
struct Lock {
    taken: AtomicBool,
    given: Event,
}

impl Lock {
    fn take(&self) {
        wait(&self.given, || {
            (!self.taken.swap(true, Ordering::Acquire)).then_some(())
        });
    }

    fn give_back(&self) {
        self.taken.store(false, Ordering::Release);
        self.given.notify(1.additional());
    }
}

fn locks() -> Result<Report, Infallible> {
    let lock = Lock::default();
    Report::of(LOCKS, || {
        for _ in 0..LOCKS {
            let lock = black_box(&lock);
            lock.take();
            lock.give_back();
        }
        Ok(())
    })
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    filled: Event,
    emptied: Event,
}

#[derive(Default)]
struct State {
    items: VecDeque<u32>,
    closed: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, item: u32) {
        wait(&self.emptied, || {
            let items = &mut self.state().items;
            (items.len() < ROOM).then(|| items.push_back(item))
        });
        self.filled.notify(1.additional());
    }

    fn get(&self) -> Option<u32> {
        let got = wait(&self.filled, || {
            let mut state = self.state();
            let closed = state.closed;
            state.items.pop_front().map(Some).or(closed.then_some(None))
        });
        self.emptied.notify(1.additional());
        got
    }

    fn close(&self) {
        self.state().closed = true;
        self.filled.notify(usize::MAX);
    }
}

fn items() -> Result<Report, Infallible> {
    Report::of(THREAD_ITEMS, || {
        let queue = Queue::default();
        thread::scope(|scope| {
            scope.spawn(|| {
                for item in 0..THREAD_ITEMS {
                    queue.put(item);
                }
                queue.close();
            });
            let got = std::iter::from_fn(|| queue.get());
            assert_eq!(got.count(), THREAD_ITEMS as usize);
        });
        Ok(())
    })
}
