//! Fibonacci numbers twice: from a generator, and by a recursion that remembers.
//!
//! ```text
//! cargo run --release --example fibonacci -- --count 20 --nth 90
//! ```
//!
//! Coming from Python: an `async fn` with an `Outbox` is a generator function, and
//! `outbox.send(a).await` is `yield a`. It runs beside its taker instead of inside it, a few values
//! ahead and never more. `Cached` is `functools.lru_cache`, and `info()` is `cache_info()`.

use std::sync::atomic::{AtomicUsize, Ordering};

use celeriac::Outbox;
use celeriac::layer::{Cached, Callable as _};
use celeriac_examples::{Common, Result, Site};
use clap::Parser;

/// How many numbers the generator made.
static MADE: AtomicUsize = AtomicUsize::new(0);

/// All Fibonacci numbers for which the next but one fits 64 bits too.
async fn numbers(outbox: Outbox<u64>) {
    let (mut a, mut b) = (0_u64, 1_u64);
    while let Some(next) = a.checked_add(b) {
        MADE.fetch_add(1, Ordering::SeqCst);
        outbox.send(a).await;
        (a, b) = (b, next);
    }
}

/// The cache that the recursion goes through. It is made before the program runs, without a lock
/// held during a call, so a call may lead to another.
static NTH: Cached<fn(u32) -> u64, u32, u64> = Cached::new(nth, 16);

/// Without a cache it would call itself as often as its own value, give or take.
fn nth(n: u32) -> u64 {
    if n < 2 {
        n.into()
    } else {
        NTH.call(n - 1) + NTH.call(n - 2)
    }
}

/// The nth number.
#[celeriac::task(name = "fibonacci.remembered")]
fn remembered(n: u32) -> u64 {
    NTH.call(n)
}

/// Prints Fibonacci numbers
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
    /// How many to take from the generator
    #[arg(long, default_value_t = 10)]
    count: usize,
    /// Which one to find by recursion
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(0..=93))]
    nth: u32,
}

#[celeriac::main]
async fn main() -> Result {
    let args = Args::parse();
    let site = Site::open(&args.common, "coroutines").await?;

    let mut generator = site.app.stream(numbers)?;
    let mut taken = 0;
    while taken < args.count
        && let Some(number) = generator.next().await
    {
        println!("{}", number?);
        taken += 1;
    }
    drop(generator);
    println!("took {taken} of {} made", MADE.load(Ordering::SeqCst));

    for _ in 0..2 {
        let mut call = site.app.send(remembered::call(args.nth)).await?;
        println!("number {}: {}", args.nth, call.get().await?);
        println!("cache: {:?}", NTH.info());
    }
    site.finish("found them").await?;
    Ok(())
}
