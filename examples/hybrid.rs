//! 10,000 naps of one second in little more than one second: processes of coroutines.
//!
//! ```text
//! cargo run --release --example hybrid
//! ```
//!
//! Python has `asyncio` for many waits on one core and `multiprocessing` for many cores; having both
//! means a loop in every process and a queue between them. Here it is a place like any other:
//! `processes=4*coroutines=2500`.

use std::time::Duration;

use celeriac_examples::{Bars, Common, Result, Site};
use clap::Parser;

/// An `async fn` gives its place up while it waits, as `async def` does.
#[celeriac::task(name = "hybrid.nap")]
async fn nap(number: u32, length: Duration) -> u32 {
    tokio::time::sleep(length).await;
    number
}

/// Takes many naps at once
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
    /// How many naps
    #[arg(long, default_value_t = 10_000)]
    naps: u32,
    /// How long each is, in seconds
    #[arg(long, default_value = "1", value_parser = seconds)]
    length: Duration,
}

fn seconds(text: &str) -> Result<Duration> {
    Ok(Duration::try_from_secs_f64(text.parse()?)?)
}

#[celeriac::main]
async fn main() -> Result {
    let Args {
        common,
        naps,
        length,
    } = Args::parse();
    let site = Site::open(&common, "processes=4*coroutines=2500").await?;

    let bar = Bars::new().count("naps", naps.into());
    let mut outcomes = site
        .app
        .map_unordered::<nap>((0..naps).map(|number| (number, length)));
    let mut taken = vec![false; naps as usize];
    while let Some(number) = outcomes.next().await {
        taken[number? as usize] = true;
        bar.inc(1);
    }
    bar.finish_and_clear();

    let taken = taken.iter().filter(|taken| **taken).count();
    site.finish(format_args!("took {taken} naps of {length:?}"))
        .await?;
    Ok(())
}
