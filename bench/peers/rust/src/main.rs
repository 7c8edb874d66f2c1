//! Other task queues in Rust, in the measures of `cargo xtask bench`.
//!
//! `celeriac-bench-peers MEASURE SIDE` fills a queue and then starts the side's worker in this process.
//! It prints one line of JSON, as our own bench program does: the work of one repetition, and the
//! seconds of each.

#![forbid(unsafe_code)]

mod apalis_side;
mod rusty_celery_side;
mod span;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

/// What may go wrong is for a person to read.
type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// A backlog of `tasks`, and how long each draining of it took from the first task to the last.
struct Drained {
    tasks: u32,
    took: Vec<Duration>,
}

/// As many threads as our worker has slots, and Celery's has processes.
#[tokio::main(worker_threads = 2)]
async fn main() -> Result<ExitCode> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let drained = match args[..] {
        ["redis-drain", "apalis"] => apalis_side::drain(true).await?,
        ["redis-drain", "apalis-unlocked"] => apalis_side::drain(false).await?,
        ["amqp-drain", "rusty-celery"] => rusty_celery_side::drain().await?,
        _ => {
            eprintln!("error: no such measure or side: {args:?}");
            return Ok(ExitCode::from(2));
        }
    };
    let seconds: Vec<_> = drained.took.iter().map(Duration::as_secs_f64).collect();
    // The first task starts the clock.
    let amount = drained.tasks - 1;
    println!(
        "{}",
        serde_json::json!({ "amount": amount, "seconds": seconds })
    );
    Ok(ExitCode::SUCCESS)
}
