//! A program with a few tasks that carries celeriac's command line.
//!
//! ```sh
//! export CELERIAC_ON=sqlite:jobs.db
//! cargo run --example app -- worker &
//! cargo run --example app -- send add 1 2 --wait
//! ```
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use celeriac::{BoxError, Context};

/// Adds.
#[celeriac::task(name = "add")]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

/// Always fails.
#[celeriac::task(name = "fail", retries = 1, backoff = "fixed(10ms)")]
fn fail(reason: String) -> Result<(), std::io::Error> {
    Err(std::io::Error::other(reason))
}

/// Says that it has begun by making the file `started`, then takes its time; it stops early only
/// if it is told to.
#[celeriac::task(name = "shop.nap", queue = "slow")]
fn nap(context: &Context, ms: u64, started: String) -> Result<u64, BoxError> {
    std::fs::write(started, "")?;
    let end = Instant::now() + Duration::from_millis(ms);
    while Instant::now() < end {
        context.check()?;
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(ms)
}

/// The same, but deaf.
#[celeriac::task(name = "shop.sleep", queue = "slow")]
fn sleep(ms: u64, started: String) -> Result<u64, BoxError> {
    std::fs::write(started, "")?;
    std::thread::sleep(Duration::from_millis(ms));
    Ok(ms)
}

/// Says which process runs it: in the file `started` as it begins, and as its result.
#[celeriac::task(name = "shop.sign", queue = "slow")]
fn sign(ms: u64, started: String) -> Result<u32, BoxError> {
    let pid = std::process::id();
    std::fs::write(started, pid.to_string())?;
    std::thread::sleep(Duration::from_millis(ms));
    Ok(pid)
}

/// Takes the process that runs it down with it.
#[celeriac::task(name = "shop.die")]
fn die() {
    std::process::abort();
}

/// Leaves no result.
#[celeriac::task(name = "forget", priority = 3, results = "ignore")]
fn forget(_what: String) {}

fn main() -> ExitCode {
    celeriac::cli::main()
}
