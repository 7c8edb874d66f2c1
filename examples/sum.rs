//! 1 + 2 + … + 100,000,000, cut into chunks that are summed side by side.
//!
//! ```text
//! cargo run --release --example sum -- --on threads
//! ```
//!
//! Split, work, reduce: the shape of most parallel programs. In Python only `multiprocessing` makes
//! this faster; here the word after `--on` decides, and the function stays as it is.

use celeriac_examples::{Bars, Common, Result, Site};
use clap::Parser;

/// Adds up `first..=last`. A task of two parameters is mapped over pairs.
#[celeriac::task(name = "sum.sum_range")]
fn sum_range(first: u64, last: u64) -> u64 {
    // The black box keeps the compiler from replacing the loop by Gauss's formula.
    (first..=last).map(std::hint::black_box).sum()
}

/// Adds the whole numbers from 1
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
    /// The last number to add
    #[arg(long, default_value_t = 100_000_000, value_parser = clap::value_parser!(u64).range(1..=4_000_000_000))]
    to: u64,
    /// How many pieces to cut the numbers into
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    chunks: u64,
}

#[celeriac::main]
async fn main() -> Result {
    let Args { common, to, chunks } = Args::parse();
    let site = Site::open(&common, "threads").await?;

    let bar = Bars::new().count("chunks", chunks);
    // An iterator is lazy, like a Python generator: the map takes pieces from it as it goes.
    let pieces = (0..chunks).map(|n| (n * to / chunks + 1, (n + 1) * to / chunks));
    // Addition does not care about order, so sums are added as they come: `imap_unordered`.
    let mut sums = site.app.map_unordered::<sum_range>(pieces).chunk_size(1);
    let mut total = 0;
    while let Some(sum) = sums.next().await {
        total += sum?;
        bar.inc(1);
    }
    bar.finish_and_clear();

    println!("{total}");
    site.finish(format_args!("added {to} numbers in {chunks} chunks"))
        .await?;
    Ok(())
}
