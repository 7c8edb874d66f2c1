//! One task, any scale.
//!
//! A task is a plain function. The same task runs inline, on threads, on processes, on coroutines
//! or on other machines through a broker, and only one word changes:
//!
//! ```
//! use celeriac::prelude::*;
//!
//! #[celeriac::task]
//! fn is_prime(n: u64) -> bool {
//!     n > 1 && (2..).take_while(|d| d * d <= n).all(|d| n % d != 0)
//! }
//!
//! # async fn example() -> celeriac::Result<()> {
//! let app = App::on("threads").await?; // or "processes", "coroutines=500", "sqlite:jobs.db"
//! let answers: Vec<bool> = app.map::<is_prime>(1..100).collect().await?;
//! assert_eq!(answers.iter().filter(|prime| **prime).count(), 25);
//!
//! let one = app.send(is_prime::call(97)).await?.get().await?;
//! assert!(one && is_prime(97));
//! # Ok(())
//! # }
//! # celeriac::blocking::block_on(example()).unwrap();
//! ```
//!
//! # Where things are
//!
//! - [`App`] opens a place; [`blocking::App`] is its face for programs without a runtime.
//! - [`Handle`] is one call under way; [`Map`] a stream of them, with back-pressure.
//! - [`gather`] and [`as_completed`] wait for several handles.
//! - [`canvas`] composes calls: one after another, beside each other, one when all are done.
//! - [`Session`] is a task that keeps its state between the values it is given.
//! - [`layer`] wraps functions as Python's decorators do.
//! - [`Context`] is what a running task can ask and tell.
//! - `cli` lets any program carry celeriac's command line.
#![forbid(unsafe_code)]

pub mod blocking;
pub mod canvas;
#[cfg(feature = "cli")]
pub mod cli;
pub mod layer;
pub mod report;

mod ahead;
mod app;
mod batch;
mod broker_client;
mod builder;
mod call;
mod chunker;
mod decode;
#[cfg(feature = "macros")]
mod entry;
mod error;
mod follower;
mod format;
mod handle;
mod launcher;
mod local_worker;
mod lookup;
mod map;
#[cfg(not(feature = "otel"))]
mod origin;
mod outlet;
mod sent_calls;
mod session;
mod slot;
mod together;

pub use bytes::Bytes;
/// The words and the ports, for those who write drivers and executors.
pub use celeriac_core as core;
pub use celeriac_core::{
    AckProfile, Backoff, BoxError, Compression, ContentType, Context, Destination, ErrorKind,
    Exchange, ExchangeKind, Interrupt, Interrupted, Outcome, Place, Progress, PublishRetry, Queue,
    QueueName, RateLimit, Registry, RegistryError, ResultPolicy, ResultState, Retry, RetryPolicy,
    Routes, ShutdownMode, Signature, StoredResult, Task, TaskDefinition, TaskError, TaskId,
    TaskOptions,
};
#[cfg(feature = "macros")]
pub use celeriac_macros::{main, task};
/// Traces: from the environment, for a subscriber of `tracing` and for a [`worker::Worker`].
#[cfg(feature = "otel")]
pub use celeriac_otel as otel;
pub use celeriac_sync as sync;
pub use celeriac_wire::{Decimal, Tagged};
pub use celeriac_worker as worker;

#[cfg(feature = "otel")]
use celeriac_otel::Origin;

pub use crate::app::App;
pub use crate::builder::AppBuilder;
pub use crate::canvas::{Chain, Group, GroupHandle, Partial, Step, chord, group, remote};
pub use crate::error::{Error, Result};
pub use crate::handle::Handle;
pub use crate::local_worker::LocalWorker;
pub use crate::map::Map;
#[cfg(not(feature = "otel"))]
use crate::origin::Origin;
pub use crate::session::{Inbox, Outbox, Session};
pub use crate::together::{AsCompleted, as_completed, gather};

/// Steps one after another: `chain![a, b, c]` is `a.then(b).then(c)`.
///
/// ```
/// # use celeriac::{Chain, chain};
/// # #[celeriac::task] fn add(a: u64, b: u64) -> u64 { a + b }
/// let sum: Chain<u64> = chain![add::call(1, 2), add::partial(3), add::partial(4)];
/// # let _ = sum;
/// ```
#[macro_export]
macro_rules! chain {
    ($first:expr $(, $next:expr)* $(,)?) => {
        $crate::canvas::Canvas::into_chain($first)$(.then($next))*
    };
}

/// Parts of different kinds beside each other that return values of one type; for parts of one kind
/// there is the function [`group`](fn@group).
///
/// ```
/// # use celeriac::{Group, group};
/// # #[celeriac::task] fn add(a: u64, b: u64) -> u64 { a + b }
/// # #[celeriac::task] fn double(n: u64) -> u64 { 2 * n }
/// let parts: Group<u64> = group![add::call(1, 2), double::call(3).then(double::partial())];
/// # let _ = parts;
/// ```
#[macro_export]
macro_rules! group {
    ($($part:expr),+ $(,)?) => {
        $crate::canvas::group([$($crate::canvas::Canvas::into_chain($part)),+])
    };
}

/// What most programs need.
pub mod prelude {
    pub use crate::{App, Context, Handle, Place, Retry, ShutdownMode, Task as _, TaskError};
    pub use crate::{as_completed, gather};
}

/// What the expansions of the attributes name. No part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use celeriac_core as core;
    pub use linkme;

    #[cfg(feature = "macros")]
    pub use crate::entry::{Flavor, block_on, kind};
    pub use crate::report::exit;
}

/// The examples of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
