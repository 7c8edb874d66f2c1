//! What `#[task]` makes of a function.
#![allow(
    clippy::needless_pass_by_value,
    reason = "a task may take any argument by value, and here each form is tried"
)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use celeriac::core::registry::TASKS;
use celeriac::core::task::call_typed;
use celeriac::core::{
    AckProfile, Backoff, ContentType, Context, Control, ErrorKind, Interrupt, Outcome, QueueName,
    RateLimit, Registry, ResultPolicy, Retry, RetryAdvice, RetryOn, Run, Signature, Task, TaskId,
    TaskOptions,
};
use serde::{Deserialize, Serialize};

fn context() -> Context {
    Context::new(TaskId::new(), 3, None, Control::new())
}

fn block_on<V>(future: impl Future<Output = V>) -> V {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

fn finish<V>(run: Run<V>) -> V {
    match run {
        Run::Ready(value) => value,
        Run::Pending(future) => block_on(future),
    }
}

/// Runs a signature here and now.
fn run<T: Task>(signature: Signature<T>) -> Outcome<T::Output> {
    finish(call_typed::<T>(signature.args, &context()))
}

/// Runs the task with a body as a broker brings it.
fn run_json<T: Task>(body: &str) -> Outcome<String> {
    let call = T::DEFINITION.call;
    finish(call(ContentType::Json, body.as_bytes(), &context()))
        .map(|bytes| String::from_utf8(bytes).unwrap())
}

mod functions {
    use super::*;

    /// Whether `n` is a prime.
    #[celeriac::task]
    pub(super) fn is_prime(n: u64) -> bool {
        n > 1 && (2..n).all(|d| !n.is_multiple_of(d))
    }

    #[celeriac::task]
    pub(super) fn nothing() {}

    #[celeriac::task]
    pub(super) async fn nothing_later() {
        tokio::task::yield_now().await;
    }

    #[celeriac::task]
    pub(super) fn lent(
        text: &str,
        bytes: &[u8],
        path: &Path,
        map: &BTreeMap<String, u8>,
    ) -> String {
        format!("{text} {bytes:?} {} {map:?}", path.display())
    }

    #[celeriac::task]
    pub(super) async fn lent_later(text: &str, numbers: &[u32], path: &std::path::Path) -> String {
        tokio::task::yield_now().await;
        format!("{text} {numbers:?} {}", path.display())
    }

    #[celeriac::task]
    pub(super) fn cows(a: Cow<'_, str>, b: Cow<str>, c: Cow<'static, [u8]>) -> usize {
        a.len() + b.len() + c.len()
    }

    #[celeriac::task]
    pub(super) fn patterns(mut first: u32, _: u32, arg4: u32, _: u32, _unused: &str) -> u32 {
        first += 1;
        first * arg4
    }

    #[celeriac::task]
    pub(super) fn pair(pair: (u32, u32)) -> u32 {
        pair.0 + pair.1
    }

    #[celeriac::task]
    pub(super) fn first_context(context: &Context, n: u32) -> u32 {
        context.attempt() + n
    }

    #[celeriac::task]
    pub(super) fn owned_context(n: u32, context: celeriac::Context) -> u32 {
        context.attempt() + n
    }

    #[celeriac::task]
    pub(super) async fn context_later(n: u32, cx: &celeriac::Context, m: u32) -> u32 {
        tokio::task::yield_now().await;
        cx.attempt() + n + m
    }

    #[celeriac::task]
    pub(super) async fn owned_context_later(context: Context) -> u32 {
        context.attempt()
    }

    #[celeriac::task]
    #[allow(
        clippy::many_single_char_names,
        clippy::too_many_arguments,
        reason = "the most there can be"
    )]
    pub(super) fn many(
        a: u8,
        b: u8,
        c: u8,
        d: u8,
        e: u8,
        f: u8,
        g: u8,
        h: u8,
        i: u8,
        j: u8,
        k: u8,
        l: u8,
        m: u8,
        n: u8,
        o: u8,
        p: u8,
        context: &Context,
    ) -> u32 {
        context.attempt()
            + [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
                .map(u32::from)
                .iter()
                .sum::<u32>()
    }

    #[celeriac::task]
    pub(super) fn r#match(r#type: u8) -> u8 {
        r#type
    }

    // One task of each kind of name is enough to show what it is called.
    #[cfg(any())]
    #[celeriac::task]
    pub(super) fn absent() {}

    #[celeriac::task]
    #[cfg(any())]
    pub(super) fn absent_below() {}
}

