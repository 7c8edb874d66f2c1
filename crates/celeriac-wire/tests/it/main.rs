//! The wire format against what Celery itself wrote.
#![allow(
    clippy::unwrap_used,
    reason = "a capture that cannot be read fails the test"
)]

mod bodies;
mod canvas;
mod captures;
mod control;
mod corpus;
mod envelopes;
mod messages;
mod properties;
mod results;
