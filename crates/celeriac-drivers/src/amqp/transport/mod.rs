//! The line to a server: the words of AMQP 0-9-1 that the rest of the driver uses.
//!
//! No type of the client library leaves this folder, so that another one can take its place.
//!
//! # Sources
//!
//! AMQP 0-9-1 with RabbitMQ's extensions: publisher confirms, `basic.nack`, per-consumer prefetch,
//! `connection.blocked`.

mod channel;
mod connection;
mod failure;
mod properties;
mod table;

pub(crate) use channel::{
    Channel, Consume, Counts, Incoming, Outgoing, QueueFlags, Refusal, Stream,
};
pub(crate) use connection::Connection;
pub(crate) use failure::{LinkError, code};
pub(crate) use properties::{Description, Properties};