mod results {
    use super::*;

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
}

mod options {
    use celeriac::Context;

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
}

macro_rules! doubles {
    ($name:ident, $ty:ty, $retries:literal) => {
        #[celeriac::task(retries = $retries)]
        fn $name(value: $ty, by: &$ty) -> $ty {
            value * by
        }
    };
}

doubles!(times, u32, 4);

#[test]
fn the_function_stays_callable_as_written() {
    assert!(functions::is_prime(7));
    let map = BTreeMap::new();
    assert_eq!(
        functions::lent("a", &[1], Path::new("/x"), &map),
        "a [1] /x {}"
    );
    assert_eq!(
        block_on(functions::lent_later("a", &[1], Path::new("/x"))),
        "a [1] /x"
    );
    assert_eq!(functions::patterns(1, 2, 3, 4, "x"), 6);
    assert_eq!(functions::r#match(1), 1);
    assert!(results::by_alias("x").is_err());
    let pointer: fn(u64) -> bool = functions::is_prime;
    assert!(pointer(2));
}

#[test]
fn a_signature_is_typed_and_runs() {
    let signature: Signature<functions::is_prime> = functions::is_prime::call(7);
    assert_eq!(signature.args, (7,));
    assert_eq!(run(signature), Ok(true));
    assert_eq!(run(functions::nothing::call()), Ok(()));
    assert_eq!(run(functions::nothing_later::call()), Ok(()));
    assert_eq!(run(functions::pair::call((1, 2))), Ok(3));
    assert_eq!(run(functions::r#match::call(4)), Ok(4));
    assert_eq!(run(times::call(3, 4)), Ok(12));
}

#[test]
fn what_is_lent_travels_owned_and_is_taken_in_any_form() {
    let map = BTreeMap::from([("k".to_owned(), 1)]);
    let signature = functions::lent::call("text", vec![1, 2], "/a/b", map);
    let args: &(String, Vec<u8>, PathBuf, BTreeMap<String, u8>) = &signature.args;
    assert_eq!(args.2, Path::new("/a/b"));
    assert_eq!(run(signature).unwrap(), r#"text [1, 2] /a/b {"k": 1}"#);

    let later = functions::lent_later::call("text".to_owned(), [1, 2], PathBuf::from("/a"));
    assert_eq!(run(later).unwrap(), "text [1, 2] /a");

    let cows = functions::cows::call("ab", "cde".to_owned(), &b"x"[..]);
    assert_eq!(run(cows), Ok(6));
}

#[test]
fn a_context_may_stand_anywhere_and_does_not_travel() {
    assert_eq!(run(functions::first_context::call(4)), Ok(7));
    assert_eq!(run(functions::owned_context::call(4)), Ok(7));
    assert_eq!(run(functions::context_later::call(4, 5)), Ok(12));
    assert_eq!(run(functions::owned_context_later::call()), Ok(3));
    for (wants, definition) in [
        (true, functions::first_context::DEFINITION),
        (true, functions::owned_context::DEFINITION),
        (true, functions::owned_context_later::DEFINITION),
        (false, functions::is_prime::DEFINITION),
    ] {
        assert_eq!(definition.wants_context, wants, "{definition:?}");
    }
    assert_eq!(functions::context_later::DEFINITION.parameters, ["n", "m"]);
}

#[test]
fn sixteen_arguments_and_a_context_are_taken() {
    let signature = functions::many::call(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1);
    assert_eq!(run(signature), Ok(19));
}

#[test]
fn parameters_have_names_and_made_up_ones_are_not_taken_twice() {
    assert_eq!(
        functions::patterns::DEFINITION.parameters,
        ["first", "arg2", "arg4", "arg4_", "_unused"]
    );
    assert_eq!(functions::r#match::DEFINITION.parameters, ["type"]);
    assert_eq!(run(functions::patterns::call(1, 2, 3, 4, "")), Ok(6));
}

#[test]
fn the_input_is_the_argument_itself_if_there_is_one_and_else_a_tuple() {
    fn args<T: Task>(input: T::Input) -> T::Args {
        T::args(input)
    }
    assert_eq!(args::<functions::is_prime>(7), (7,));
    assert_eq!(args::<functions::pair>((1, 2)), ((1, 2),));
    assert_eq!(args::<times>((1, 2)), (1, 2));
    args::<functions::nothing>(());
}

#[test]
fn arguments_come_by_position_and_by_name() {
    for body in [
        r"[[4,5],{},{}]",
        r#"[[4],{"m":5},{}]"#,
        r#"[[],{"m":5,"n":4},{"chain":null}]"#,
    ] {
        assert_eq!(
            run_json::<functions::context_later>(body).unwrap(),
            "12",
            "{body}"
        );
    }
    let lent = r#"[["t"],{"path":"/p","bytes":[1],"map":{"k":2}},null]"#;
    assert_eq!(
        run_json::<functions::lent>(lent).unwrap(),
        r#""t [1] /p {\"k\": 2}""#
    );
    assert_eq!(
        run_json::<functions::pair>(r"[[[1,2]],{},{}]").unwrap(),
        "3"
    );
    assert_eq!(
        run_json::<functions::r#match>(r#"[[],{"type":1},{}]"#).unwrap(),
        "1"
    );
    assert_eq!(
        run_json::<functions::nothing>(r"[[],{},{}]").unwrap(),
        "null"
    );
}

#[test]
fn no_arguments_travel_as_an_empty_list_in_both_content_types() {
    let args = functions::nothing::call().args;
    let body = celeriac::core::task::encode_body(ContentType::Json, &args).unwrap();
    assert!(body.bytes.starts_with(b"[[],{},"), "{body:?}");
    for content_type in [ContentType::Json, ContentType::Msgpack] {
        let body = celeriac::core::task::encode_body(content_type, &args).unwrap();
        let call = functions::nothing::DEFINITION.call;
        assert!(finish(call(content_type, &body.bytes, &context())).is_ok());
    }
}

#[test]
fn arguments_that_do_not_fit_are_refused_with_the_signature() {
    let error = run_json::<functions::context_later>(r"[[1],{},{}]").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadArguments);
    assert_eq!(
        error.message(),
        "the arguments do not fit context_later(n: u32, m: u32) -> u32: `m` is missing; it takes 2 \
         arguments"
    );
}

#[test]
fn signatures_read_as_written() {
    for (definition, text) in [
        (functions::is_prime::DEFINITION, "is_prime(n: u64) -> bool"),
        (functions::nothing::DEFINITION, "nothing()"),
        (
            functions::lent::DEFINITION,
            "lent(text: &str, bytes: &[u8], path: &Path, map: &BTreeMap<String, u8>) -> String",
        ),
        (
            functions::cows::DEFINITION,
            "cows(a: Cow<'_, str>, b: Cow<str>, c: Cow<'static, [u8]>) -> usize",
        ),
        (functions::r#match::DEFINITION, "match(type: u8) -> u8"),
        (results::charge::DEFINITION, "charge(order: u64) -> Receipt"),
        (results::by_alias::DEFINITION, "by_alias(text: &str) -> u32"),
        (results::boxed::DEFINITION, "boxed(ask: bool)"),
        (times::DEFINITION, "times(value: u32, by: &u32) -> u32"),
    ] {
        assert_eq!(definition.signature, text);
    }
}

#[test]
fn a_result_gives_the_value_of_its_ok() {
    assert_eq!(
        run(results::charge::call(3)),
        Ok(results::Receipt { cents: 300 })
    );
    assert_eq!(run(results::by_alias::call("5")), Ok(5));
    assert_eq!(
        run_json::<results::charge>(r"[[3],{},{}]").unwrap(),
        r#"{"cents":300}"#
    );
}

#[test]
fn an_error_keeps_its_type_message_and_causes() {
    let error = run(results::charge::call(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert_eq!(error.type_name(), "ChargeError");
    assert_eq!(error.message(), "no line");
    assert_eq!(error.causes(), ["cut"]);
    assert_eq!(
        run(results::boxed::call(false)).unwrap_err().message(),
        "plain words"
    );
    assert_eq!(run(results::by_text::call()).unwrap_err().message(), "no");
}

#[test]
fn an_error_of_celeriac_keeps_its_meaning() {
    let asked = run(results::boxed::call(true)).unwrap_err();
    assert_eq!(asked.advice(), RetryAdvice::After(Duration::from_secs(2)));

    let control = Control::new();
    control.interrupt(Interrupt::Cancelled);
    let context = Context::new(TaskId::new(), 1, None, control);
    let stopped = finish(call_typed::<results::stops>([], &context)).unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Cancelled);
}

#[test]
fn retry_if_sees_the_typed_error() {
    let advice = |outcome: Outcome<results::Receipt>| outcome.unwrap_err().advice();
    assert_eq!(advice(run(results::charge::call(0))), RetryAdvice::Never);
    assert_eq!(advice(run(results::charge::call(1))), RetryAdvice::Policy);
    assert_eq!(
        advice(run(results::charge_by_closure::call(0))),
        RetryAdvice::Policy
    );
    assert_eq!(
        advice(run(results::charge_by_closure::call(1))),
        RetryAdvice::Never
    );
}

#[test]
fn a_panic_is_an_outcome_now_and_later() {
    for outcome in [
        run(results::panics::call(0)),
        run(results::panics_later::call(0)),
    ] {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panicked);
        assert_eq!(error.message(), "n is nothing");
    }
    assert_eq!(run(results::panics_later::call(1)), Ok(1));
}

#[test]
fn async_tasks_are_known_as_such() {
    assert!(results::charge::DEFINITION.is_async);
    assert!(!functions::is_prime::DEFINITION.is_async);
}

#[test]
fn each_option_arrives() {
    let options = options::everything::DEFINITION.options;
    assert_eq!(options::everything::DEFINITION.name, "shop.charge");
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
    let fixed = options::fixed::DEFINITION.options;
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

    let exponential = options::exponential::DEFINITION.options;
    assert_eq!(exponential.retry.backoff, Backoff::EXPONENTIAL);
    assert_eq!(exponential.ack, AckProfile::Reliable);
    assert_eq!(exponential.rate_limit.unwrap(), "7/s".parse().unwrap());

    let soft = options::soft_only::DEFINITION.options.limits;
    assert_eq!(
        (soft.soft, soft.hard),
        (Some(Duration::from_secs(172_800)), None)
    );
    let elsewhere = options::elsewhere::DEFINITION.options.limits;
    assert_eq!(elsewhere.hard, Some(Duration::from_secs(1)));
    assert_eq!(times::DEFINITION.options.retry.retries, 4);
}

#[test]
fn no_option_means_the_defaults() {
    assert_eq!(
        format!("{:?}", options::none::DEFINITION.options),
        format!("{:?}", TaskOptions::DEFAULT)
    );
    assert_eq!(
        format!("{:?}", functions::is_prime::DEFINITION.options),
        format!("{:?}", TaskOptions::DEFAULT)
    );
}

#[test]
fn a_task_is_named_by_its_path_with_dots() {
    #[celeriac::task]
    fn inner() {}

    assert_eq!(
        functions::is_prime::DEFINITION.name,
        "it.macros.functions.is_prime"
    );
    assert_eq!(
        functions::r#match::DEFINITION.name,
        "it.macros.functions.match"
    );
    assert_eq!(times::DEFINITION.name, "it.macros.times");
    assert_eq!(inner::DEFINITION.name, "it.macros.inner");
    assert_eq!(run(inner::call()), Ok(()));
}

#[test]
fn every_task_is_registered_once() {
    let registry = Registry::collect().unwrap();
    let task = registry.get("shop.charge").unwrap();
    assert!(std::ptr::eq(task, options::everything::DEFINITION));
    let names = registry.names();
    for name in [
        "it.macros.functions.is_prime",
        "it.macros.options.elsewhere",
        "it.macros.times",
    ] {
        assert!(
            names.iter().any(|other| other == name),
            "{name} is not among {names:?}"
        );
    }
    assert!(
        !names.iter().any(|name| name.contains("absent")),
        "{names:?}"
    );
    assert_eq!(TASKS.len(), names.len());
}

#[test]
fn a_queue_the_attribute_took_is_a_queue_name() {
    for task in TASKS {
        if let Some(queue) = task.options.queue {
            assert_eq!(QueueName::new(queue).unwrap().as_str(), queue);
        }
    }
}

#[test]
fn what_must_not_compile_says_why() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
