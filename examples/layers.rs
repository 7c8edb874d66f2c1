//! One task's function with layers around it: timed, cached, retried, kept to a rate, and made once
//! for all threads of the worker.
//!
//! ```text
//! cargo run --release --example layers
//! ```
//!
//! Coming from Python: each layer is a decorator, and `into_inner` is `__wrapped__`. A decorated
//! function in Rust is a value whose type spells its decorators, the outermost first. `LazyLock` is
//! the module-level global that many programs get wrong under threads: whoever comes first makes
//! it, everybody else waits for that one.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use celeriac::Backoff;
use celeriac::layer::{Cached, Callable as _, Limited, Retried, Timed};
use celeriac::prelude::*;
use celeriac_examples::Result;

type Answer = Result<u32, String>;
type Price = fn(u32) -> Answer;
type Layered = Timed<Cached<Retried<Limited<Price>>, u32, Answer>, fn(Duration)>;

/// The bare function: asks a market that never answers the first question about an item.
fn price(item: u32) -> Answer {
    static ASKED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
    CALLS.fetch_add(1, SeqCst);
    let first = ASKED.lock().expect("no holder panics").insert(item);
    if first {
        Err(format!("no answer about item {item}"))
    } else {
        Ok(10 * item)
    }
}

/// How often the bare function ran.
static CALLS: AtomicU32 = AtomicU32::new(0);
/// How often the layers were put around it.
static MADE: AtomicU32 = AtomicU32::new(0);
/// Where the times go. A sink is any function: it could as well print, or fill a histogram.
static TIMES: Mutex<Vec<Duration>> = Mutex::new(Vec::new());

fn record(took: Duration) {
    TIMES.lock().expect("no holder panics").push(took);
}

fn timed() -> usize {
    TIMES.lock().expect("no holder panics").len()
}

/// 200 starts a second, and as many retries as it takes, within reason; read it from the inside out.
fn layered() -> Layered {
    let rate = "200/s".parse().expect("it is a rate");
    let backoff = Backoff::Exponential(Duration::from_millis(20), Duration::from_secs(1));
    let retried = (price as Price).limited(rate).retried(3, backoff);
    retried.cached(100).timed(record)
}

static PRICE: LazyLock<Layered> = LazyLock::new(|| {
    MADE.fetch_add(1, SeqCst);
    // Long enough for every thread to come and want it.
    std::thread::sleep(Duration::from_millis(50));
    layered()
});

/// The task: the function as its callers see it.
#[celeriac::task(name = "layers.quote")]
fn quote(item: u32) -> Result<u32, String> {
    PRICE.call(item)
}

#[celeriac::main]
async fn main() -> Result {
    let start = Instant::now();
    let app = App::on("threads=8").await?;
    for round in 1..=2 {
        let prices: Vec<u32> = app.map::<quote>(1..=8).chunk_size(1).collect().await?;
        let calls = CALLS.load(SeqCst);
        println!("round {round}: {prices:?}, {calls} calls of the bare function");
    }
    println!("made: {} instance on {}", MADE.load(SeqCst), app.place());
    println!("cache: {:?}", PRICE.inner().info());
    println!("timed: {} calls", timed());

    let retried: Retried<_> = layered().into_inner().into_inner();
    let bare: Price = retried.into_inner().into_inner();
    println!("bare: {:?}, still {} calls timed", bare(9), timed());

    let seconds = start.elapsed().as_secs_f64();
    println!("quoted 16 prices on {} in {seconds:.2} s", app.place());
    app.shutdown(ShutdownMode::Wait).await;
    Ok(())
}
