//! Three named tasks of 2, 1 and 3 seconds, started together: their results in order, and then as
//! they come.
//!
//! ```text
//! cargo run --release --example tasks
//! ```
//!
//! Coming from Python: `send` is `asyncio.create_task` (it starts the call and gives a handle),
//! `gather` is `asyncio.gather`, and `as_completed` is `asyncio.as_completed`. The calls run
//! whether or not somebody waits for them, so waiting for all three takes as long as the longest.

use std::time::Duration;

use celeriac::prelude::*;
use celeriac_examples::{Common, Result, Site};
use clap::Parser;

const WORK: [(&str, f64); 3] = [("first", 2.0), ("second", 1.0), ("third", 3.0)];

#[celeriac::task(name = "tasks.work")]
async fn work(name: String, duration: Duration) -> String {
    tokio::time::sleep(duration).await;
    format!("{name} took {:.2} s", duration.as_secs_f64())
}

/// Starts three tasks together, and waits for them in two ways
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
    /// What to multiply all times with
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
}

/// Starts all three.
async fn start(app: &App, scale: f64) -> Result<Vec<Handle<String>>> {
    let mut handles = Vec::new();
    for (name, seconds) in WORK {
        let duration = Duration::try_from_secs_f64(seconds * scale)?;
        handles.push(app.send(work::call(name.to_owned(), duration)).await?);
    }
    Ok(handles)
}

#[celeriac::main]
async fn main() -> Result {
    let args = Args::parse();
    let site = Site::open(&args.common, "coroutines").await?;

    for line in gather(start(&site.app, args.scale).await?).await? {
        println!("gathered: {line}");
    }

    // A stream is an iterator that can be waited for: `async for` is `while let` in Rust.
    let mut completed = as_completed(start(&site.app, args.scale).await?);
    while let Some((_position, outcome)) = completed.next().await {
        println!("completed: {}", outcome?);
    }

    site.finish("ran 2 × 3 tasks").await?;
    Ok(())
}
