//! What the drivers promise, tested on the stores themselves.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(feature = "amqp")]
mod amqp;
mod bus;
#[cfg(any(feature = "amqp", feature = "redis"))]
mod conformance;
mod damage;
mod files;
mod player;
mod processes;
mod redis;
mod schemes;
