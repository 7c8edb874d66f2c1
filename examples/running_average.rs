//! A two-way coroutine: numbers are sent in, and the average so far comes back.
//!
//! ```text
//! cargo run --release --example running_average -- 10 20 30
//! ```
//!
//! Coming from Python: this is the generator with `number = yield average`. The one `yield` is two
//! here: `inbox.next()` takes a value and `outbox.send(…)` gives one. `session.ask(10.0)` is
//! `generator.send(10.0)`, and no first `next()` is needed to get it going. Its local variables are
//! its state: nothing is shared, so nothing is locked.

use celeriac::{Inbox, Outbox};
use celeriac_examples::{Common, Result, Site};
use clap::Parser;

async fn averages(mut inbox: Inbox<f64>, outbox: Outbox<f64>) {
    let (mut sum, mut count) = (0.0, 0.0);
    while let Some(number) = inbox.next().await {
        sum += number;
        count += 1.0;
        outbox.send(sum / count).await;
    }
    // Closing the session ends the loop. Python would raise `GeneratorExit` at the `yield`.
    println!("the coroutine ends");
}

/// The same without state, for comparison: everything is sent, and one value comes back.
#[celeriac::task(name = "running_average.mean")]
fn mean(numbers: &[f64]) -> Option<f64> {
    let count = u32::try_from(numbers.len())
        .ok()
        .filter(|&count| count > 0)?;
    Some(numbers.iter().sum::<f64>() / f64::from(count))
}

/// Prints the average so far of each number and those before it
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
    /// The numbers
    #[arg(default_values_t = [10.0, 20.0, 30.0], allow_negative_numbers = true)]
    numbers: Vec<f64>,
}

#[celeriac::main]
async fn main() -> Result {
    let args = Args::parse();
    let site = Site::open(&args.common, "coroutines").await?;

    let mut session = site.app.open(averages)?;
    for &number in &args.numbers {
        println!("{number}: {}", session.ask(number).await?);
    }
    session.close();
    // `None` comes when the coroutine has ended, and not before.
    assert!(session.next().await.is_none());
    let error = session.ask(40.0).await.expect_err("it is closed");
    println!("one more: {error}");

    let count = args.numbers.len();
    if let Some(mean) = site.app.send(mean::call(args.numbers)).await?.get().await? {
        println!("all at once: {mean}");
    }
    site.finish(format_args!("averaged {count} numbers"))
        .await?;
    Ok(())
}
