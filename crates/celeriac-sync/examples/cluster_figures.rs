//! What the scope of clusters costs at a place: `cluster_figures ADDRESS`. With `serve HOST:PORT` it is a
//! manager for that.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it measures for who runs it"
)]

use std::time::{Duration, Instant};

use celeriac_sync::cluster::{Cluster, Lock, Manager, Queue};
use futures_util::future::join_all;

/// How many locks are taken one after another.
const LOCKS: usize = 5_000;
/// How many items are on their way at a time, and how often so many.
const WINDOW: usize = 512;
const ROUNDS: usize = 200;

fn main() {
    let mut words = std::env::args().skip(1);
    let address = words.next().unwrap_or_else(|| "memory:figures".to_owned());
    if address == "serve" {
        let manager = Manager::bind(&words.next().unwrap(), None).unwrap();
        return manager.run().unwrap();
    }
    let place = Cluster::connect(&address).unwrap();
    locks(&place);
    pipelined(&place);
}

fn locks(place: &Cluster) {
    let lock = Lock::new_in(place).unwrap();
    let times = |take: &dyn Fn() -> Duration| {
        let mut times: Vec<_> = (0..LOCKS).map(|_| take()).collect();
        times.sort_unstable();
        (times[LOCKS / 2], times[LOCKS * 99 / 100])
    };
    let taken = times(&|| {
        let start = Instant::now();
        let held = lock.lock().unwrap();
        let taken = start.elapsed();
        drop(held);
        taken
    });
    let both = times(&|| {
        let start = Instant::now();
        drop(lock.lock().unwrap());
        start.elapsed()
    });
    println!("lock p50 {:?} p99 {:?}", taken.0, taken.1);
    println!("lock and release p50 {:?} p99 {:?}", both.0, both.1);
}

/// Puts and gets, so many at a time, by one coroutine.
fn pipelined(place: &Cluster) {
    let queue = Queue::bounded_in(place, WINDOW).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let start = Instant::now();
    runtime.block_on(async {
        for _ in 0..ROUNDS {
            let puts = (0..WINDOW).map(|item| queue.put_async(item as u64));
            join_all(puts).await.into_iter().for_each(Result::unwrap);
            let gets = join_all((0..WINDOW).map(|_| queue.get_async())).await;
            for item in gets {
                drop(item.unwrap());
            }
        }
    });
    let items = f64::from(u32::try_from(WINDOW * ROUNDS).unwrap());
    println!(
        "put and get, pipelined: {:.0}/s",
        items / start.elapsed().as_secs_f64()
    );
}
