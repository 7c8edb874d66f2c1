//! Tests of the Python pool, with a stand-in for its children, and with Celery's own.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something it needs is missing"
)]
#![allow(
    clippy::needless_pass_by_value,
    reason = "arguments are written where they are passed"
)]

mod calls;
mod coroutines;
mod deaths;
mod limits;
mod real;
mod recycling;
mod server;
mod service;
mod shutdown;
mod stage;
