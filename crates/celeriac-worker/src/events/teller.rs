//! Sends what has happened, and that the worker is alive.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{Address, Bus, Notice};
use celeriac_wire::Clock;
use celeriac_wire::event::{self, BATCH_KEY, Event, Pulse, Stamped, now_s};
use serde::Serialize;
use serde_json::{Map, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

use super::{News, Told};
use crate::dispatcher::Operator;
use crate::linux;

/// The most events in one message.
const TOGETHER: usize = 200;

/// How long a message may take on its way.
const SEND: Duration = Duration::from_secs(5);

/// The wait after one that could not be sent.
const PAUSE: Duration = Duration::from_secs(1);

/// How often it is said that events were dropped.
const COMPLAIN: Duration = Duration::from_secs(60);

/// How often Celery says that it is alive when it is asked to say so, in seconds.
const ASKED_FREQ: f64 = 5.0;

/// See the module.
#[derive(Debug)]
pub(crate) struct Teller {
    node: String,
    bus: Arc<dyn Bus>,
    news: News,
    clock: Arc<Clock>,
    operator: Operator,
    heartbeat: Option<Duration>,
    utcoffset: f64,
    complained: Option<Instant>,
    dropped: u64,
}

/// What a heartbeat says of the calls.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Vitals {
    pub(crate) active: u64,
    pub(crate) processed: u64,
}

impl Teller {
    pub(crate) fn new(
        node: String,
        bus: Arc<dyn Bus>,
        news: News,
        clock: Arc<Clock>,
        operator: Operator,
        heartbeat: Option<Duration>,
    ) -> Self {
        Self {
            node,
            bus,
            news,
            clock,
            operator,
            heartbeat,
            utcoffset: event::utcoffset(),
            complained: None,
            dropped: 0,
        }
    }

    /// Tells until it is to stop, and then what is left.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut vitals = Vitals::default();
        self.pulse(Event::WorkerOnline, vitals).await;
        let mut beat_at = self.heartbeat.map(|every| Instant::now() + every);
        loop {
            let shared = self.news.0.clone();
            tokio::select! {
                () = shared.ring.notified() => self.tell_all().await,
                () = at(beat_at) => {
                    let asked = self.operator.ask(|dispatcher| dispatcher.vitals()).await;
                    vitals = asked.unwrap_or(vitals);
                    self.pulse(Event::WorkerHeartbeat, vitals).await;
                    beat_at = self.heartbeat.map(|every| Instant::now() + every);
                }
                () = stopped(&mut stop) => break,
            }
        }
        self.tell_all().await;
        let ended = Vitals {
            active: 0,
            ..vitals
        };
        self.pulse(Event::WorkerOffline, ended).await;
    }

    /// Sends what has gathered.
    async fn tell_all(&mut self) {
        loop {
            let (batch, beat) = {
                let mut waiting = self.news.waiting();
                let count = waiting.events.len().min(TOGETHER);
                self.dropped += std::mem::take(&mut waiting.dropped);
                let beat = std::mem::take(&mut waiting.beat);
                (waiting.events.drain(..count).collect::<Vec<_>>(), beat)
            };
            if beat {
                let asked = Pulse {
                    freq: ASKED_FREQ,
                    ..identity()
                };
                self.say(Event::WorkerHeartbeat(asked)).await;
            }
            if batch.is_empty() {
                return self.complain();
            }
            let count = batch.len() as u64;
            let batch: Vec<_> = batch.into_iter().map(|told| self.stamp(told)).collect();
            if !self.send(BATCH_KEY.to_owned(), encoded(&batch)).await {
                self.dropped += count;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Says that events were dropped, now and then.
    fn complain(&mut self) {
        let now = Instant::now();
        let due = self.complained.is_none_or(|at| now - at > COMPLAIN);
        if self.dropped > 0 && due {
            warn!(
                count = self.dropped,
                "events of tasks were not told, there were too many"
            );
            self.complained = Some(now);
            self.dropped = 0;
        }
    }

    /// Tells of the worker itself, if it does so at all.
    async fn pulse(&self, event: fn(Pulse) -> Event, vitals: Vitals) {
        let Some(every) = self.heartbeat else { return };
        let pulse = Pulse {
            freq: every.as_secs_f64(),
            active: Some(vitals.active),
            processed: Some(vitals.processed),
            loadavg: Some(linux::load()),
            ..identity()
        };
        self.say(event(pulse)).await;
    }

    async fn say(&self, event: Event) {
        let key = event.routing_key();
        let told = Told {
            event,
            clock: self.clock.forward(),
            timestamp: now_s(),
        };
        self.send(key, encoded(&self.stamp(told))).await;
    }

    fn stamp(&self, told: Told) -> Stamped {
        Stamped {
            hostname: self.node.clone(),
            utcoffset: self.utcoffset,
            pid: std::process::id(),
            clock: told.clock,
            timestamp: told.timestamp,
            event: told.event,
        }
    }

    async fn send(&self, key: String, body: Vec<u8>) -> bool {
        let headers = Map::from_iter([("hostname".to_owned(), json!(self.node))]);
        let notice = Notice::json(headers, body);
        match timeout(SEND, self.bus.send(Address::Monitors(key), notice)).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                debug!(error = &error as &dyn Error, "an event was not sent");
                false
            }
            Err(_) => false,
        }
    }
}

fn encoded(told: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(told).expect("all keys of events are text")
}

/// What program this is.
fn identity() -> Pulse {
    Pulse {
        freq: 0.0,
        active: None,
        processed: None,
        loadavg: None,
        sw_ident: "celeriac".to_owned(),
        sw_ver: env!("CARGO_PKG_VERSION").to_owned(),
        sw_sys: "Linux".to_owned(),
    }
}

/// Waits until it is to stop, or nobody is left who could say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Waits until `time`, for ever if there is none.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
