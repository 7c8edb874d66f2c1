//! The URLs of an app's broker and results, with its transport options, as our drivers take them.
//!
//! # Sources
//!
//! The names of the options are kombu's and Celery's; those of redis-py and py-amqp that say how a Python
//! client behaves mean nothing here.

use std::fmt::Write as _;

use celeriac_core::{BrokerUrl, Place};
use celeriac_python::{BrokerReport, ResultsReport};
use serde_json::{Map, Value};

use super::failure::Failure;

/// kombu's options that the drivers know by the same name.
const TAKEN: &[&str] = &[
    "confirm_timeout",
    "consumer_timeout",
    "db",
    "global_keyprefix",
    "master_name",
    "priority_steps",
    "queue_order_strategy",
    "sep",
    "sentinel_password",
    "socket_connect_timeout",
    "socket_timeout",
    "unacked_index_key",
    "unacked_key",
    "unacked_mutex_key",
    "virtual_host",
    "visibility_timeout",
];

/// Options that say how a Python client does what the drivers do in their own way.
const OF_NO_MEANING: &[&str] = &[
    "ack_emulation",
    "brpop_timeout",
    "client_name",
    "client_properties",
    "confirm_publish",
    "connect_retries_timeout",
    "errback",
    "fanout_patterns",
    "fanout_prefix",
    "health_check_interval",
    "interval_max",
    "interval_start",
    "interval_step",
    "max_connections",
    "max_retries",
    "polling_interval",
    "retry_on_timeout",
    "retry_policy",
    "socket_keepalive",
    "socket_keepalive_options",
    "unacked_mutex_expire",
    "unacked_restore_limit",
];

/// What celery sets if the app does not, in seconds; our driver has a shorter one.
const HEARTBEAT: f64 = 120.0;

/// The stores of an app, as far as the worker serves them itself.
#[derive(Debug)]
pub(crate) struct Stores {
    /// The broker.
    pub(crate) broker: BrokerUrl,
    /// Where the worker stores results, if it is not the broker.
    pub(crate) results: Option<BrokerUrl>,
    /// Whether the worker stores results at all; otherwise children do, with the app's own backend.
    pub(crate) keeps_results: bool,
    /// Options that say nothing to the drivers.
    pub(crate) unknown: Vec<String>,
}

impl Stores {
    /// The stores of an app.
    pub(crate) fn of(broker: &BrokerReport, results: &ResultsReport) -> Result<Self, Failure> {
        let mut unknown = Vec::new();
        let base = broker.read.as_deref().or(broker.write.as_deref());
        let base = base.unwrap_or("amqp://");
        let kind = Kind::of(base).ok_or_else(|| unsupported(base))?;
        let mut options = Options::default();
        options.take(&broker.transport_options, &mut unknown);
        options.secure(&broker.use_ssl)?;
        if kind == Kind::Amqp
            && let Some(seconds) = broker.heartbeat.filter(|seconds| *seconds != HEARTBEAT)
        {
            options.set("heartbeat", &seconds.round().to_string());
        }
        let stored = where_stored(kind, base, results);
        if stored == Stored::WithMessages {
            options.prefix_results(results);
        }
        let other = match stored {
            Stored::Elsewhere(url) => {
                let mut options = Options::default();
                options.take(&results.transport_options, &mut unknown);
                options.remove("global_keyprefix");
                options.prefix_results(results);
                options.secure(&results.use_ssl)?;
                Some(parse(&options.on(url))?)
            }
            _ => None,
        };
        Ok(Self {
            broker: parse(&options.on(base))?,
            results: other,
            keeps_results: stored != Stored::ByChildren,
            unknown,
        })
    }
}

/// What speaks to a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Redis,
    Amqp,
}

impl Kind {
    fn of(url: &str) -> Option<Self> {
        match url.split(':').next().unwrap_or_default() {
            "redis" | "rediss" | "redis+socket" | "redis+unix" | "sentinel" => Some(Self::Redis),
            "amqp" | "amqps" | "pyamqp" | "pyamqps" => Some(Self::Amqp),
            _ => None,
        }
    }
}

/// Where results are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stored<'a> {
    /// By the worker, where the messages are.
    WithMessages,
    /// By the worker, in another store.
    Elsewhere(&'a str),
    /// By the children with the app's own backend, or nowhere.
    ByChildren,
}

fn where_stored<'a>(kind: Kind, broker: &str, results: &'a ResultsReport) -> Stored<'a> {
    let (Some(url), Some(class)) = (results.url.as_deref(), results.class.as_deref()) else {
        return Stored::ByChildren;
    };
    // An app may have a backend of its own behind the name of one of Celery's.
    match class {
        _ if results.disabled => Stored::ByChildren,
        "celery.backends.rpc:RPCBackend" if kind == Kind::Amqp => Stored::WithMessages,
        "celery.backends.redis:RedisBackend" | "celery.backends.redis:SentinelBackend"
            if results.key_prefix.is_some() =>
        {
            match Kind::of(url) {
                Some(Kind::Redis) if url == broker => Stored::WithMessages,
                Some(Kind::Redis) => Stored::Elsewhere(url),
                _ => Stored::ByChildren,
            }
        }
        _ => Stored::ByChildren,
    }
}

