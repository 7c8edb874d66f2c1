//! Tests of the places where tasks run.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something it needs is missing"
)]

mod bell;
mod processes;
