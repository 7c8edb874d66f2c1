//! The line to a server: the words of AMQP 0-9-1 that the rest of the driver uses.
//!
//! One coroutine, the pump, serves the socket of a connection. Whoever says something writes it into
//! what is to be sent, and the pump sends all that has gathered at once; so a word waits for no other
//! thread, and many words share a packet.
//!
//! ```text
//!  Channel ──asks, says──▶ Switchboard ──outgoing──▶ pump ──▶ socket ──▶ server
//!     ▲                     (one Lane for each channel) ◀──frames── pump ◀── socket ◀──┘
//!     └── answers, deliveries, confirms ──┘
//! ```
//!
//! # Invariants
//!
//! - What is said first is sent first.
//! - Everybody who waits for something is told when its channel or connection ends.
//! - No bytes that a server sends end this program.
//!
//! # Sources
//!
//! AMQP 0-9-1 with RabbitMQ's extensions: publisher confirms, `basic.nack`, per-consumer prefetch,
//! `connection.blocked`.

mod channel;
mod confirms;
mod connection;
#[cfg(test)]
mod conversations;
mod failure;
mod frame;
mod headers;
mod lane;
mod login;
mod method;
mod outbox;
mod properties;
mod publishing;
mod pump;
mod reader;
mod socket;
mod switchboard;
mod table;

pub(crate) use channel::{Channel, Consume, Counts, Incoming, QueueFlags, Stream};
pub(crate) use connection::Connection;
pub(crate) use failure::{LinkError, code};
pub(crate) use properties::{Description, Properties};
pub(crate) use publishing::{Outgoing, Refusal, Unpublished};
pub(crate) use table::Entry;