fn unsupported(url: &str) -> Failure {
    let scheme = url.split(':').next().unwrap_or_default();
    Failure::usage(format!(
        "the app's broker is `{scheme}:`, which this worker does not speak"
    ))
    .help("use Redis or RabbitMQ, or run this app with `celery worker` as before")
}

fn parse(url: &str) -> Result<BrokerUrl, Failure> {
    match url.parse() {
        Ok(Place::Broker(url)) => Ok(url),
        // The text may hold a password.
        _ => Err(Failure::usage(
            "the app's broker or result backend is no URL",
        )),
    }
}

/// What is put behind the `?` of a URL.
#[derive(Debug, Default)]
struct Options {
    pairs: Vec<(String, String)>,
    secure: bool,
}

impl Options {
    fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.pairs.push((name.to_owned(), value.to_owned()));
    }

    fn remove(&mut self, name: &str) {
        self.pairs.retain(|(known, _)| known != name);
    }

    /// Takes up the options that the drivers know.
    fn take(&mut self, options: &Map<String, Value>, unknown: &mut Vec<String>) {
        for (name, value) in options {
            match (name.as_str(), text(value)) {
                ("sentinel_kwargs", _) => {
                    if let Some(password) = value.get("password").and_then(text) {
                        self.set("sentinel_password", &password);
                    }
                }
                (name, Some(text)) if TAKEN.contains(&name) => self.set(name, &text),
                (_, None) if value.is_null() => {}
                (name, _) if OF_NO_MEANING.contains(&name) => {}
                (name, _) => unknown.push(name.to_owned()),
            }
        }
    }

    /// The prefix of the keys of results has a name of its own, since both may be kept in one store.
    fn prefix_results(&mut self, results: &ResultsReport) {
        if let Some(prefix) = results.key_prefix.as_deref().filter(|it| !it.is_empty()) {
            self.set("result_keyprefix", prefix);
        }
    }

    /// Takes up `broker_use_ssl` or `redis_backend_use_ssl`.
    fn secure(&mut self, ssl: &Value) -> Result<(), Failure> {
        let Value::Object(options) = ssl else {
            self.secure = ssl == &Value::Bool(true);
            return Ok(());
        };
        self.secure = true;
        let given = options.iter();
        let given = given.filter_map(|(name, value)| Some((name.as_str(), text(value)?)));
        for (name, value) in given {
            match (name.trim_start_matches("ssl_"), value) {
                ("cert_reqs", wanted) => {
                    // ssl.CERT_NONE is 0; it may come as the number, the word or the member's name.
                    let none = wanted == "0" || wanted.to_lowercase().ends_with("none");
                    let word = if none { "none" } else { "required" };
                    self.set("ssl_cert_reqs", word);
                }
                ("ca_certs", file) => self.set("ssl_ca_certs", &file),
                ("certfile" | "keyfile", _) => {
                    return Err(Failure::usage(
                        "the app's connections present a certificate of their own (`keyfile`, \
                         `certfile`), which the worker's cannot",
                    )
                    .help("run this app with `celery worker` as before"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The URL with them: with each of its servers if it names several.
    fn on(&self, url: &str) -> String {
        let parts = url.split(';').filter(|part| !part.is_empty());
        let parts = parts.map(|part| self.on_one(part));
        parts.collect::<Vec<_>>().join(";")
    }

    fn on_one(&self, url: &str) -> String {
        let mut url = match url.split_once("://") {
            Some((scheme @ ("redis" | "amqp" | "pyamqp"), rest)) if self.secure => {
                format!("{scheme}s://{rest}")
            }
            _ => url.to_owned(),
        };
        for (name, value) in &self.pairs {
            // What the URL says itself counts more.
            let query = url.split_once('?').map_or("", |(_, query)| query);
            let said = |pair: &str| pair.split('=').next() == Some(name);
            if query.split('&').any(said) {
                continue;
            }
            // The client of RabbitMQ verifies whom it trusts, always.
            if name == "ssl_cert_reqs" && Kind::of(&url) == Some(Kind::Amqp) {
                continue;
            }
            url.push(if url.contains('?') { '&' } else { '?' });
            // Writing to a string does not fail.
            let _ = write!(url, "{name}={}", escape(value));
        }
        url
    }
}

/// A value as a URL holds it.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(text).collect();
            items.map(|items| items.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

/// The text with `%XX` for all that means something in a URL.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~,/".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn broker(url: &str, options: &Value, ssl: Value) -> BrokerReport {
        BrokerReport {
            read: Some(url.to_owned()),
            transport_options: options.as_object().cloned().unwrap_or_default(),
            use_ssl: ssl,
            ..BrokerReport::default()
        }
    }

    fn results(url: &str, class: &str, prefix: Option<&str>) -> ResultsReport {
        ResultsReport {
            url: Some(url.to_owned()),
            class: Some(class.to_owned()),
            key_prefix: prefix.map(str::to_owned),
            ..ResultsReport::default()
        }
    }

    const REDIS: &str = "celery.backends.redis:RedisBackend";

    #[test]
    fn transport_options_stand_in_the_url() {
        let options = json!({
            "visibility_timeout": 43200, "priority_steps": [0, 5], "sep": ":", "colour": "red",
            "global_keyprefix": "shop:", "sentinel_kwargs": {"password": "p&q"}, "max_retries": 3,
        });
        let broker = broker("redis://h/1?socket_timeout=3", &options, Value::Null);
        let stores = Stores::of(&broker, &ResultsReport::default()).unwrap();
        let url = stores.broker.expose();
        assert!(url.starts_with("redis://h/1?socket_timeout=3&"), "{url}");
        for pair in [
            "visibility_timeout=43200",
            "priority_steps=0,5",
            "sep=%3A",
            "global_keyprefix=shop%3A",
            "sentinel_password=p%26q",
        ] {
            assert!(url.contains(pair), "{url}");
        }
        assert_eq!(stores.unknown, ["colour"]);
        assert!(!stores.keeps_results);
    }

    #[test]
    fn one_redis_is_broker_and_results_in_one() {
        let none = Value::Null;
        let stores = Stores::of(
            &broker("redis://h/0", &none, none.clone()),
            &results("redis://h/0", REDIS, Some("r:")),
        )
        .unwrap();
        assert!(stores.keeps_results && stores.results.is_none());
        assert_eq!(stores.broker.expose(), "redis://h/0?result_keyprefix=r%3A");
    }

    #[test]
    fn results_are_stored_by_who_can() {
        let none = Value::Null;
        for (from, to, class, elsewhere, stores_results) in [
            ("redis://h/0", "redis://h/1", REDIS, true, true),
            ("amqp://h", "redis://h/1", REDIS, true, true),
            (
                "amqp://h",
                "rpc://",
                "celery.backends.rpc:RPCBackend",
                false,
                true,
            ),
            (
                "redis://h",
                "rpc://",
                "celery.backends.rpc:RPCBackend",
                false,
                false,
            ),
            (
                "redis://h/0",
                "redis://h/0",
                "shop.results:Own",
                false,
                false,
            ),
            (
                "redis://h",
                "django-db",
                "django_celery_results:X",
                false,
                false,
            ),
        ] {
            let stores = Stores::of(
                &broker(from, &none, none.clone()),
                &results(to, class, Some("")),
            )
            .unwrap();
            assert_eq!(stores.results.is_some(), elsewhere, "{from} {to}");
            assert_eq!(stores.keeps_results, stores_results, "{from} {to}");
        }
    }

    #[test]
    fn keys_of_results_that_have_another_name_are_left_to_the_children() {
        let broker = broker("redis://h/0", &Value::Null, Value::Null);
        let stores = Stores::of(&broker, &results("redis://h/0", REDIS, None)).unwrap();
        assert!(!stores.keeps_results);
    }

    #[test]
    fn a_secured_connection_has_its_scheme_and_authorities() {
        let none = Value::Null;
        let url = |url: &str, ssl: Value| {
            let stores = Stores::of(&broker(url, &none, ssl), &ResultsReport::default());
            stores.map(|stores| stores.broker.expose().to_owned())
        };
        let required = json!({"ca_certs": "/ca.pem", "cert_reqs": 2});
        assert_eq!(
            url("amqp://a//;amqp://b//", required.clone()).unwrap(),
            "amqps://a//?ssl_ca_certs=/ca.pem;amqps://b//?ssl_ca_certs=/ca.pem"
        );
        let redis = url("redis://a/0", required).unwrap();
        assert!(redis.starts_with("rediss://a/0?"), "{redis}");
        assert!(redis.contains("ssl_cert_reqs=required"), "{redis}");
        let none = json!({"ssl_cert_reqs": "CERT_NONE"});
        assert!(
            url("redis://a", none)
                .unwrap()
                .contains("ssl_cert_reqs=none")
        );
        assert!(url("redis://a", json!({"keyfile": "/k"})).is_err());
    }

    #[test]
    fn a_broker_that_no_driver_speaks_is_refused() {
        let none = Value::Null;
        let broker = broker("sqs://key:secret@", &none, none.clone());
        let error = Stores::of(&broker, &ResultsReport::default()).unwrap_err();
        let mut out = Vec::new();
        error.report(&mut out);
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains("`sqs:`") && !out.contains("secret"), "{out}");
    }
}
