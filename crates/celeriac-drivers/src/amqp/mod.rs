//! RabbitMQ as Celery uses it: queues shared with Celery's workers, results as messages.
//!
//! A handle has a connection on which it publishes and asks, and one on which results arrive once it
//! sends a call that has one. Each consumer has a connection of its own.
//!
//! ```text
//!  publish, settle ──▶ hub ──confirmed──▶ task queue ──push──▶ session ─▶ shelf ◀─pull── receive
//!                       │                   ▲   ▲                │
//!                       └──▶ delayed ───────┘   └────────────────┘
//!                            (by time)            came back: counted; far: delayed; bad: dead
//! ```
//!
//! # Invariants
//!
//! - Nothing is acknowledged before what follows from it is confirmed. A crash between the two
//!   repeats work and loses none.
//! - No more is fetched of a queue than the worker holds and could take.
//! - Queues and exchanges that Celery declares too are declared as Celery declares them.
//!
//! # What somebody deletes
//!
//! A queue that is gone is declared again as soon as a consumer or a sender meets that. Of a binding
//! that is gone the server tells nobody but a sender whose message finds no queue at all: it binds
//! again what is defined, and publishes once more. For all others consumers declare their queues and
//! bindings again every `declare_interval`, and senders do so for the exchanges that they publish to.
//!
//! # How it differs from a store of one's own
//!
//! - A message that is given back, or whose holder died, goes to the end of its queue: RabbitMQ says
//!   only that a message came back, not how often, so it is published again with the count.
//! - On quorum queues, what is on its way while a consumer is closed counts as delivered once more.
//! - Messages of one call to `publish` are stored each for itself.
//! - Only who sent a call hears of its result.
//! - Priorities are kept if the queues are declared with some (`?max_priority=9`), and 9 is the most
//!   urgent.
//!
//! - A revoked call that waits far ahead ends at once if this handle knows its queue and no more than
//!   10,000 messages wait there with it; else when it is due.
//!
//! # Options of the URL
//!
//! | option | default | is |
//! | --- | --- | --- |
//! | `heartbeat` | 6 | seconds between heartbeats; silence for twice as long is a lost connection |
//! | `queue_type` | `classic` | or `quorum`, for the task queues this declares |
//! | `max_priority` | none | `x-max-priority` of those queues, as `task_queue_max_priority` sets it |
//! | `queue_expires` | never | seconds after which an unused one of those queues is deleted |
//! | `delayed_queue_type` | `quorum` | or `classic`, for the queues in which delayed messages wait |
//! | `queue_name_prefix` | none | before the name of every queue |
//! | `control_exchange` | `celery` | as Celery's setting of this name |
//! | `result_expires` | 86400 | seconds for which results are remembered; 300 at most if we are away |
//! | `declare_interval` | 30 | seconds after which queues and bindings are declared again |
//! | `publish_timeout` | 30 | seconds to wait for a server that takes no messages |
//! | `consumer_timeout` | 1800 | the server's setting in seconds, if it is not this |
//! | `ssl_ca_certs` | those that browsers trust | the file of the authorities to trust, for `amqps:` |
//!
//! # Sources
//!
//! What is declared and sent follows Celery 5.7 and kombu 5.7 as they were seen to do it; the
//! server's part follows RabbitMQ's documentation of confirms, prefetch, TTL and dead lettering.

mod acks;
mod answers;
mod arrivals;
mod broker;
mod bus;
mod codec;
mod consumer;
mod control;
mod dead;
mod declaring;
mod delay;
mod failure;
mod hub;
mod intake;
mod keeping;
mod lanes;
mod names;
mod native;
mod numbers;
mod posting;
mod runtime;
mod session;
mod settings;
mod shelf;
mod sort;
mod transport;
mod upkeep;
mod watch;

pub use broker::{AmqpBroker, open};
