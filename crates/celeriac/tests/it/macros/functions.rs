//! Functions of every form, and what stands beside them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use celeriac::core::{Context, Signature};

use super::{block_on, results, run, times};

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
pub(super) fn lent(text: &str, bytes: &[u8], path: &Path, map: &BTreeMap<String, u8>) -> String {
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

#[test]
fn the_function_stays_callable_as_written() {
    assert!(is_prime(7));
    let map = BTreeMap::new();
    assert_eq!(lent("a", &[1], Path::new("/x"), &map), "a [1] /x {}");
    assert_eq!(block_on(lent_later("a", &[1], Path::new("/x"))), "a [1] /x");
    assert_eq!(patterns(1, 2, 3, 4, "x"), 6);
    assert_eq!(r#match(1), 1);
    assert!(results::by_alias("x").is_err());
    let pointer: fn(u64) -> bool = is_prime;
    assert!(pointer(2));
}

#[test]
fn a_signature_is_typed_and_runs() {
    let signature: Signature<is_prime> = is_prime::call(7);
    assert_eq!(signature.args, (7,));
    assert_eq!(run(signature), Ok(true));
    assert_eq!(run(nothing::call()), Ok(()));
    assert_eq!(run(nothing_later::call()), Ok(()));
    assert_eq!(run(pair::call((1, 2))), Ok(3));
    assert_eq!(run(r#match::call(4)), Ok(4));
    assert_eq!(run(times::call(3, 4)), Ok(12));
}
