//! What is lost when processes are killed and the power fails, counted.

mod disk;
mod flapping;
mod kill9;
mod ledger;
mod partition;
pub(crate) mod power_cut;
mod proxy_cut;
mod restarts;
mod slow;
mod stops;
mod torn;
mod visibility;

use std::error::Error;
use std::fmt;
use std::io;
use std::thread;
use std::time::{Duration, SystemTime};

use tokio::runtime::Runtime;

use crate::brokers::{self, AMQP, REDIS};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// Runs what `measure` names, if it is about faults.
pub(crate) fn run(measure: &str) -> Result<Option<Counts>> {
    let (redis, amqp) = (|| brokers::url(REDIS), || brokers::url(AMQP));
    Ok(Some(match measure {
        "kill9" => kill9::on_sqlite()?,
        "power-cut" => power_cut::run()?,
        "redis-kill9" => kill9::on(&redis()?)?,
        "amqp-kill9" => kill9::on(&amqp()?)?,
        "redis-proxy-cut" => proxy_cut::run(&redis()?)?,
        "amqp-proxy-cut" => proxy_cut::run(&amqp()?)?,
        "redis-partition" => partition::run(&redis()?)?,
        "amqp-partition" => partition::run(&amqp()?)?,
        "redis-stops" => stops::run(&redis()?)?,
        "amqp-stops" => stops::run(&amqp()?)?,
        "redis-restarts" => restarts::of_redis()?,
        "amqp-restarts" => restarts::of_rabbitmq()?,
        "redis-flapping" => flapping::run(&redis()?)?,
        "amqp-flapping" => flapping::run(&amqp()?)?,
        "redis-slow" => slow::run(&redis()?)?,
        "amqp-slow" => slow::run(&amqp()?)?,
        "redis-torn" => torn::run(&redis()?)?,
        "amqp-torn" => torn::run(&amqp()?)?,
        "redis-visibility" => visibility::run(&redis()?)?,
        _ => return Ok(None),
    }))
}

/// How often each thing went wrong, and how often it may.
#[derive(Debug, Default)]
pub(crate) struct Counts(Vec<(&'static str, u64, u64)>);

impl Counts {
    /// Adds a count with its bound.
    pub(crate) fn add(&mut self, name: &'static str, count: u64, at_most: u64) {
        self.0.push((name, count, at_most));
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<_> = self
            .0
            .iter()
            .map(|(name, count, at_most)| {
                serde_json::json!({ "name": name, "count": count, "at_most": at_most })
            })
            .collect();
        write!(formatter, "{}", serde_json::json!({ "counts": counts }))
    }
}

/// What carries the faulty networks, and those who count beside them.
fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}

/// Lets `least` and a random part of `more` pass before the next fault: faults that keep step with
/// the program miss most of its moments.
fn some_time(least: Duration, more: Duration) -> io::Result<()> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(io::Error::other)?;
    // The last digits of the clock are random enough for that.
    let part = f64::from(now.subsec_nanos() % 100_000) / 100_000.0;
    thread::sleep(least + more.mul_f64(part));
    Ok(())
}
