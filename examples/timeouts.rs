//! Waits 3 seconds for a task of 5, then cancels it; and makes sure that nothing still runs.
//!
//! ```text
//! cargo run --release --example timeouts
//! ```
//!
//! Coming from Python: `tokio::time::timeout` is `asyncio.wait_for`, except that it gives up the
//! wait only, not the call; the handle still holds the call, and `cancel` ends it. A coroutine is
//! dropped at its next `await`. A plain function cannot be ended from outside on a thread, in Rust
//! no more than in Python; in a child process it can, because the child is killed.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use celeriac::prelude::*;
use celeriac_examples::{Common, Result, Site};
use clap::Parser;
use tokio::time::timeout;

/// How many calls of `slow` run in this process.
static RUNNING: AtomicU32 = AtomicU32::new(0);

/// Is one call running, until it is dropped: `finally` in Python.
struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::SeqCst);
    }
}

#[celeriac::task(name = "timeouts.slow")]
async fn slow(duration: Duration) {
    RUNNING.fetch_add(1, Ordering::SeqCst);
    // Dropping a coroutine drops what it holds.
    let _running = Running;
    tokio::time::sleep(duration).await;
}

/// Says which process it runs in, and never looks at whether it should stop.
#[celeriac::task(name = "timeouts.stubborn")]
fn stubborn(context: &Context, duration: Duration) {
    context.progress(std::process::id().into(), 0);
    std::thread::sleep(duration);
}

/// Waits for a call no longer than `limit`, then cancels it.
async fn wait_at_most(limit: Duration, name: &str, call: &mut Handle<()>) -> Result {
    // An error is a value: a time-out is a case to match, and no exception to catch.
    if let Err(elapsed) = timeout(limit, call.get()).await {
        println!("{name}: {elapsed} after {} s", limit.as_secs_f64());
        call.cancel().await?;
        match call.get().await {
            Ok(()) => println!("{name}: it was faster than the cancellation"),
            Err(error) => println!("{name}: {error}"),
        }
    }
    Ok(())
}

/// Waits 3 seconds for tasks that take 5
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
    /// What to multiply all times with
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
}

#[celeriac::main]
async fn main() -> Result {
    let args = Args::parse();
    let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds * args.scale);
    let (limit, duration) = (seconds(3.0)?, seconds(5.0)?);

    let site = Site::open(&args.common, "coroutines").await?;
    let mut call = site.app.send(slow::call(duration)).await?;
    wait_at_most(limit, "timeouts.slow", &mut call).await?;
    site.finish("waited").await?;
    println!("calls still running: {}", RUNNING.load(Ordering::SeqCst));

    let children = App::on("processes=1").await?;
    let mut call = children.send(stubborn::call(1000 * duration)).await?;
    let child = call.next_progress().await.ok_or("it said nothing")?.done;
    wait_at_most(limit, "timeouts.stubborn", &mut call).await?;
    children.shutdown(ShutdownMode::Wait).await;
    let alive = Path::new("/proc").join(child.to_string()).exists();
    println!("process {child} still running: {alive}");
    Ok(())
}
