//! The attributes of celeriac: `#[task]` makes a function a task, `#[main]` reports how a program
//! ended.
//!
//! # Invariants
//!
//! - The function is left exactly as written, unless it has no body; the expansion only adds to it.
//! - Expansions name nothing but the facade's paths and `::core`/`::std`, so that a user depends on
//!   `celeriac` alone.
#![forbid(unsafe_code)]

mod arguments;
mod duration;
mod elsewhere;
mod entry;
mod errors;
mod expand;
mod given;
mod implementation;
mod options;
mod pretty;
mod returns;
mod task_type;

use proc_macro::TokenStream;

/// Makes a free `fn` or `async fn` a task.
///
/// The function stays callable as written. Beside it, in the namespace of types, stands an empty
/// enum of its name that implements `Task`, and `NAME::call(arguments…)` is a typed signature.
///
/// ```text
/// #[celeriac::task(retries = 5, time_limit = "30s", queue = "money")]
/// async fn charge(context: &Context, order: u64, note: &str) -> Result<Receipt, ChargeError> { … }
///
/// let signature = charge::call(42, "gift").countdown(Duration::from_secs(5));
/// ```
///
/// # A task of another program
///
/// A function without a body is a task that this program calls and does not have, in Python or
/// anywhere: no worker of it serves the task. Its `name` must be given.
///
/// ```text
/// #[celeriac::task(name = "shop.add", queue = "python")]
/// fn add(a: i64, b: i64) -> i64;
/// ```
///
/// # Arguments
///
/// They travel as an owned tuple: `&str` as `String`, `&[T]` as `Vec<T>`, `&Path` as `PathBuf`,
/// any other `&T` as `T`, and `Cow<'_, T>` as `Cow<'static, T>`; the function is lent them. One
/// parameter of type `&Context` or `Context` is no argument: it is the execution's context. At
/// most 16 arguments.
///
/// # Return
///
/// Any owned type. A type whose last segment is `Result` gives the value of its `Ok`, and its
/// error, anything that converts to a boxed error, becomes the task's.
///
/// # Options
///
/// | option | default | means |
/// | --- | --- | --- |
/// | `name = "shop.charge"` | module path, dotted | the name it is sent by |
/// | `queue = "money"` | `celery` | the queue it is sent to |
/// | `retries = 5` | 0 | retries after the first attempt |
/// | `backoff = "exponential(1s, 10m)"` or `"fixed(5s)"` | `exponential(1s, 10m)` | the wait before each |
/// | `jitter = false` | `true` | whether the wait is drawn between 0 and the back-off |
/// | `retry_on = "error \| panic \| time_limit \| lost"` | `error` | the failures that are retried |
/// | `retry_if = is_transient` | all errors | a `fn(&E) -> bool`: whether this error is retried |
/// | `time_limit = "30s"` | none | an attempt is ended from outside after this long |
/// | `soft_time_limit = "25s"` | none | an attempt is asked to stop after this long |
/// | `ack = "reliable"` or `"early"` | `reliable` | when its delivery is acknowledged |
/// | `rate_limit = "10/s"` | none | starts per second, minute or hour, in each worker |
/// | `priority = 3` | 0 | 0 to 9, larger first |
/// | `expires = "1h"` | never | how long after sending it is worth starting |
/// | `results = "keep(1h)"` or `"ignore"` | `keep(1d)` | what becomes of its result |
/// | `crate = "path"` | `::celeriac` | where celeriac is, if renamed |
///
/// Durations are numbers with units: `500ms`, `30s`, `5m`, `1h30m`, `2d`.
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::task(options.into(), &item.into()).into()
}

/// Lets `fn main` or `async fn main` return any error and reports it in full.
///
/// An `async fn main` runs on a tokio runtime. `main` returns `()`, `ExitCode`, or a `Result` of
/// either with any error: it is printed as `error: …`, then a `caused by: …` for each source, then
/// `help: …` if it offers one, and the exit code is 1, or what an error of celeriac asks for.
///
/// # Options
///
/// Only for `async fn main`:
///
/// | option | default | means |
/// | --- | --- | --- |
/// | `flavor = "multi_thread"` or `"current_thread"` | `multi_thread` | the runtime's sort |
/// | `worker_threads = 4` | one per core | threads of a multi-thread runtime |
/// | `crate = "path"` | `::celeriac` | where celeriac is, if renamed |
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    entry::main(options.into(), &item.into()).into()
}
