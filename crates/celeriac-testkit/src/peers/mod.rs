//! The real systems that tests talk to, as `cargo xtask test` tells where they are.
//!
//! | variable | is |
//! | --- | --- |
//! | `CELERIAC_TEST_REDIS` | the URL of a Redis |
//! | `CELERIAC_TEST_REDIS_62` | the URL of a Redis 6.2 |
//! | `CELERIAC_TEST_AMQP` | the URL of a RabbitMQ |
//! | `CELERIAC_TEST_RABBITMQCTL` | a program that is `rabbitmqctl` for it |
//! | `CELERIAC_TEST_AMQP_SPARE`, `CELERIAC_TEST_RABBITMQCTL_SPARE` | the same of another RabbitMQ |
//! | `CELERIAC_TEST_CHROMIUM`, `CELERIAC_TEST_CHROMEDRIVER` | a browser, and what drives it |
//! | `CELERIAC_TEST_PYTHON_57`, `_55`, `_54`, `_53` | a Python with Celery 5.7, 5.5, 5.4, 5.3 |
//!
//! All tests share the servers, so each keeps to a part that nobody else uses: on Redis a key
//! prefix, on RabbitMQ a [`VirtualHost`]. Someone who runs single tests gets the variables from
//! `cargo xtask servers`.

mod celery;
mod child;
mod collector;
mod encrypted;
mod http;
mod mail;
mod proxy;
mod pump;
mod redis_server;
mod spare;
mod virtual_host;
mod weather;

pub use celery::{CeleryApp, CeleryScript, CeleryVersion, CeleryWorker};
pub use child::OwnedChild;
pub use collector::{Attributes, CollectedSpan, Collector};
pub use encrypted::{EncryptedRabbitMq, certify};
pub use http::http_get;
pub use mail::{MailServer, StoppedMailServer};
pub use proxy::{Fault, TcpProxy, Way};
pub use redis_server::RedisServer;
pub use spare::SpareRabbitMq;
pub use virtual_host::{VirtualHost, rabbitmqctl};

/// What an operator's script begins with: replies and events of the worker that it has named `NODE`.
pub const OPERATOR: &str = include_str!("operator.py");

/// The URL of a Redis that all tests share.
///
/// # Panics
///
/// If the test was started without it.
pub fn redis_url() -> String {
    variable("CELERIAC_TEST_REDIS")
}

/// The URL of a Redis 6.2, the oldest that celeriac works with, that all tests share.
///
/// # Panics
///
/// If the test was started without it.
pub fn redis_62_url() -> String {
    variable("CELERIAC_TEST_REDIS_62")
}

/// The URL of a RabbitMQ that all tests share; its virtual host is `/`.
///
/// # Panics
///
/// If the test was started without it.
pub fn amqp_url() -> String {
    variable("CELERIAC_TEST_AMQP")
}

/// A word that no other test uses: for prefixes and names.
pub fn unique(word: &str) -> String {
    format!("{word}-{}", celeriac_core::TaskId::new())
}

pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "this test needs {name}, which `cargo xtask test` sets; \
             to run it alone, take it from `cargo xtask servers`"
        )
    })
}
