//! Events: what workers and clients tell monitors.
//!
//! An event travels alone, under a routing key made of its type, or in a list of several that happened
//! to tasks, under [`BATCH_KEY`].
//!
//! # Sources
//!
//! Celery 5.7's events, field by field as its workers sent them.

use std::time::SystemTime;

use celeriac_core::{Message, TaskId, moment};
use jiff::Zoned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The exchange of events.
pub const EXCHANGE: &str = "celeryev";

/// The routing key of several events of tasks in one message.
pub const BATCH_KEY: &str = "task.multi";

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
#[non_exhaustive]
pub enum Event {
    /// A worker has started.
    #[serde(rename = "worker-online")]
    WorkerOnline(Pulse),
    /// A worker is alive.
    #[serde(rename = "worker-heartbeat")]
    WorkerHeartbeat(Pulse),
    /// A worker ends.
    #[serde(rename = "worker-offline")]
    WorkerOffline(Pulse),
    /// A client has sent a call.
    #[serde(rename = "task-sent")]
    TaskSent(Sent),
    /// A worker has a call.
    #[serde(rename = "task-received")]
    TaskReceived(Received),
    /// A call begins to run.
    #[serde(rename = "task-started")]
    TaskStarted {
        /// The call.
        uuid: TaskId,
    },
    /// A call has returned.
    #[serde(rename = "task-succeeded")]
    TaskSucceeded {
        /// The call.
        uuid: TaskId,
        /// What it returned, as Python shows it.
        result: Option<String>,
        /// How many seconds it ran.
        runtime: Option<f64>,
    },
    /// A call has failed for good.
    #[serde(rename = "task-failed")]
    TaskFailed(Failed),
    /// A call has failed, and was sent again.
    #[serde(rename = "task-retried")]
    TaskRetried(Failed),
    /// A call was refused by its own task.
    #[serde(rename = "task-rejected")]
    TaskRejected {
        /// The call.
        uuid: TaskId,
        /// Whether it is delivered again.
        requeue: bool,
    },
    /// A call was revoked, or had expired.
    #[serde(rename = "task-revoked")]
    TaskRevoked {
        /// The call.
        uuid: TaskId,
        /// Whether it ran, and was ended.
        terminated: bool,
        /// By which signal.
        signum: Option<Value>,
        /// Whether it had expired.
        expired: bool,
    },
}

/// What a worker tells of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pulse {
    /// Seconds between two such events.
    pub freq: f64,
    /// How many calls run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<u64>,
    /// How many calls were begun so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processed: Option<u64>,
    /// The load of its machine over 1, 5 and 15 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loadavg: Option<[f64; 3]>,
    /// What program it is.
    pub sw_ident: String,
    /// The version of the program.
    pub sw_ver: String,
    /// The system that it runs on.
    pub sw_sys: String,
}

/// A call as its worker received it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Received {
    /// The call.
    pub uuid: TaskId,
    /// Its task.
    pub name: String,
    /// Its arguments, as Python shows them.
    pub args: Option<String>,
    /// Its named arguments, as Python shows them.
    pub kwargs: Option<String>,
    /// The first call of its workflow.
    pub root_id: Option<TaskId>,
    /// The call that sent it.
    pub parent_id: Option<TaskId>,
    /// Retries so far.
    pub retries: u32,
    /// When it may start, in ISO 8601.
    pub eta: Option<String>,
    /// When it is no longer worth starting, in ISO 8601.
    pub expires: Option<String>,
}

impl Received {
    /// The call of a message, as its headers tell of it.
    pub fn of(message: &Message) -> Self {
        let headers = &message.headers;
        let text = |name: &str| headers.extra.get(name).and_then(Value::as_str);
        Self {
            uuid: headers.id.clone(),
            name: headers.task.clone(),
            args: text("argsrepr").map(ToOwned::to_owned),
            kwargs: text("kwargsrepr").map(ToOwned::to_owned),
            root_id: headers.root_id.clone(),
            parent_id: headers.parent_id.clone(),
            retries: headers.retries,
            eta: headers.eta.map(|at| moment::show(at).to_string()),
            expires: headers.expires.map(|at| moment::show(at).to_string()),
        }
    }
}

/// A call as its client sent it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// The call.
    #[serde(flatten)]
    pub call: Received,
    /// The queue that it was sent to.
    pub queue: Option<String>,
    /// The exchange.
    pub exchange: String,
    /// The key it was sent with.
    pub routing_key: String,
}

/// How a call failed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// The call.
    pub uuid: TaskId,
    /// The exception, as Python shows it.
    pub exception: String,
    /// Where it was raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
}

/// An event with who tells it, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// The worker, or `gen`, the process id and the host of a client.
    pub hostname: String,
    /// Hours west of UTC.
    pub utcoffset: f64,
    /// The process.
    pub pid: u32,
    /// Its [clock](crate::Clock).
    pub clock: u64,
    /// Unix time in seconds.
    pub timestamp: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Event {
    /// Its type, as Celery calls it: `task-received`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::WorkerOnline(_) => "worker-online",
            Self::WorkerHeartbeat(_) => "worker-heartbeat",
            Self::WorkerOffline(_) => "worker-offline",
            Self::TaskSent(_) => "task-sent",
            Self::TaskReceived(_) => "task-received",
            Self::TaskStarted { .. } => "task-started",
            Self::TaskSucceeded { .. } => "task-succeeded",
            Self::TaskFailed(_) => "task-failed",
            Self::TaskRetried(_) => "task-retried",
            Self::TaskRejected { .. } => "task-rejected",
            Self::TaskRevoked { .. } => "task-revoked",
        }
    }

    /// The key under which it travels alone.
    pub fn routing_key(&self) -> String {
        self.name().replace('-', ".")
    }
}

/// Unix time in seconds.
pub fn now_s() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// Hours west of UTC here, by which monitors compare clocks.
pub fn utcoffset() -> f64 {
    let east = f64::from(Zoned::now().offset().seconds()) / 3600.0;
    0.0 - east
}

/// Why bytes are no events. It does not repeat them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no event, nor a list of events")]
pub struct EventError;

/// Reads what was told: one event or several, of whatever type, as maps.
///
/// ```
/// use celeriac_wire::event;
///
/// let one = event::read(br#"{"type": "task-progress", "done": 1}"#)?;
/// assert_eq!(one[0]["type"], "task-progress");
/// assert_eq!(event::read(br#"[{"type": "a"}, {"type": "b"}]"#)?.len(), 2);
/// # Ok::<(), event::EventError>(())
/// ```
///
/// # Errors
///
/// [`EventError`] if one of them is no map with a type.
pub fn read(body: &[u8]) -> Result<Vec<Map<String, Value>>, EventError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Told {
        Several(Vec<Map<String, Value>>),
        One(Map<String, Value>),
    }
    let told = serde_json::from_slice(body).map_err(|_| EventError)?;
    let events = match told {
        Told::Several(events) => events,
        Told::One(event) => vec![event],
    };
    let typed = |event: &Map<String, Value>| event.get("type").is_some_and(Value::is_string);
    if events.iter().all(typed) {
        Ok(events)
    } else {
        Err(EventError)
    }
}
