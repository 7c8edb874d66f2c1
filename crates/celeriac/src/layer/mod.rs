//! Wrappers around a function: Python's decorators, as values.
//!
//! Any function of one argument can be wrapped, and what comes out can be wrapped again; its type
//! then spells the layers, the outermost first. `into_inner` takes the outermost off.
//!
//! ```
//! use std::sync::LazyLock;
//! use celeriac::Backoff;
//! use celeriac::layer::{Cached, Callable as _, Retried};
//!
//! fn price(item: u32) -> Result<u32, String> {
//!     Ok(10 * item)
//! }
//!
//! type Price = fn(u32) -> Result<u32, String>;
//!
//! /// One instance per process, made by whoever comes first.
//! static PRICE: LazyLock<Cached<Retried<Price>, u32, Result<u32, String>>> =
//!     LazyLock::new(|| (price as Price).retried(3, Backoff::EXPONENTIAL).cached(100));
//!
//! #[celeriac::task]
//! fn quote(item: u32) -> Result<u32, String> {
//!     PRICE.call(item)
//! }
//!
//! assert_eq!(quote(7), Ok(70));
//! assert_eq!(quote(7), Ok(70));
//! assert_eq!(PRICE.info().hits, 1);
//! ```
//!
//! Layers act inside one call, in the process that runs it, and hold its thread while they wait. A
//! task's own options `retries` and `rate_limit` act around the call, and leave its slot to others
//! meanwhile.

mod cached;
mod limited;
mod retried;
mod timed;

use std::time::Duration;

use celeriac_core::{Backoff, RateLimit};

pub use cached::{CacheInfo, Cached};
pub use limited::Limited;
pub use retried::Retried;
pub use timed::Timed;

/// Something to call with one argument: a function, or one with layers around it.
pub trait Callable<A> {
    /// What it returns.
    type Output;

    /// Calls it.
    fn call(&self, argument: A) -> Self::Output;

    /// Remembers what the last `capacity` distinct arguments gave.
    fn cached(self, capacity: usize) -> Cached<Self, A, Self::Output>
    where
        Self: Sized,
    {
        Cached::new(self, capacity)
    }

    /// Lets it start no more often than `limit` says, all threads together.
    fn limited(self, limit: RateLimit) -> Limited<Self>
    where
        Self: Sized,
    {
        Limited::new(self, limit)
    }

    /// Calls it again when it fails, at most `retries` times.
    fn retried(self, retries: u32, backoff: Backoff) -> Retried<Self>
    where
        Self: Sized,
    {
        Retried::new(self, retries, backoff)
    }

    /// Tells `sink` how long each call took.
    fn timed<S: Fn(Duration)>(self, sink: S) -> Timed<Self, S>
    where
        Self: Sized,
    {
        Timed::new(self, sink)
    }
}

impl<F: Fn(A) -> R, A, R> Callable<A> for F {
    type Output = R;

    fn call(&self, argument: A) -> R {
        self(argument)
    }
}
