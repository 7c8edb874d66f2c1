//! Where the messages of an app leave it: to its broker, and news of them to monitors if it was told so.

use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{Address, Broker, BrokerError, Bus, Destination, Message, Notice};
use celeriac_executor::drive::reactor;
use celeriac_wire::event::{self, BATCH_KEY, Event, Received, Sent, Stamped};
use celeriac_wire::{Clock, repr};
use celeriac_worker::worker_name;
use serde::Serialize;
use serde_json::{Map, json};
use tokio::time::timeout;

/// The most events in one message.
const TOGETHER: usize = 200;

/// How long a message to monitors may take on its way.
const LIMIT: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Outlet {
    broker: Arc<dyn Broker>,
    monitors: Option<Arc<Monitors>>,
}

/// Those who are told what was sent.
#[derive(Debug)]
struct Monitors {
    bus: Arc<dyn Bus>,
    /// Who tells it.
    name: String,
    clock: Clock,
}

impl Outlet {
    /// One to `broker`, whose monitors are told of what is sent if it `tells`.
    pub(crate) fn new(broker: Arc<dyn Broker>, tells: bool) -> Result<Self, BrokerError> {
        let monitors = if tells {
            let bus = broker.bus().ok_or_else(|| BrokerError::Unsupported {
                address: format!("{broker:?}"),
                what: "tell monitors what was sent".to_owned(),
            });
            Some(Arc::new(Monitors {
                bus: bus?,
                name: worker_name(&format!("gen{}", std::process::id())),
                clock: Clock::default(),
            }))
        } else {
            None
        };
        Ok(Self { broker, monitors })
    }

    pub(crate) fn broker(&self) -> &Arc<dyn Broker> {
        &self.broker
    }

    /// As [`Broker::publish`]. Monitors are told of what was stored before it resolves; what they could
    /// not be told is no error.
    pub(crate) async fn publish(
        &self,
        messages: Vec<(Destination, Message)>,
    ) -> Result<(), BrokerError> {
        let Some(monitors) = &self.monitors else {
            return self.broker.publish(messages).await;
        };
        let events = messages.iter().map(sent).collect();
        let published = self.broker.publish(messages).await;
        let stored = match &published {
            Ok(()) => events,
            Err(error) => error.part(events).0,
        };
        // Whoever calls need not be on a runtime that knows the time.
        let telling = reactor().spawn(monitors.clone().tell(stored));
        let _ = telling.await;
        published
    }
}

impl Monitors {
    async fn tell(self: Arc<Self>, events: Vec<Event>) {
        let utcoffset = event::utcoffset();
        let stamped: Vec<_> = events
            .into_iter()
            .map(|event| Stamped {
                hostname: self.name.clone(),
                utcoffset,
                pid: std::process::id(),
                clock: self.clock.forward(),
                timestamp: event::now_s(),
                event,
            })
            .collect();
        for some in stamped.chunks(TOGETHER) {
            let told = match some {
                [one] => self.say(one.event.routing_key(), one).await,
                several => self.say(BATCH_KEY.to_owned(), several).await,
            };
            if let Err(reason) = told {
                tracing::warn!(reason, "monitors were not told what was sent");
                return;
            }
        }
    }

    async fn say(&self, key: String, what: &(impl Serialize + ?Sized)) -> Result<(), String> {
        let headers = Map::from_iter([("hostname".to_owned(), json!(self.name))]);
        let body = serde_json::to_vec(what).expect("all keys of events are text");
        let sending = self
            .bus
            .send(Address::Monitors(key), Notice::json(headers, body));
        match timeout(LIMIT, sending).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the broker does not answer".to_owned()),
        }
    }
}

/// The event of a message that was sent.
fn sent((destination, message): &(Destination, Message)) -> Event {
    let mut call = Received::of(message);
    // Calls of Rust do not say in their headers what they look like in Python.
    if call.args.is_none()
        && let Some((args, kwargs)) = repr::call(&message.body)
    {
        (call.args, call.kwargs) = (Some(args), Some(kwargs));
    }
    Event::TaskSent(match destination {
        // Through the exchange without a name, as Celery sends to a queue.
        Destination::Queue(queue) => Sent {
            call,
            queue: Some(queue.to_string()),
            exchange: String::new(),
            routing_key: queue.to_string(),
        },
        Destination::Exchange(to) => Sent {
            call,
            queue: None,
            exchange: to.exchange.clone(),
            routing_key: to.routing_key.clone(),
        },
    })
}
