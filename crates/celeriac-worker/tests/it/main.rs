//! The worker's rules, on a broker and an executor that the test plays itself.
#![allow(
    clippy::unwrap_used,
    reason = "a test that unwraps nothing fails, as it should"
)]

mod admission;
mod broker;
mod drivers;
mod early_ack;
mod harness;
mod pools;
mod prefetch;
mod runtime;
mod settling;
mod shutdown;
mod stage;
mod troupe;
mod watching;
mod workflows;
