//! Errors, panics and retries.

use celeriac::ErrorKind;
use celeriac::prelude::*;

use super::charge;
use crate::support::Site;

#[celeriac::task]
fn explode(n: u64) -> u64 {
    assert!(n != 3, "three is too much");
    n
}

/// Fails until its attempt number `good`.
#[celeriac::task(retries = 3, backoff = "fixed(1ms)")]
fn flaky(context: &Context, good: u32) -> Result<u32, String> {
    if context.attempt() < good {
        return Err(format!("attempt {} is too early", context.attempt()));
    }
    Ok(context.attempt())
}

#[celeriac::task(retries = 5, backoff = "fixed(1ms)")]
fn hopeless(context: &Context) -> Result<(), Retry> {
    Err(Retry::never().because(format!("attempt {}", context.attempt())))
}

pub(crate) async fn an_error_keeps_its_type_message_and_cause(site: Site) {
    let mut handle = site.app().send(charge::call(7)).await.unwrap();
    let error = handle.get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert_eq!(error.type_name(), "ChargeError");
    assert_eq!(error.message(), "cannot charge order 7");
    assert_eq!(error.causes(), ["card refused"]);
}

pub(crate) async fn a_panic_costs_its_own_call_only(site: Site) {
    let mut map = site.app().map::<explode>(0..10);
    for n in 0..10 {
        match map.next().await.unwrap() {
            Ok(value) => assert_eq!(value, n),
            Err(error) => {
                assert_eq!((n, error.kind()), (3, ErrorKind::Panicked));
                assert!(error.message().contains("three is too much"), "{error}");
            }
        }
    }
}

pub(crate) async fn a_failed_call_is_retried_until_it_succeeds(site: Site) {
    let mut handle = site.app().send(flaky::call(3)).await.unwrap();
    assert_eq!(handle.get().await.unwrap(), 3);
    let attempts: Vec<u32> = site
        .app()
        .map::<flaky>([1, 2, 3, 4])
        .collect()
        .await
        .unwrap();
    assert_eq!(attempts, [1, 2, 3, 4]);
}

pub(crate) async fn retries_end_with_the_last_error(site: Site) {
    let mut handle = site.app().send(flaky::call(9)).await.unwrap();
    assert_eq!(
        handle.get().await.unwrap_err().message(),
        "attempt 4 is too early"
    );
    let mut handle = site.app().send(hopeless::call()).await.unwrap();
    assert_eq!(handle.get().await.unwrap_err().message(), "attempt 1");
}
