//! What users of the facade can rely on, a module per behaviour.
#![allow(
    clippy::unused_async,
    reason = "an async task need not wait for anything"
)]
#![allow(
    clippy::unwrap_used,
    reason = "a test that unwraps nothing fails, as it should"
)]

mod bulk;
mod canvas;
mod celery;
mod cli;
mod elsewhere;
mod entry;
mod faults;
mod macros;
mod places;
mod results;
mod runners;
mod sending;
mod session;
mod sharing_arguments;
mod strict;
mod support;
#[cfg(feature = "otel")]
mod traces;
