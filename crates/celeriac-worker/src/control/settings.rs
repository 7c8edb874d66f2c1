//! What can be set about remote control and events.

use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{BrokerUrl, Topology};
use serde_json::{Map, Value, json};

use super::foreign::ForeignCommands;

/// What can be set about remote control and events of a worker.
///
/// A worker whose broker has neither does without.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a setting that a user turns on or off"
)]
pub struct ControlSettings {
    /// Whether the worker answers remote control; it does unless told otherwise.
    pub answers: bool,
    /// Whether it sends events of tasks from its start. Unless set it does so once it is told to.
    pub task_events: bool,
    /// How often it says that it is alive: every 2 s unless set. With `None` it sends no events of
    /// itself at all.
    pub heartbeat: Option<Duration>,
    /// Whether it asks the others at its start which calls are revoked; it does unless told otherwise.
    pub mingle: bool,
    /// Whether it goes on, with a warning, if another worker answers to its name at its start; it does
    /// unless told otherwise. Then what is asked of the name reaches both.
    pub shares_name: bool,
    /// Whether `pool_restart` is carried out; not unless set.
    pub pool_restarts: bool,
    /// What it says of itself.
    pub about: About,
    /// Who carries out commands that are not known here.
    pub foreign: Option<Arc<dyn ForeignCommands>>,
}

impl Default for ControlSettings {
    fn default() -> Self {
        Self {
            answers: true,
            task_events: false,
            heartbeat: Some(Duration::from_secs(2)),
            mingle: true,
            shares_name: true,
            pool_restarts: false,
            about: About::default(),
            foreign: None,
        }
    }
}

/// What a worker says of itself that it does not know by itself.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct About {
    /// The broker, in the words of Celery's `stats`.
    pub broker: Map<String, Value>,
    /// The pool, in the words of Celery's `stats`.
    pub pool: Map<String, Value>,
    /// The queues that are defined.
    pub topology: Arc<Topology>,
}

/// A broker in the words of Celery's `stats`, without its password.
///
/// ```
/// # use celeriac_core::Place;
/// # let Ok(Place::Broker(url)) = "redis://me:secret@box:6380/1".parse() else { panic!() };
/// let broker = celeriac_worker::broker_stats(&url);
/// assert_eq!(broker["hostname"], "box");
/// assert_eq!((&broker["port"], &broker["virtual_host"]), (&6380.into(), &"1".into()));
/// assert_eq!((&broker["userid"], &broker["transport"]), (&"me".into(), &"redis".into()));
/// ```
pub fn broker_stats(url: &BrokerUrl) -> Map<String, Value> {
    let rest = url.expose().split_once("://").map_or("", |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (user.split(':').next().filter(|it| !it.is_empty()), host),
        None => (None, authority),
    };
    // Of several servers the first.
    let host = host.split([',', ';']).next().unwrap_or_default();
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().ok()),
        _ => (host, None),
    };
    let secure = matches!(url.scheme(), "rediss" | "amqps" | "pyamqps");
    let fields = [
        ("hostname", json!(host)),
        ("userid", json!(user)),
        ("virtual_host", json!(path)),
        ("port", json!(port)),
        ("transport", json!(url.scheme())),
        ("ssl", json!(secure)),
        ("transport_options", json!({})),
        ("alternates", json!([])),
        ("uri_prefix", Value::Null),
        ("login_method", Value::Null),
        ("credential_provider", Value::Null),
        ("connect_timeout", Value::Null),
        ("heartbeat", Value::Null),
        ("insist", json!(false)),
        ("failover_strategy", json!("round-robin")),
    ];
    fields
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}
