//! The stores celeriac speaks to, one folder and one feature each, opened by URL.
//!
//! | scheme | store | other processes see it |
//! | --- | --- | --- |
//! | `sqlite:PATH` | one file: broker and result backend in one | yes, on the same machine |
//! | `redis://HOST/DB` | a Redis server: both in one, shared with Celery's workers and clients | yes |
//! | `amqp://…`, `amqps://…` | RabbitMQ, shared with Celery: broker, and results to the sender | yes |
//! | `memory:NAME` | this process, shared by name: for tests and single programs | no |
//!
//! ```
//! # use celeriac_drivers::{DriverOptions, open};
//! # use celeriac_core::{Broker, Place};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let Place::Broker(url) = "memory:shop".parse()? else { panic!() };
//! let broker = open(&url, &DriverOptions::default()).await?;
//! assert!(broker.queues().await?.is_empty());
//! # Ok(()) }) }
//! ```
#![forbid(unsafe_code)]

#[cfg(any(feature = "amqp", feature = "redis"))]
mod definitions;
#[cfg(any(feature = "memory", feature = "sqlite"))]
mod destination;
#[cfg(any(feature = "memory", feature = "sqlite"))]
mod headers;
#[cfg(any(feature = "amqp", feature = "redis"))]
mod inbox;
#[cfg(any(feature = "amqp", feature = "redis"))]
mod inflating;
mod options;
mod paired;
#[cfg(any(feature = "amqp", feature = "redis"))]
mod patience;
#[cfg(any(feature = "memory", feature = "redis", feature = "sqlite"))]
mod queues;
#[cfg(any(
    feature = "amqp",
    feature = "memory",
    feature = "redis",
    feature = "sqlite"
))]
mod refusal;
#[cfg(any(feature = "amqp", feature = "memory"))]
mod watched;

#[cfg(feature = "amqp")]
pub mod amqp;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use std::sync::Arc;

use celeriac_core::{BoxFuture, Broker, BrokerError, BrokerUrl};

pub use options::{DriverOptions, Durability};
pub use paired::pair;

/// Schemes that mean a broker to people, but not to this build.
const NOT_BUILT_IN: [&str; 7] = [
    "amqp",
    "amqps",
    "postgres",
    "postgresql",
    "redis",
    "rediss",
    "sentinel",
];

/// What this build can open.
const SPOKEN: &[&str] = &[
    #[cfg(feature = "redis")]
    "redis://HOST",
    #[cfg(feature = "sqlite")]
    "sqlite:PATH",
    #[cfg(feature = "amqp")]
    "amqp://HOST//",
    #[cfg(feature = "memory")]
    "memory:NAME",
];

/// Opens the store at `url`.
///
/// Works on any executor: a driver brings the threads it needs.
///
/// # Errors
///
/// [`BrokerError::Unusable`] if this build does not speak the scheme, or the store cannot be used
/// as it is; [`BrokerError::Unavailable`] if it cannot be reached.
pub fn open<'a>(
    url: &'a BrokerUrl,
    options: &'a DriverOptions,
) -> BoxFuture<'a, Result<Arc<dyn Broker>, BrokerError>> {
    // Boxed, so that the futures of callers hold none of a client library's.
    Box::pin(open_driver(url, options))
}

#[cfg_attr(
    not(any(feature = "amqp", feature = "redis", feature = "sqlite")),
    allow(clippy::unused_async, reason = "only some drivers have to wait")
)]
async fn open_driver(
    url: &BrokerUrl,
    options: &DriverOptions,
) -> Result<Arc<dyn Broker>, BrokerError> {
    #[cfg(not(any(
        feature = "amqp",
        feature = "memory",
        feature = "redis",
        feature = "sqlite"
    )))]
    let _ = options;
    // Boxed where connecting is work of many layers: the compiler counts these layers in every
    // crate that opens a place, and gives up at a limit that the crate would have to raise.
    match url.scheme() {
        #[cfg(feature = "amqp")]
        "amqp" | "amqps" | "pyamqp" | "pyamqps" => {
            Ok(Arc::new(Box::pin(amqp::open(url, options)).await?))
        }
        #[cfg(feature = "memory")]
        "memory" => {
            destination::refuse_exchanges(url, options)?;
            Ok(memory::MemoryBroker::named(url.rest(), options))
        }
        #[cfg(feature = "redis")]
        "redis" | "rediss" | "redis+socket" | "redis+unix" | "sentinel" => {
            Ok(Box::pin(redis::open(url, options)).await?)
        }
        #[cfg(feature = "sqlite")]
        "sqlite" => {
            destination::refuse_exchanges(url, options)?;
            Ok(sqlite::open(std::path::Path::new(url.rest()), options).await?)
        }
        scheme => Err(BrokerError::Unusable {
            address: url.to_string(),
            reason: if NOT_BUILT_IN.contains(&scheme) {
                format!("`{scheme}:` is a broker, but its driver is not part of this build")
            } else {
                format!("no driver knows the scheme `{scheme}:`")
            },
            help: format!("this build speaks {}", SPOKEN.join(", ")),
        }),
    }
}

/// Opens the store at `url` with its results kept in the one at `results`, or in its own if there is
/// no other.
///
/// # Errors
///
/// As [`open`], for either; [`BrokerError::Unsupported`] if `results` names a store that keeps none.
pub async fn open_with_results(
    url: &BrokerUrl,
    results: Option<&BrokerUrl>,
    options: &DriverOptions,
) -> Result<Arc<dyn Broker>, BrokerError> {
    let broker = open(url, options).await?;
    let Some(other) = results.filter(|results| *results != url) else {
        return Ok(broker);
    };
    let backend = open(other, options).await?.results();
    let backend = backend.ok_or_else(|| BrokerError::Unsupported {
        address: other.to_string(),
        what: "keep results".to_owned(),
    })?;
    Ok(pair(broker, backend))
}
