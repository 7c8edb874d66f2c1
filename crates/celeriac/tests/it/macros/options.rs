//! What stands in the brackets of `#[task(…)]`.

use std::time::Duration;

use celeriac::Context;
use celeriac::core::{AckProfile, Backoff, RateLimit, ResultPolicy, RetryOn, Task, TaskOptions};

use super::{functions, times};

#[celeriac::task(
    name = "shop.charge",
    queue = "money",
    retries = 5,
    backoff = "exponential(2s, 10m)",
    jitter = false,
    retry_on = "error | panic | time_limit | lost",
    time_limit = "30s",
    soft_time_limit = "25s",
    ack = "early",
    rate_limit = "10/m",
    priority = 9,
    expires = "1h30m",
    results = "keep(1h)"
)]
pub(super) fn everything() {}

#[celeriac::task(
    retries = 1,
    backoff = "fixed(500ms)",
    retry_on = "lost",
    results = "ignore"
)]
pub(super) fn fixed() {}

#[celeriac::task(
    retries = 2,
    backoff = "exponential",
    ack = "reliable",
    rate_limit = "7"
)]
pub(super) fn exponential() {}

#[celeriac::task(soft_time_limit = "2d")]
pub(super) fn soft_only(_: &Context) {}

#[celeriac::task()]
pub(super) fn none() {}

mod renamed {
    pub(super) use celeriac::__private;
}

#[celeriac::task(time_limit = "1s", crate = "renamed")]
pub(super) fn elsewhere() {}

#[test]
fn each_option_arrives() {
    let options = everything::DEFINITION.options;
    assert_eq!(everything::DEFINITION.name, "shop.charge");
    assert_eq!(options.queue, Some("money"));
    assert_eq!(options.retry.retries, 5);
    assert_eq!(
        options.retry.backoff,
        Backoff::Exponential(Duration::from_secs(2), Duration::from_secs(600))
    );
    assert!(!options.retry.jitter);
    assert_eq!(
        options.retry.on,
        RetryOn {
            error: true,
            panic: true,
            time_limit: true,
            lost: true
        }
    );
    assert_eq!(options.limits.hard, Some(Duration::from_secs(30)));
    assert_eq!(options.limits.soft, Some(Duration::from_secs(25)));
    assert_eq!(options.ack, AckProfile::Early);
    assert_eq!(
        options.rate_limit,
        Some(RateLimit {
            count: 10,
            per: Duration::from_secs(60)
        })
    );
    assert_eq!(options.priority, 9);
    assert_eq!(options.expires, Some(Duration::from_secs(5400)));
    assert_eq!(
        options.results,
        ResultPolicy::Keep(Duration::from_secs(3600))
    );
}

#[test]
fn each_option_has_its_other_forms() {
    let fixed = fixed::DEFINITION.options;
    assert_eq!(
        fixed.retry.backoff,
        Backoff::Fixed(Duration::from_millis(500))
    );
    assert_eq!(
        fixed.retry.on,
        RetryOn {
            error: false,
            panic: false,
            time_limit: false,
            lost: true
        }
    );
    assert_eq!(fixed.results, ResultPolicy::Ignore);
    assert!(fixed.retry.jitter);

    let exponential = exponential::DEFINITION.options;
    assert_eq!(exponential.retry.backoff, Backoff::EXPONENTIAL);
    assert_eq!(exponential.ack, AckProfile::Reliable);
    assert_eq!(exponential.rate_limit.unwrap(), "7/s".parse().unwrap());

    let soft = soft_only::DEFINITION.options.limits;
    assert_eq!(
        (soft.soft, soft.hard),
        (Some(Duration::from_secs(172_800)), None)
    );
    let elsewhere = elsewhere::DEFINITION.options.limits;
    assert_eq!(elsewhere.hard, Some(Duration::from_secs(1)));
    assert_eq!(times::DEFINITION.options.retry.retries, 4);
}

#[test]
fn no_option_means_the_defaults() {
    assert_eq!(
        format!("{:?}", none::DEFINITION.options),
        format!("{:?}", TaskOptions::DEFAULT)
    );
    assert_eq!(
        format!("{:?}", functions::is_prime::DEFINITION.options),
        format!("{:?}", TaskOptions::DEFAULT)
    );
}
