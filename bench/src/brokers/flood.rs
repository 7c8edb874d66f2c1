//! A backlog drained by one worker while others ask it for more than it cares to answer.
//!
//! Whoever floods needs a processor too, and here it is the worker's. So the flood has a rate and not all the
//! speed there is, and is compared with one that is sent and broadcast just so, but that nobody listens to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use celeriac::blocking::block_on;
use celeriac_core::{Address, Bus, Notice};
use serde_json::{Map, json};
use tokio::time::{MissedTickBehavior, interval};

use super::{Result, drain, open};
use crate::repetitions::Report;
use crate::worker::Events;

/// Enough for some seconds, because the first second of a flood is heard as it comes.
const TASKS: u32 = 300_000;

/// How many requests are broadcast in a second, in so many bursts.
const REQUESTS: u32 = 2_000;
const BURSTS: u32 = 100;

/// From the first marked task to the last one, while the worker is asked.
pub(super) fn of_requests(url: &str) -> Result<Report> {
    beside(url, &Address::Workers)
}

/// The same while somebody is told as much whom nobody hears.
pub(super) fn of_news(url: &str) -> Result<Report> {
    beside(url, &Address::Monitors("flood".to_owned()))
}

/// From the first marked task to the last one, beside a flood.
fn beside(url: &str, to: &Address) -> Result<Report> {
    let bus = open(url)?
        .into_async()
        .broker()
        .and_then(|broker| broker.bus());
    let bus = bus.ok_or("the broker has no remote control")?;
    let ended = Arc::new(AtomicBool::new(false));
    let flooding = std::thread::spawn({
        let (ended, to) = (ended.clone(), to.clone());
        move || block_on(flood(&*bus, &to, &ended))
    });
    let report = drain::of(TASKS, url, Events::Off);
    ended.store(true, Ordering::Relaxed);
    let sent = flooding.join().map_err(|_| "the flood has panicked")??;
    if sent == 0 {
        return Err("nothing was sent".into());
    }
    report
}

/// Sends requests whose answers nobody reads, until it has `ended`; how many those were.
async fn flood(bus: &dyn Bus, to: &Address, ended: &AtomicBool) -> Result<u64> {
    let mut ticks = interval(Duration::from_secs(1) / BURSTS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let asker = json!({"exchange": bus.answers(), "routing_key": "nobody"});
    let request = json!({"method": "ping", "arguments": {}, "ticket": "x", "reply_to": asker});
    let request = request.to_string().into_bytes();
    let mut sent = 0;
    while !ended.load(Ordering::Relaxed) {
        ticks.tick().await;
        for _ in 0..REQUESTS / BURSTS {
            let notice = Notice::json(Map::new(), request.clone());
            bus.send(to.clone(), notice).await?;
            sent += 1;
        }
    }
    Ok(sent)
}
