//! No interleaving of threads leaves work undone beside a sleeping thread.
//!
//! The source of the bell is compiled here once more, on the primitives of a model checker, which
//! tries every order in which memory may show the threads each other's steps.

use loom::sync::Arc;
use loom::thread;

#[allow(unreachable_pub, reason = "it is checked where it belongs")]
#[path = "../../src/threads/bell.rs"]
mod source;

/// What the source takes its primitives from.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicUsize, Ordering, fence};
    pub(super) use loom::sync::{Condvar, Mutex, MutexGuard};
}

use source::Bell;
use sync::{AtomicUsize, Ordering};

/// A queue that promises no order to those who look at it.
struct Queue(AtomicUsize);

impl Queue {
    fn push(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn take(&self) -> Option<()> {
        let decrement = |count: usize| count.checked_sub(1);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, decrement)
            .map(drop)
            .ok()
    }
}

#[test]
fn work_is_found_by_a_thread_that_is_about_to_sleep() {
    loom::model(|| {
        let shared = Arc::new((Bell::new(), Queue(AtomicUsize::new(0))));
        let sleeper = {
            let shared = shared.clone();
            thread::spawn(move || shared.0.wait_for(|| shared.1.take()))
        };
        shared.1.push();
        shared.0.ring();
        // A lost wake-up is a deadlock, which the model checker reports.
        assert_eq!(sleeper.join().unwrap(), Some(()));
    });
}

#[test]
fn two_sleepers_share_two_pieces_of_work() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let shared = Arc::new((Bell::new(), Queue(AtomicUsize::new(0))));
        let sleep = |shared: Arc<(Bell, Queue)>| {
            thread::spawn(move || shared.0.wait_for(|| shared.1.take()))
        };
        let sleepers = [sleep(shared.clone()), sleep(shared.clone())];
        for _ in 0..2 {
            shared.1.push();
            shared.0.ring();
        }
        for sleeper in sleepers {
            assert_eq!(sleeper.join().unwrap(), Some(()));
        }
    });
}

#[test]
fn work_left_when_the_bell_is_closed_is_still_done() {
    loom::model(|| {
        let shared = Arc::new((Bell::new(), Queue(AtomicUsize::new(0))));
        let sleeper = {
            let shared = shared.clone();
            thread::spawn(move || {
                let mut done = 0;
                while shared.0.wait_for(|| shared.1.take()).is_some() {
                    done += 1;
                }
                done
            })
        };
        shared.1.push();
        shared.0.ring();
        shared.0.close();
        assert_eq!(sleeper.join().unwrap(), 1);
    });
}
