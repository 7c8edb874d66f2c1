//! The options of `#[task]`, read and checked.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Expr, Path, parse_quote};

use crate::duration;
use crate::errors::Errors;
use crate::given::{self, Given};

/// Every option, with an example of its use.
const KNOWN: &given::Known = &[
    ("name", r#"name = "shop.charge""#),
    ("queue", r#"queue = "money""#),
    ("retries", "retries = 5"),
    ("backoff", r#"backoff = "exponential(1s, 10m)""#),
    ("jitter", "jitter = false"),
    ("retry_on", r#"retry_on = "error | lost""#),
    ("retry_if", "retry_if = ChargeError::is_transient"),
    ("time_limit", r#"time_limit = "30s""#),
    ("soft_time_limit", r#"soft_time_limit = "25s""#),
    ("ack", r#"ack = "early""#),
    ("rate_limit", r#"rate_limit = "10/s""#),
    ("priority", "priority = 3"),
    ("expires", r#"expires = "1h""#),
    ("results", r#"results = "keep(1h)""#),
    ("crate", r#"crate = "::celeriac""#),
];

/// The longest name of a queue or task, in bytes: AMQP's limit for a short string.
const MAX_NAME_BYTES: usize = 255;

/// The options of one task; what is not given is left to `TaskOptions::DEFAULT`.
#[derive(Default)]
pub(crate) struct Options {
    /// The name it is sent by, if not its path.
    pub(crate) name: Option<String>,
    /// Which errors are retried, if not all.
    pub(crate) retry_if: Option<Expr>,
    krate: Option<Path>,
    queue: Option<String>,
    retry: Vec<TokenStream>,
    limits: Vec<TokenStream>,
    rest: Vec<TokenStream>,
}

impl Options {
    /// Reads the attribute's tokens; what is wrong with them is added to `errors`.
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let given = given::parse(tokens, KNOWN, errors);
        let mut options = Self::default();
        // First where celeriac is, which the others name.
        let (first, others): (Vec<_>, Vec<_>) =
            given.iter().partition(|option| option.key == "crate");
        for option in first.into_iter().chain(others) {
            errors.take(options.set(option));
        }
        errors.take(check_retries(&given));
        errors.take(check_limits(&given));
        options
    }

    /// The path of `celeriac_core`.
    pub(crate) fn core(&self) -> TokenStream {
        let krate = self.krate();
        quote!(#krate::__private::core)
    }

    /// The path of the facade.
    pub(crate) fn krate(&self) -> Path {
        self.krate
            .clone()
            .unwrap_or_else(|| parse_quote!(::celeriac))
    }

    /// The `TaskOptions` as an expression.
    pub(crate) fn expression(&self) -> TokenStream {
        let core = self.core();
        let queue = self
            .queue
            .iter()
            .map(|queue| quote!(queue: ::core::option::Option::Some(#queue),));
        let retry = group(
            &self.retry,
            "retry",
            &quote!(#core::policy::RetryPolicy),
            "NONE",
        );
        let limits = group(
            &self.limits,
            "limits",
            &quote!(#core::executor::Limits),
            "NONE",
        );
        let rest = &self.rest;
        quote! {
            #core::task::TaskOptions {
                #(#queue)*
                #retry
                #limits
                #(#rest,)*
                ..#core::task::TaskOptions::DEFAULT
            }
        }
    }

    fn set(&mut self, given: &Given) -> syn::Result<()> {
        let core = self.core();
        match given.key.to_string().as_str() {
            "crate" => self.krate = Some(given.path()?),
            "name" => self.name = Some(name(given)?),
            "queue" => self.queue = Some(name(given)?),
            "retries" => {
                let retries = given.number(0, u32::MAX)?;
                self.retry.push(quote!(retries: #retries));
            }
            "backoff" => {
                let backoff = backoff(given)?;
                self.retry
                    .push(quote!(backoff: #core::policy::Backoff::#backoff));
            }
            "jitter" => {
                let jitter = given.flag()?;
                self.retry.push(quote!(jitter: #jitter));
            }
            "retry_on" => {
                let on = retry_on(given)?;
                self.retry.push(quote!(on: #core::policy::RetryOn { #on }));
            }
            "retry_if" => self.retry_if = Some(given.value.clone()),
            "time_limit" => {
                let limit = some(duration::expression(positive(given)?));
                self.limits.push(quote!(hard: #limit));
            }
            "soft_time_limit" => {
                let limit = some(duration::expression(positive(given)?));
                self.limits.push(quote!(soft: #limit));
            }
            "ack" => {
                let profile = ack(given)?;
                self.rest
                    .push(quote!(ack: #core::policy::AckProfile::#profile));
            }
            "rate_limit" => {
                let (count, seconds) = rate_limit(given)?;
                let limit = some(quote! {
                    #core::policy::RateLimit {
                        count: #count,
                        per: ::core::time::Duration::from_secs(#seconds),
                    }
                });
                self.rest.push(quote!(rate_limit: #limit));
            }
            "priority" => {
                let priority = u8::try_from(given.number(0, 9)?).expect("it is at most 9");
                self.rest.push(quote!(priority: #priority));
            }
            "expires" => {
                let after = some(duration::expression(positive(given)?));
                self.rest.push(quote!(expires: #after));
            }
            "results" => {
                let results = results(given)?;
                self.rest
                    .push(quote!(results: #core::policy::ResultPolicy::#results));
            }
            other => unreachable!("`{other}` is in the table of options but is not read"),
        }
        Ok(())
    }
}

fn some(value: impl ToTokens) -> TokenStream {
    quote!(::core::option::Option::Some(#value))
}

/// One field that is a struct of its own, if any of its fields is given.
fn group(fields: &[TokenStream], name: &str, ty: &TokenStream, rest: &str) -> Option<TokenStream> {
    let name = quote::format_ident!("{name}");
    let rest = quote::format_ident!("{rest}");
    (!fields.is_empty()).then(|| quote!(#name: #ty { #(#fields,)* ..#ty::#rest },))
}

/// A name as `QueueName` takes it.
fn name(given: &Given) -> syn::Result<String> {
    let name = given.text()?;
    if name.is_empty() {
        return Err(given.wrong("must not be empty"));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(given.error(format!(
            "`{}` has at most {MAX_NAME_BYTES} bytes, this one has {}",
            given.key,
            name.len()
        )));
    }
    match name.chars().find(|c| c.is_control() || *c == ',') {
        Some(bad) => Err(given.wrong(&format!("must not hold the character {bad:?}"))),
        None => Ok(name),
    }
}

fn duration(given: &Given, text: &str) -> syn::Result<Duration> {
    duration::parse(text).map_err(|message| given.error(message))
}

fn positive(given: &Given) -> syn::Result<Duration> {
    let duration = duration(given, &given.text()?)?;
    if duration.is_zero() {
        return Err(given.wrong("must be longer than nothing"));
    }
    Ok(duration)
}

/// The arguments of `word(a, b)`, none for the mere word.
fn call<'a>(text: &'a str, word: &str) -> Option<Vec<&'a str>> {
    let rest = text.trim().strip_prefix(word)?.trim_start();
    if rest.is_empty() {
        return Some(Vec::new());
    }
    let inner = rest.strip_prefix('(')?.strip_suffix(')')?;
    Some(inner.split(',').collect())
}

fn backoff(given: &Given) -> syn::Result<TokenStream> {
    let text = given.text()?;
    if let Some(arguments) = call(&text, "exponential") {
        if arguments.is_empty() {
            return Ok(quote!(EXPONENTIAL));
        }
        if let [first, most] = arguments[..] {
            let (first, most) = (duration(given, first)?, duration(given, most)?);
            if first > most {
                return Err(given
                    .error("the first delay of `backoff` is longer than its longest; swap them"));
            }
            let (first, most) = (duration::expression(first), duration::expression(most));
            return Ok(quote!(Exponential(#first, #most)));
        }
    }
    if let Some([delay]) = call(&text, "fixed").as_deref() {
        let delay = duration::expression(duration(given, delay)?);
        return Ok(quote!(Fixed(#delay)));
    }
    Err(given.error(format!(
        "`{text}` is no back-off; write \"exponential\", \"exponential(1s, 10m)\" or \"fixed(5s)\""
    )))
}

fn retry_on(given: &Given) -> syn::Result<TokenStream> {
    const KINDS: [&str; 4] = ["error", "panic", "time_limit", "lost"];
    let text = given.text()?;
    let kinds: Vec<_> = text.split('|').map(str::trim).collect();
    if let Some(unknown) = kinds.iter().find(|kind| !KINDS.contains(kind)) {
        return Err(given.error(format!(
            "`{unknown}` is no kind of failure; write one or more of \"error | panic | time_limit \
             | lost\""
        )));
    }
    let fields = KINDS.map(|kind| {
        let (name, on) = (quote::format_ident!("{kind}"), kinds.contains(&kind));
        quote!(#name: #on)
    });
    Ok(quote!(#(#fields),*))
}

fn ack(given: &Given) -> syn::Result<TokenStream> {
    match given.text()?.as_str() {
        "reliable" => Ok(quote!(Reliable)),
        "early" => Ok(quote!(Early)),
        _ => Err(given.error("`ack` is \"reliable\" or \"early\"")),
    }
}

/// How many starts, and in how many seconds; written as in Celery.
fn rate_limit(given: &Given) -> syn::Result<(u32, u64)> {
    let text = given.text()?;
    let (count, unit) = text.split_once('/').unwrap_or((&text, "s"));
    let seconds = match unit.trim() {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        _ => None,
    };
    let count = count.trim().parse().ok().filter(|count| *count > 0);
    count.zip(seconds).ok_or_else(|| {
        given.error(format!(
            "`{text}` is no rate limit; write a number and a unit, such as 10/s, 100/m or 5/h"
        ))
    })
}

fn results(given: &Given) -> syn::Result<TokenStream> {
    let text = given.text()?;
    if text == "ignore" {
        return Ok(quote!(Ignore));
    }
    if let Some([keep]) = call(&text, "keep").as_deref() {
        let keep = duration::expression(duration(given, keep)?);
        return Ok(quote!(Keep(#keep)));
    }
    Err(given.error(format!(
        "`{text}` says nothing about results; write \"ignore\" or \"keep(1h)\""
    )))
}

fn find<'a>(given: &'a [Given], name: &str) -> Option<&'a Given> {
    given.iter().find(|option| option.key == name)
}

/// Rules for retries without retries are a mistake worth a word.
fn check_retries(given: &[Given]) -> syn::Result<()> {
    if find(given, "retries").is_some() {
        return Ok(());
    }
    let idle = ["backoff", "jitter", "retry_on", "retry_if"]
        .iter()
        .find_map(|name| find(given, name));
    match idle {
        Some(idle) => Err(syn::Error::new_spanned(
            &idle.key,
            format!(
                "`{}` has no effect without `retries`; add `retries = 5`",
                idle.key
            ),
        )),
        None => Ok(()),
    }
}

/// A soft limit must leave time before the hard one.
fn check_limits(given: &[Given]) -> syn::Result<()> {
    let (Some(soft), Some(hard)) = (find(given, "soft_time_limit"), find(given, "time_limit"))
    else {
        return Ok(());
    };
    // What is no duration has its own error.
    match (positive(soft), positive(hard)) {
        (Ok(soft_limit), Ok(hard_limit)) if soft_limit >= hard_limit => Err(soft.error(
            "`soft_time_limit` must be shorter than `time_limit`, so that the task has time to \
             stop by itself",
        )),
        _ => Ok(()),
    }
}
