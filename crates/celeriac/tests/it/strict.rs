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

use celeriac::{Context, Task};

#[celeriac::task]
fn private(_unused: u64, context: &Context) -> Result<u32, std::fmt::Error> {
    Ok(context.attempt())
}

#[celeriac::task(retries = 1, retry_if = |_| true, time_limit = "1s")]
pub(crate) async fn charge(mut order: u64, note: &str) -> Result<u64, std::fmt::Error> {
    order += 1;
    Ok(order + note.len() as u64)
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
