//! Calls again what failed.

use std::thread;

use celeriac_core::Backoff;

use super::Callable;

/// A function that is called again when it returns an error, after a growing pause.
#[derive(Debug, Clone, Copy)]
pub struct Retried<C> {
    inner: C,
    retries: u32,
    backoff: Backoff,
}

impl<C> Retried<C> {
    /// Wraps `inner`; `retries` does not count the first call.
    pub const fn new(inner: C, retries: u32, backoff: Backoff) -> Self {
        Self {
            inner,
            retries,
            backoff,
        }
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

impl<C, A: Clone, V, E> Callable<A> for Retried<C>
where
    C: Callable<A, Output = Result<V, E>>,
{
    type Output = Result<V, E>;

    /// The first value, or the last error.
    fn call(&self, argument: A) -> Result<V, E> {
        for retry in 1..=self.retries {
            if let Ok(value) = self.inner.call(argument.clone()) {
                return Ok(value);
            }
            thread::sleep(self.backoff.delay(retry));
        }
        self.inner.call(argument)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    const BACKOFF: Backoff =
        Backoff::Exponential(Duration::from_millis(5), Duration::from_millis(10));

    #[test]
    fn a_failure_is_retried_after_growing_pauses() {
        let calls = Cell::new(0);
        let flaky = |good| {
            calls.set(calls.get() + 1);
            if calls.get() < good {
                Err(calls.get())
            } else {
                Ok(calls.get())
            }
        };
        let retried = flaky.retried(3, BACKOFF);
        let start = Instant::now();
        assert_eq!(retried.call(4), Ok(4));
        assert!(start.elapsed() >= Duration::from_millis(5 + 10 + 10));

        calls.set(0);
        assert_eq!(
            retried.call(5),
            Err(4),
            "the last error, once retries are used up"
        );
        calls.set(0);
        assert_eq!(
            retried.into_inner()(2),
            Err(1),
            "the bare function fails at once"
        );
    }
}
