//! Keeps calls apart.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use celeriac_core::RateLimit;
use celeriac_core::policy::Pacer;

use super::Callable;

/// A function that starts no more often than its limit says, all threads together.
///
/// Starts are spaced evenly: `10/s` lets one through every 100 ms, and no burst after a pause. Who
/// comes too early sleeps until its turn, in the order of coming.
#[derive(Debug)]
pub struct Limited<C> {
    inner: C,
    pacer: Mutex<Pacer>,
}

impl<C> Limited<C> {
    /// Wraps `inner`.
    pub fn new(inner: C, limit: RateLimit) -> Self {
        let pacer = Mutex::new(Pacer::new(limit));
        Self { inner, pacer }
    }

    /// What is wrapped.
    pub const fn inner(&self) -> &C {
        &self.inner
    }

    /// Takes the layer off.
    pub fn into_inner(self) -> C {
        self.inner
    }
}

impl<C: Callable<A>, A> Callable<A> for Limited<C> {
    type Output = C::Output;

    fn call(&self, argument: A) -> C::Output {
        let mut pacer = self.pacer.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = pacer.reserve(Instant::now());
        drop(pacer);
        thread::sleep(wait);
        self.inner.call(argument)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn calls_of_all_threads_together_keep_to_the_limit() {
        let limit = "50/s".parse().unwrap();
        let now = (|()| Instant::now()).limited(limit);
        let mut starts: Vec<_> = thread::scope(|scope| {
            let callers: Vec<_> = (0..5).map(|_| scope.spawn(|| now.call(()))).collect();
            callers.into_iter().map(|c| c.join().unwrap()).collect()
        });
        starts.sort();
        assert!(starts[4] - starts[0] >= Duration::from_millis(4 * 20 - 1));

        let bare = now.into_inner();
        assert!(bare(()).elapsed() < Duration::from_millis(20));
    }
}
