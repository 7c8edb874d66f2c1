//! What happens to calls, told to monitors.
//!
//! The dispatcher puts each event into a bounded list and goes on. A coroutine of its own sends what
//! has gathered, several in one message. If monitors are told less quickly than tasks run, the oldest
//! events are dropped and counted.

mod happened;
mod teller;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use celeriac_wire::Clock;
use celeriac_wire::event::{Event, now_s};
use tokio::sync::Notify;

pub(crate) use teller::{Teller, Vitals};

/// The most events that wait.
const MOST: usize = 10_000;

/// Nobody is told of tasks.
const OFF: u8 = 0;
/// Somebody asked to be told.
const ON: u8 = 1;
/// It was started so, and stays so.
const ALWAYS: u8 = 2;

/// Where events are put. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct News(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    mode: AtomicU8,
    clock: Arc<Clock>,
    waiting: Mutex<Waiting>,
    ring: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Told>,
    dropped: u64,
    /// Somebody wants to hear now that this worker is alive.
    beat: bool,
}

/// An event, and when it happened.
#[derive(Debug)]
struct Told {
    event: Event,
    clock: u64,
    timestamp: f64,
}

impl News {
    pub(crate) fn new(clock: Arc<Clock>, always: bool) -> Self {
        Self(Arc::new(Shared {
            mode: AtomicU8::new(if always { ALWAYS } else { OFF }),
            clock,
            waiting: Mutex::default(),
            ring: Notify::new(),
        }))
    }

    /// Whether anybody is told of tasks.
    pub(crate) fn is_on(&self) -> bool {
        self.0.mode.load(Ordering::Relaxed) != OFF
    }

    /// From now on they are, and what is said of that.
    pub(crate) fn enable(&self) -> &'static str {
        if self.switch(OFF, ON) {
            "task events enabled"
        } else {
            "task events already enabled"
        }
    }

    /// From now on they are not, and what is said of that. A worker that was started to tell of tasks
    /// goes on, as Celery's does.
    pub(crate) fn disable(&self) -> &'static str {
        if self.switch(ON, OFF) {
            "task events disabled"
        } else {
            "task events already disabled"
        }
    }

    fn switch(&self, from: u8, to: u8) -> bool {
        let (order, mode) = (Ordering::Relaxed, &self.0.mode);
        mode.compare_exchange(from, to, order, order).is_ok()
    }

    /// Tells that this worker is alive, now.
    pub(crate) fn beat(&self) {
        self.waiting().beat = true;
        self.0.ring.notify_one();
    }

    /// Tells of a task, if anybody is told.
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if !self.is_on() {
            return;
        }
        let told = Told {
            event: event(),
            clock: self.0.clock.forward(),
            timestamp: now_s(),
        };
        let mut waiting = self.waiting();
        if waiting.events.len() >= MOST {
            waiting.events.pop_front();
            waiting.dropped += 1;
        }
        waiting.events.push_back(told);
        drop(waiting);
        self.0.ring.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        let waiting = self.0.waiting.lock();
        waiting.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(number: usize) -> Event {
        Event::TaskStarted {
            uuid: number.to_string().as_str().into(),
        }
    }

    #[test]
    fn events_that_are_too_many_are_dropped_and_counted() {
        let news = News::new(Arc::default(), true);
        for number in 0..MOST + 3 {
            news.tell(|| started(number));
        }
        let waiting = news.waiting();
        assert_eq!((waiting.events.len(), waiting.dropped), (MOST, 3));
        assert_eq!(waiting.events[0].event, started(3));
    }

    #[test]
    fn what_is_said_of_switching_is_what_celery_says() {
        let news = News::new(Arc::default(), false);
        news.tell(|| panic!("nobody is told"));
        assert_eq!(news.disable(), "task events already disabled");
        assert_eq!(news.enable(), "task events enabled");
        assert_eq!(news.enable(), "task events already enabled");
        assert_eq!(news.disable(), "task events disabled");
        let always = News::new(Arc::default(), true);
        assert_eq!(always.enable(), "task events already enabled");
        assert_eq!(always.disable(), "task events already disabled");
        assert!(always.is_on());
    }
}
