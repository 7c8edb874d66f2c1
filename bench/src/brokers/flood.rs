//! A backlog drained by one worker while others ask it for more than it cares to answer.
//!
//! Whoever floods needs a processor too, so the flood has a rate and not all the speed there is.

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

/// From the first marked task to the last one, under a flood.
pub(super) fn under_it(url: &str) -> Result<Report> {
    let bus = open(url)?
        .into_async()
        .broker()
        .and_then(|broker| broker.bus());
    let bus = bus.ok_or("the broker has no remote control")?;
    let ended = Arc::new(AtomicBool::new(false));
    let flooding = std::thread::spawn({
        let ended = ended.clone();
        move || block_on(flood(&*bus, &ended))
    });
    let report = without_it(url);
    ended.store(true, Ordering::Relaxed);
    let sent = flooding.join().map_err(|_| "the flood has panicked")??;
    if sent == 0 {
        return Err("nothing was sent".into());
    }
    report
}

/// The same without one.
pub(super) fn without_it(url: &str) -> Result<Report> {
    drain::of(TASKS, url, Events::Off)
}

/// Broadcasts requests whose answers nobody reads, until it has `ended`; how many those were.
async fn flood(bus: &dyn Bus, ended: &AtomicBool) -> Result<u64> {
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
            bus.send(Address::Workers, notice).await?;
            sent += 1;
        }
    }
    Ok(sent)
}
