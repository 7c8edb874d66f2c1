//! Drives a future on whichever thread wakes it.
//!
//! A canvas on a pool has nothing to do but start the next call when one has ended, which takes less
//! time than handing it to a thread would. On `inline` it also keeps everything in the caller.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Nobody polls it.
const IDLE: u8 = 0;
/// One thread polls it.
const POLLED: u8 = 1;
/// It was woken while one thread polls it, which will poll it again.
const WOKEN: u8 = 2;

struct Driven {
    state: AtomicU8,
    /// `None` once it has ended. Locked by the one thread that polls.
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
}

/// Polls `future` here and now, and later on each thread that wakes it, one at a time.
///
/// It must not block, and it must not panic.
pub(super) fn drive(future: impl Future<Output = ()> + Send + 'static) {
    // Tokio's budget would be that of whoever wakes us, and is not given back before we return.
    let future = tokio::task::unconstrained(future);
    let driven = Driven {
        state: AtomicU8::new(IDLE),
        future: Mutex::new(Some(Box::pin(future))),
    };
    Arc::new(driven).wake();
}

impl Wake for Driven {
    fn wake(self: Arc<Self>) {
        // A wake is only noted while another thread, or a caller of this function, polls.
        let noted = self
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
                Some(if state == IDLE { POLLED } else { WOKEN })
            });
        if noted == Ok(IDLE) {
            self.poll();
        }
    }
}

impl Driven {
    fn poll(self: &Arc<Self>) {
        let waker = Waker::from(self.clone());
        let mut context = Context::from_waker(&waker);
        let mut future = self.future.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            self.state.store(POLLED, Ordering::Release);
            let Some(running) = future.as_mut() else {
                return;
            };
            if let Poll::Ready(()) = running.as_mut().poll(&mut context) {
                *future = None;
                return;
            }
            let rests =
                self.state
                    .compare_exchange(POLLED, IDLE, Ordering::AcqRel, Ordering::Acquire);
            if rests.is_ok() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    /// Is ready once it was polled `left` times, and wakes itself each time: here or on a thread.
    struct Countdown {
        left: usize,
        elsewhere: bool,
        polls: Arc<AtomicUsize>,
        done: std::sync::mpsc::Sender<()>,
    }

    impl Future for Countdown {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            self.polls.fetch_add(1, Ordering::Relaxed);
            if self.left == 0 {
                self.done.send(()).unwrap();
                return Poll::Ready(());
            }
            self.left -= 1;
            let waker = context.waker().clone();
            if self.elsewhere {
                thread::spawn(move || waker.wake());
            } else {
                waker.wake();
            }
            Poll::Pending
        }
    }

    fn count(left: usize, elsewhere: bool) -> usize {
        let (done, ended) = std::sync::mpsc::channel();
        let polls = Arc::new(AtomicUsize::new(0));
        drive(Countdown {
            left,
            elsewhere,
            polls: polls.clone(),
            done,
        });
        ended
            .recv_timeout(std::time::Duration::from_secs(30))
            .unwrap();
        polls.load(Ordering::Relaxed)
    }

    #[test]
    fn a_future_that_wakes_itself_needs_no_stack() {
        assert_eq!(count(1_000_000, false), 1_000_001);
    }

    #[test]
    fn no_wake_from_another_thread_is_lost() {
        assert_eq!(count(1_000, true), 1_001);
    }
}
