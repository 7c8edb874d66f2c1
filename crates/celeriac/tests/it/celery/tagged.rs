//! Dates, times, decimals and bytes of Python's in typed tasks of Rust, and back.

use celeriac::{Bytes, Decimal, Tagged};
use jiff::civil::{Date, Time};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::fleet::Fleet;
use super::in_fleets;

in_fleets! { values_of_pythons_arrive_as_what_they_are:
    tagged_redis_celery_5_7 = Redis, V57;
    tagged_amqp_celery_5_7 = Amqp, V57;
}

/// An hour later, and the bytes in reverse.
#[celeriac::task(name = "rust.later")]
fn later(at: Timestamp, bytes: Bytes) -> (Tagged<Timestamp>, Tagged<Bytes>) {
    let hour = SignedDuration::from_hours(1);
    let mut bytes = Vec::from(bytes);
    bytes.reverse();
    (Tagged(at + hour), Tagged(bytes.into()))
}

/// What it is given, in the types that it has.
#[celeriac::task(name = "rust.same")]
fn same(
    due: Tagged<Date>,
    at: Tagged<Time>,
    price: Tagged<Decimal>,
) -> (Tagged<Date>, Tagged<Time>, Tagged<Decimal>) {
    (due, at, price)
}

/// A decimal is its digits.
#[celeriac::task(name = "rust.digits")]
fn digits(price: Decimal, prices: &[Decimal]) -> (String, usize) {
    (price.0, prices.len())
}

async fn values_of_pythons_arrive_as_what_they_are(fleet: &Fleet) {
    let script = fleet.python.script(include_str!("tagged.py"));
    script.wait_for_line("SENT");
    let _worker = fleet.rust_worker("to_rust", 1).await;
    let answer = script.answer();
    assert_eq!(
        answer["same"],
        json!(["date", "time", "Decimal", true]),
        "{answer:#}"
    );
    assert_eq!(
        answer["later"],
        json!(["datetime", "bytes", true]),
        "{answer:#}"
    );
    assert_eq!(answer["digits"], json!(["1.50", 2]), "{answer:#}");
}
