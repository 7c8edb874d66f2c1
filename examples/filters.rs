//! Coroutines side by side: the primes of 2..100 and the squares of 1..100.
//!
//! ```text
//! cargo run --release --example filters
//! ```
//!
//! First as two long coroutines whose results are gathered in order, then as two streams whose
//! values are used as they come. Both sides make progress together on one thread, because each gives
//! way at every `await`.

use std::time::Duration;

use celeriac_examples::{Common, Result, Site};
use clap::Parser;
use tokio::time::sleep;

/// Stands for waiting on something slow.
const PAUSE: Duration = Duration::from_millis(1);

fn is_prime(n: u64) -> bool {
    n > 1 && (2..=n.isqrt()).all(|divisor| !n.is_multiple_of(divisor))
}

/// The primes from `first` up to and without `end`.
#[celeriac::task(name = "filters.primes")]
async fn primes(first: u64, end: u64) -> Vec<u64> {
    let mut found = Vec::new();
    for n in first..end {
        if is_prime(n) {
            found.push(n);
        }
        sleep(PAUSE).await;
    }
    found
}

/// The squares of the numbers from `first` up to and without `end`.
#[celeriac::task(name = "filters.squares")]
async fn squares(first: u64, end: u64) -> Vec<u64> {
    let mut found = Vec::new();
    for n in first..end {
        found.push(n * n);
        sleep(PAUSE).await;
    }
    found
}

/// A filter as a stream's step: the number, if it passes.
#[celeriac::task(name = "filters.if_prime")]
async fn if_prime(n: u64) -> Option<u64> {
    sleep(PAUSE).await;
    is_prime(n).then_some(n)
}

#[celeriac::task(name = "filters.square")]
async fn square(n: u64) -> u64 {
    sleep(PAUSE).await;
    n * n
}

/// Filters and maps numbers, side by side
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
}

#[celeriac::main]
async fn main() -> Result {
    let site = Site::open(&Args::parse().common, "coroutines").await?;
    let app = &site.app;

    // Sent first, both are under way; `asyncio.gather` of unlike coroutines is `try_join!`.
    let mut primes = app.send(primes::call(2, 100)).await?;
    let mut squares = app.send(squares::call(1, 100)).await?;
    let (found, made) = tokio::try_join!(primes.get(), squares.get())?;
    println!("primes {found:?}");
    println!("squares {made:?}");

    // As streams: whichever has a value next is served next (`async for` over both).
    let mut primes = app.map::<if_prime>(2..100);
    let mut squares = app.map::<square>(1..100);
    let (mut streamed, mut mapped) = (Vec::new(), Vec::new());
    loop {
        tokio::select! {
            Some(prime) = primes.next() => streamed.extend(prime?),
            Some(square) = squares.next() => mapped.push(square?),
            else => break,
        }
    }
    println!("primes streamed {streamed:?}");
    println!("squares streamed {mapped:?}");
    site.finish(format_args!(
        "found {} primes and {} squares, twice,",
        streamed.len(),
        mapped.len()
    ))
    .await?;
    Ok(())
}
