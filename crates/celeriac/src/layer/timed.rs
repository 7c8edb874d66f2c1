//! Tells how long calls take.

use std::time::{Duration, Instant};

use super::Callable;

/// A function whose every call's duration goes to a sink.
///
/// The sink may be any function: one that prints, fills a histogram, or sends to a channel. It runs
/// on the caller's thread after each call that did not panic.
#[derive(Debug, Clone, Copy)]
pub struct Timed<C, S> {
    inner: C,
    sink: S,
}

impl<C, S> Timed<C, S> {
    /// Wraps `inner`.
    pub const fn new(inner: C, sink: S) -> Self {
        Self { inner, sink }
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

impl<C: Callable<A>, A, S: Fn(Duration)> Callable<A> for Timed<C, S> {
    type Output = C::Output;

    fn call(&self, argument: A) -> C::Output {
        let start = Instant::now();
        let output = self.inner.call(argument);
        (self.sink)(start.elapsed());
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn every_call_is_told_of() {
        let (sender, times) = mpsc::channel();
        let nap = |ms| std::thread::sleep(Duration::from_millis(ms));
        let timed = nap.timed(move |took| sender.send(took).unwrap());
        timed.call(20);
        timed.call(0);
        timed.into_inner()(0);
        let times: Vec<_> = times.iter().collect();
        assert_eq!(times.len(), 2, "the bare function tells nothing");
        assert!(times[0] >= Duration::from_millis(20));
    }
}
