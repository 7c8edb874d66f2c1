//! Which of 65 numbers are prime? One task, run wherever `--on` says.
//!
//! ```text
//! cargo run --release --example primes -- --on processes
//! ```
//!
//! Coming from Python: `App::on("processes")` is `ProcessPoolExecutor()`, `App::on("threads")` is
//! `ThreadPoolExecutor()`, and `app.map` is their `map`: it hands out the inputs to whoever is free
//! and gives the answers back in the order of the inputs. Rust threads run at the same time (there
//! is no global lock), so here threads are as fast as processes.

use celeriac_examples::{Bars, Common, Result, Site};
use clap::Parser;

/// Twelve primes, and one number that only looks like one.
const NUMBERS: [u64; 13] = [
    1_116_281,
    1_297_337,
    104_395_303,
    472_882_027,
    533_000_389,
    817_504_243,
    982_451_653,
    112_272_535_095_293,
    112_582_705_942_171,
    112_272_535_095_293,
    115_280_095_190_773,
    115_797_848_077_099,
    1_099_726_899_285_419,
];

/// The attribute makes the function a task and leaves it an ordinary function.
#[celeriac::task(name = "primes.is_prime")]
fn is_prime(n: u64) -> bool {
    let odd = n > 2 && !n.is_multiple_of(2);
    n == 2
        || odd
            && (3..=n.isqrt())
                .step_by(2)
                .all(|divisor| !n.is_multiple_of(divisor))
}

/// Tests which of 65 numbers are prime
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
    /// How often to test each of the 13 numbers
    #[arg(long, default_value_t = 5)]
    repeat: usize,
}

#[celeriac::main]
async fn main() -> Result {
    let args = Args::parse();
    let site = Site::open(&args.common, "processes").await?;
    let numbers = NUMBERS.repeat(args.repeat);

    let bars = Bars::new();
    let bar = bars.count("numbers", numbers.len() as u64);
    let mut primes = 0;
    // A map is a stream: each answer can be used while later numbers are still being tested.
    let mut answers = site.app.map::<is_prime>(numbers.clone());
    for n in &numbers {
        let prime = answers.next().await.expect("one answer for each number")?;
        primes += u32::from(prime);
        bars.println(format_args!("{n} is prime: {prime}"));
        bar.inc(1);
    }
    bar.finish_and_clear();
    site.finish(format_args!(
        "tested {} numbers, {primes} of them prime,",
        numbers.len()
    ))
    .await?;
    Ok(())
}
