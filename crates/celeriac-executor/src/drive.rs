//! Drives futures from plain threads, on one small runtime that all pools share.
//!
//! `async` tasks expect tokio's timer and sockets around them wherever they run, so a thread that
//! polls one enters this runtime unless it already is in one.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use tokio::runtime::{Builder, Handle, Runtime};

/// The runtime behind timers and behind `async` tasks on plain threads: one thread, made on first
/// use, never shut down.
///
/// # Panics
///
/// If the system gives no thread for it.
pub fn reactor() -> &'static Handle {
    static REACTOR: OnceLock<Runtime> = OnceLock::new();
    REACTOR
        .get_or_init(|| {
            Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("celeriac-reactor")
                .enable_all()
                .build()
                .expect("the system gives a thread and an epoll descriptor")
        })
        .handle()
}

/// How often a thread lets others run before it parks.
///
/// What it waits for is often about to happen, and being woken costs many times more. If nobody else
/// wants the core, this takes a few microseconds.
const YIELDS: u32 = 16;

/// Polls `future` on this thread until it is done, parking in between.
///
/// Works inside and outside of a runtime; inside one it blocks the worker thread it is called on,
/// as any blocking call does.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark {
        woken: AtomicBool,
        thread: Thread,
    }

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.woken.store(true, Ordering::Release);
            self.thread.unpark();
        }
    }

    let _entered = Handle::try_current().is_err().then(|| reactor().enter());
    let unpark = Arc::new(Unpark {
        woken: AtomicBool::new(false),
        thread: thread::current(),
    });
    let waker = Waker::from(unpark.clone());
    let mut context = Context::from_waker(&waker);
    // Inside a runtime, tokio's budget would be this thread's current task's; used up, it is only given
    // back after a return to the runtime, which does not come before the future is done.
    let mut future = pin!(tokio::task::unconstrained(future));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => {
                let mut yields = 0..YIELDS;
                while !unpark.woken.swap(false, Ordering::Acquire) {
                    match yields.next() {
                        Some(_) => thread::yield_now(),
                        None => thread::park(),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_timer_works_on_a_plain_thread() {
        block_on(async { tokio::time::sleep(Duration::from_millis(5)).await });
    }

    #[test]
    fn a_timer_works_inside_another_runtime() {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            tokio::spawn(async { block_on(tokio::time::sleep(Duration::from_millis(5))) })
                .await
                .unwrap();
        });
    }
}
