//! The tasks of the fleet: those in Rust, and those in Python as Rust sees them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use celeriac::canvas::{Remote, remote};
use celeriac::{Context, TaskError};
use serde_json::Value;

#[celeriac::task(name = "rust.add")]
pub(super) fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[celeriac::task(name = "rust.sum")]
pub(super) fn sum(numbers: &[i64]) -> i64 {
    numbers.iter().sum()
}

#[celeriac::task(name = "rust.echo")]
pub(super) fn echo(value: Value) -> Value {
    value
}

/// More than fits a double or 64 bits, which Python's integers may be.
#[celeriac::task(name = "rust.wide")]
pub(super) fn wide(n: i128) -> i128 {
    n + 1
}

#[derive(Debug, thiserror::Error)]
#[error("card refused for order {0}")]
pub(super) struct CardRefused(u64);

#[celeriac::task(name = "rust.fail")]
pub(super) fn fail(order: u64) -> Result<(), CardRefused> {
    Err(CardRefused(order))
}

#[celeriac::task(name = "rust.panic")]
pub(super) fn panic() {
    panic!("out of cheese");
}

#[celeriac::task(name = "rust.flaky", retries = 5, backoff = "fixed(50ms)")]
pub(super) fn flaky(context: &Context, good: u32) -> Result<u32, String> {
    flaky_in_rust(context, good)
}

fn flaky_in_rust(context: &Context, good: u32) -> Result<u32, String> {
    if context.attempt() < good {
        return Err(format!("attempt {} is too early", context.attempt()));
    }
    Ok(context.attempt())
}

/// When it ran, in seconds of Unix time.
#[celeriac::task(name = "rust.now")]
pub(super) fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs_f64()
}

/// How often it was run: shows the order of those who ask.
#[celeriac::task(name = "rust.next")]
pub(super) fn next_number() -> u64 {
    static COUNTED: AtomicU64 = AtomicU64::new(0);
    COUNTED.fetch_add(1, Ordering::Relaxed)
}

/// Tasks that run in either language, whichever takes them first.
pub(super) mod shared {
    use super::{CardRefused, Context, Duration, Value, thread};

    /// Says in which.
    #[celeriac::task(name = "shared.where")]
    pub(in crate::celery) fn whereabouts(number: u64) -> (String, u64) {
        thread::sleep(Duration::from_millis(10));
        ("rust".to_owned(), number)
    }

    #[celeriac::task(name = "shared.add")]
    pub(in crate::celery) fn add(a: i64, b: i64) -> i64 {
        a + b
    }

    #[celeriac::task(name = "shared.sum")]
    pub(in crate::celery) fn sum(numbers: &[i64]) -> i64 {
        numbers.iter().sum()
    }

    #[celeriac::task(name = "shared.echo")]
    pub(in crate::celery) fn echo(value: Value) -> Value {
        value
    }

    #[celeriac::task(name = "shared.fail")]
    pub(in crate::celery) fn fail(order: u64) -> Result<(), CardRefused> {
        Err(CardRefused(order))
    }

    #[celeriac::task(name = "shared.flaky", retries = 5, backoff = "fixed(50ms)")]
    pub(in crate::celery) fn flaky(context: &Context, good: u32) -> Result<u32, String> {
        super::flaky_in_rust(context, good)
    }
}

/// Puts a step of each language in its place.
#[celeriac::task(name = "rust.detour")]
pub(super) fn detour(context: &Context, n: i64) -> Result<i64, TaskError> {
    let first = py::add::call(n, 1).queue("steps_in_python");
    context.replace(first.then(add::partial(1).queue("steps_in_rust")))
}

/// Puts a step in its place that this program knows by its name alone.
#[celeriac::task(name = "rust.by_name")]
pub(super) fn by_name(context: &Context, n: i64) -> Result<i64, TaskError> {
    let add_there: Remote<(i64, i64), i64> = remote("py.add");
    let first = add_there.call((n, 1)).queue("steps_in_python");
    context.replace(first.then(add::partial(1).queue("steps_in_rust")))
}

/// Tasks of Python's: their names and types are all that a caller needs.
pub(super) mod py {
    use serde_json::Value;

    #[celeriac::task(name = "py.add")]
    pub(in crate::celery) fn add(a: i64, b: i64) -> i64;

    #[celeriac::task(name = "py.detour")]
    pub(in crate::celery) fn detour(n: i64) -> i64;

    #[celeriac::task(name = "py.echo")]
    pub(in crate::celery) fn echo(value: Value) -> Value;

    #[celeriac::task(name = "py.fail")]
    pub(in crate::celery) fn fail(order: u64);

    #[celeriac::task(name = "py.flaky")]
    pub(in crate::celery) fn flaky(good: u32) -> u32;

    #[celeriac::task(name = "py.now")]
    pub(in crate::celery) fn now() -> f64;

    #[celeriac::task(name = "py.next")]
    pub(in crate::celery) fn next_number() -> u64;

    #[celeriac::task(name = "py.missing")]
    pub(in crate::celery) fn missing();
}
