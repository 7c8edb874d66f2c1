//! Remote control: an operator asks, and the worker answers as Celery's would.
//!
//! Requests are taken one at a time and no faster than [`PACE`] allows, by a coroutine of their own; so
//! a flood of them costs the tasks next to nothing, and what is too much is not heard.
//!
//! # Invariants
//!
//! - No request ends a worker, or has anything lost, but `shutdown`.
//! - Whoever asks for an answer gets one, if only that it is refused; but to `shutdown`, as with Celery,
//!   and to the `hello` of a worker that may have the [name](claim).
//!
//! # Sources
//!
//! Celery 5.7's `inspect` and `control`: the commands, their arguments and the words of their answers.

mod arguments;
mod call;
mod change;
mod claim;
mod commands;
mod consuming;
pub(crate) mod foreign;
mod inspect;
mod mingle;
mod queues;
pub(crate) mod revoked;
pub(crate) mod settings;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{Address, Bus, Consumer, Listener, Notice, Registry, Topic};
use celeriac_wire::Clock;
use celeriac_wire::control::{Reply, ReplyTo, Request};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use self::claim::Claim;
use self::settings::ControlSettings;
use crate::backoff::RetryTimer;
use crate::dispatcher::Operator;
use crate::events::News;
use crate::worker::Stopper;

/// Two requests are this far apart in the long run.
const PACE: Duration = Duration::from_millis(2);

/// So far requests may run ahead of their pace.
const BURST: Duration = Duration::from_secs(1);

/// How long an answer may take on its way.
const SEND: Duration = Duration::from_secs(5);

/// How long a worker that starts waits to be within hearing.
const OPEN: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(crate) struct Control {
    node: String,
    bus: Arc<dyn Bus>,
    operator: Operator,
    consumer: Arc<dyn Consumer>,
    registry: Registry,
    settings: ControlSettings,
    queues: Vec<String>,
    clock: Arc<Clock>,
    news: News,
    claim: Claim,
    stopper: Stopper,
    started: Instant,
    /// What has had its turn by then.
    due: Instant,
    missed: u64,
}

/// What a worker is known by to its remote control.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) node: String,
    pub(crate) queues: Vec<String>,
    pub(crate) consumer: Arc<dyn Consumer>,
    pub(crate) registry: Registry,
    pub(crate) settings: ControlSettings,
}

impl Control {
    pub(crate) fn new(
        identity: Identity,
        bus: Arc<dyn Bus>,
        operator: Operator,
        clock: Arc<Clock>,
        news: News,
        stopper: Stopper,
    ) -> Self {
        let now = Instant::now();
        let shares = identity.settings.shares_name;
        Self {
            claim: Claim::new(&identity.node, shares, stopper.clone()),
            node: identity.node,
            queues: identity.queues,
            consumer: identity.consumer,
            registry: identity.registry,
            settings: identity.settings,
            bus,
            operator,
            clock,
            news,
            stopper,
            started: now,
            due: now,
            missed: 0,
        }
    }

    /// Begins to listen; not for long, because tasks wait.
    pub(crate) async fn open(&self) -> Option<Box<dyn Listener>> {
        let topic = Topic::Commands(self.node.clone());
        match timeout(OPEN, self.bus.listen(topic)).await {
            Ok(Ok(listener)) => Some(listener),
            Ok(Err(error)) => {
                let error = &error as &dyn Error;
                warn!(error, "remote control is not heard yet, will try again");
                None
            }
            Err(_) => {
                warn!("remote control is not heard yet, will try again");
                None
            }
        }
    }

    /// Answers, for ever.
    pub(crate) async fn run(mut self, mut listener: Option<Box<dyn Listener>>) {
        let mut retry = RetryTimer::default();
        if listener.is_some() {
            self.mingle();
        }
        loop {
            let Some(open) = &mut listener else {
                retry.failed(Instant::now());
                sleep_until(retry.at().unwrap_or_else(Instant::now)).await;
                listener = self.open().await;
                continue;
            };
            retry.succeeded();
            match open.next().await {
                Ok(notice) => {
                    let missed = open.missed();
                    if missed > self.missed {
                        let count = missed - self.missed;
                        warn!(
                            count,
                            "requests of remote control were too many, and not heard"
                        );
                        self.missed = missed;
                    }
                    self.hear(notice).await;
                }
                Err(error) => {
                    debug!(error = &error as &dyn Error, "remote control is not heard");
                    listener = None;
                }
            }
        }
    }

    /// Does what is asked, if it is asked of us.
    async fn hear(&mut self, notice: Notice) {
        self.clock.hear(&notice.headers);
        let request = match Request::decode(&notice.body) {
            Ok(request) => request,
            Err(error) => {
                debug!(error = &error as &dyn Error, "a request was not understood");
                return;
            }
        };
        drop(notice);
        if !request.audience.includes(&self.node) {
            return;
        }
        self.wait_for_turn().await;
        debug!(command = request.method, "remote control");
        let (reply_to, ticket) = (request.reply_to, request.ticket);
        let Some(value) = self.obey(&request.method, request.arguments).await else {
            return;
        };
        match (value, reply_to) {
            (Answer::Now(value), Some(to)) => self.courier().reply(to, ticket, value).await,
            (Answer::Now(_), None) => {}
            (Answer::Later(answer), to) => {
                let courier = self.courier();
                tokio::spawn(async move {
                    let value = answer.await;
                    if let Some(to) = to {
                        courier.reply(to, ticket, value).await;
                    }
                });
            }
        }
    }

    async fn wait_for_turn(&mut self) {
        let now = Instant::now();
        self.due = self.due.max(now.checked_sub(BURST).unwrap_or(now)) + PACE;
        if self.due > now {
            sleep(self.due - now).await;
        }
    }

    fn courier(&self) -> Courier {
        Courier {
            node: self.node.clone(),
            bus: self.bus.clone(),
            clock: self.clock.clone(),
        }
    }

    fn shut_down(&self) {
        info!("told to stop by remote control");
        self.stopper.shutdown(crate::shutdown::Shutdown::Warm);
    }
}

/// What is answered.
enum Answer {
    Now(Value),
    /// Somebody else is asked first, and others are answered meanwhile.
    Later(celeriac_core::BoxFuture<'static, Value>),
}

/// Brings answers to those who asked.
struct Courier {
    node: String,
    bus: Arc<dyn Bus>,
    clock: Arc<Clock>,
}

impl Courier {
    async fn reply(self, to: ReplyTo, ticket: Option<String>, value: Value) {
        let headers = Reply::headers(ticket.as_deref(), self.clock.forward());
        let reply = Reply {
            node: self.node,
            value,
        };
        let address = Address::Asker {
            exchange: to.exchange,
            routing_key: to.routing_key,
        };
        let notice = Notice::json(headers, reply.encode());
        match timeout(SEND, self.bus.send(address, notice)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => debug!(error = &error as &dyn Error, "an answer was not sent"),
            Err(_) => debug!("an answer was not sent in time"),
        }
    }
}
