//! What a task returns, and how it fails.

use std::io;
use std::time::Duration;

use celeriac::core::task::call_typed;
use celeriac::core::{Context, Control, ErrorKind, Interrupt, Outcome, Retry, RetryAdvice, TaskId};
use serde::{Deserialize, Serialize};

use super::{finish, run, run_json};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Receipt {
    pub(super) cents: u64,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ChargeError {
    #[error("card refused")]
    Refused,
    #[error("no line")]
    NoLine(#[source] io::Error),
}

impl ChargeError {
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::NoLine(_))
    }
}

fn charge_now(order: u64) -> Result<Receipt, ChargeError> {
    match order {
        0 => Err(ChargeError::Refused),
        1 => Err(ChargeError::NoLine(io::Error::other("cut"))),
        order => Ok(Receipt { cents: order * 100 }),
    }
}

#[celeriac::task(retries = 5, retry_if = ChargeError::is_transient)]
pub(super) async fn charge(context: &Context, order: u64) -> Result<Receipt, ChargeError> {
    let _ = context;
    charge_now(order)
}

#[celeriac::task(retries = 1, retry_if = |error| matches!(error, ChargeError::Refused))]
pub(super) fn charge_by_closure(order: u64) -> Result<Receipt, ChargeError> {
    charge_now(order)
}

#[celeriac::task]
pub(super) fn by_alias(text: &str) -> io::Result<u32> {
    text.parse().map_err(io::Error::other)
}

pub(super) type Boxed = Box<dyn std::error::Error + Send + Sync>;

#[celeriac::task]
pub(super) fn boxed(ask: bool) -> std::result::Result<(), Boxed> {
    if ask {
        return Err(Retry::after(Duration::from_secs(2)).because("busy").into());
    }
    Err("plain words".into())
}

#[celeriac::task]
pub(super) fn by_text() -> Result<Vec<u8>, &'static str> {
    Err("no")
}

#[celeriac::task]
pub(super) async fn stops(context: &Context) -> Result<(), celeriac::Interrupted> {
    context.check()
}

#[celeriac::task]
pub(super) fn panics(n: u32) -> u32 {
    assert!(n > 0, "n is nothing");
    n
}

#[celeriac::task]
pub(super) async fn panics_later(n: u32) -> u32 {
    tokio::task::yield_now().await;
    panics(n)
}

#[test]
fn a_result_gives_the_value_of_its_ok() {
    assert_eq!(run(charge::call(3)), Ok(Receipt { cents: 300 }));
    assert_eq!(run(by_alias::call("5")), Ok(5));
    assert_eq!(
        run_json::<charge>(r"[[3],{},{}]").unwrap(),
        r#"{"cents":300}"#
    );
}

#[test]
fn an_error_keeps_its_type_message_and_causes() {
    let error = run(charge::call(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert_eq!(error.type_name(), "ChargeError");
    assert_eq!(error.message(), "no line");
    assert_eq!(error.causes(), ["cut"]);
    assert_eq!(
        run(boxed::call(false)).unwrap_err().message(),
        "plain words"
    );
    assert_eq!(run(by_text::call()).unwrap_err().message(), "no");
}

#[test]
fn an_error_of_celeriac_keeps_its_meaning() {
    let asked = run(boxed::call(true)).unwrap_err();
    assert_eq!(asked.advice(), RetryAdvice::After(Duration::from_secs(2)));

    let control = Control::new();
    control.interrupt(Interrupt::Cancelled);
    let context = Context::new(TaskId::new(), 1, None, control);
    let stopped = finish(call_typed::<stops>([], &context)).unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Cancelled);
}

#[test]
fn retry_if_sees_the_typed_error() {
    let advice = |outcome: Outcome<Receipt>| outcome.unwrap_err().advice();
    assert_eq!(advice(run(charge::call(0))), RetryAdvice::Never);
    assert_eq!(advice(run(charge::call(1))), RetryAdvice::Policy);
    assert_eq!(advice(run(charge_by_closure::call(0))), RetryAdvice::Policy);
    assert_eq!(advice(run(charge_by_closure::call(1))), RetryAdvice::Never);
}

#[test]
fn a_panic_is_an_outcome_now_and_later() {
    for outcome in [run(panics::call(0)), run(panics_later::call(0))] {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panicked);
        assert_eq!(error.message(), "n is nothing");
    }
    assert_eq!(run(panics_later::call(1)), Ok(1));
}
