//! Tasks cost a crate with strict lints nothing: that this compiles is the test.
#![deny(
    warnings,
    missing_debug_implementations,
    unreachable_pub,
    unused_qualifications,
    unused_results,
    single_use_lifetimes,
    elided_lifetimes_in_paths
)]
#![allow(
    clippy::unused_async,
    reason = "an async task need not wait for anything"
)]

use celeriac::{Context, Task};

#[celeriac::task]
fn private(_unused: u64, context: &Context) -> Result<u32, std::fmt::Error> {
    context.attempt().checked_sub(1).ok_or(std::fmt::Error)
}

#[celeriac::task(retries = 1, retry_if = |_| true, time_limit = "1s")]
pub(crate) async fn charge(mut order: u64, note: &str) -> Result<u64, std::fmt::Error> {
    order += 1;
    order.checked_add(note.len() as u64).ok_or(std::fmt::Error)
}

#[deprecated]
#[celeriac::task]
fn old() {}

#[test]
fn strict_lints_let_tasks_pass() {
    assert_eq!(private::DEFINITION.parameters, ["_unused"]);
    assert_eq!(charge::DEFINITION.parameters, ["order", "note"]);
    assert_eq!(old::DEFINITION.name, "it.strict.old");
}
