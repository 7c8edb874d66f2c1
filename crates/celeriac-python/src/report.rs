//! What the fork server reports of an app, as `spec/child.md` has it.

use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};

/// An app: its settings, queues and tasks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AppReport {
    /// Versions of what it runs on.
    pub versions: Versions,
    /// The app itself.
    pub app: AppName,
    /// Its broker.
    pub broker: BrokerReport,
    /// Its result backend.
    pub results: ResultsReport,
    /// The queues to take from, in their order.
    pub queues: Vec<QueueReport>,
    /// Where tasks are sent that say nothing else.
    pub default_queue: String,
    /// Its tasks.
    pub tasks: Vec<TaskReport>,
    /// The settings that matter to a worker, under Celery's lower-case names.
    pub settings: Map<String, Value>,
    /// The signals of Celery's main process that it listens to.
    pub listening: Vec<String>,
    /// How it logs.
    pub log: LogReport,
    /// Its own commands of remote control.
    pub control: Vec<String>,
    /// What its user should know.
    pub warnings: Vec<String>,
}

impl AppReport {
    /// A setting, if it has a value.
    pub fn setting(&self, name: &str) -> Option<&Value> {
        self.settings.get(name).filter(|value| !value.is_null())
    }
}

/// Versions of what an app runs on.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Versions {
    /// Of Python.
    pub python: String,
    /// Of Celery.
    pub celery: String,
    /// Of kombu.
    pub kombu: String,
    /// Of billiard.
    pub billiard: String,
}

/// What an app is called.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AppName {
    /// The name of its main module, if it has one.
    pub main: Option<String>,
    /// The class that loads its settings.
    pub loader: Option<String>,
    /// Its time zone.
    pub timezone: Option<String>,
    /// What it was found by.
    pub name: Option<String>,
    /// Where it is in the memory of the fork server, as Celery's banner shows it.
    pub address: Option<String>,
}

/// The broker of an app. The URLs hold passwords, so they are not shown.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct BrokerReport {
    /// Where workers take from.
    pub read: Option<String>,
    /// Where clients send to.
    pub write: Option<String>,
    /// Where workers take from, as Celery shows it.
    pub shown: Option<String>,
    /// `broker_transport_options`.
    pub transport_options: Map<String, Value>,
    /// `broker_use_ssl`: true, or the options of a connection.
    pub use_ssl: Value,
    /// Seconds between heartbeats.
    pub heartbeat: Option<f64>,
    /// Whether to try again when the connection is lost.
    pub connection_retry: Option<bool>,
}

impl fmt::Debug for BrokerReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("BrokerReport")
    }
}

/// The result backend of an app. The URL holds a password, so it is not shown.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct ResultsReport {
    /// Where it is.
    pub url: Option<String>,
    /// The same, as Celery shows it.
    pub shown: Option<String>,
    /// What stores results: `module:Class`.
    pub class: Option<String>,
    /// `result_backend_transport_options`.
    pub transport_options: Map<String, Value>,
    /// What stands before Celery's own keys of results; `None` if the keys are called otherwise.
    pub key_prefix: Option<String>,
    /// Seconds for which results are kept; for ever if `None`.
    pub expires: Option<f64>,
    /// The same for failures.
    pub failure_expires: Option<f64>,
    /// What results are written in.
    pub serializer: Option<String>,
    /// How they are compressed.
    pub compression: Option<String>,
    /// `redis_backend_use_ssl`: true, or the options of a connection.
    pub use_ssl: Value,
    /// The settings of the Redis backend.
    pub redis: Map<String, Value>,
    /// Whether there is none.
    pub disabled: bool,
}

impl fmt::Debug for ResultsReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ResultsReport")
            .field("class", &self.class)
            .finish_non_exhaustive()
    }
}

/// A queue to take from.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct QueueReport {
    /// Its name.
    pub name: String,
    /// What it is bound to its exchange with.
    pub routing_key: Option<String>,
    /// Its exchange.
    pub exchange: ExchangeReport,
    /// Whether it outlives the server.
    pub durable: Option<bool>,
    /// Whether it goes with its last consumer.
    pub auto_delete: Option<bool>,
    /// Whether it is of one connection.
    pub exclusive: Option<bool>,
    /// Seconds after which it goes if nobody uses it.
    pub expires: Option<f64>,
    /// Seconds for which it keeps a message.
    pub message_ttl: Option<f64>,
    /// The most messages that it holds.
    pub max_length: Option<u64>,
    /// The most bytes that it holds.
    pub max_length_bytes: Option<u64>,
    /// Its highest priority.
    pub max_priority: Option<u64>,
    /// What else it is declared with.
    pub queue_arguments: Option<Map<String, Value>>,
    /// Further bindings.
    pub bindings: Vec<BindingReport>,
}

/// An exchange.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ExchangeReport {
    /// Its name.
    pub name: Option<String>,
    /// `direct`, `topic` or `fanout`, or another.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Whether it outlives the server.
    pub durable: Option<bool>,
    /// Whether it goes with its last queue.
    pub auto_delete: Option<bool>,
}

/// One more exchange that a queue is bound to.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct BindingReport {
    /// What it is bound with.
    pub routing_key: Option<String>,
    /// The exchange.
    pub exchange: ExchangeReport,
}

/// A task.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TaskReport {
    /// Its name.
    pub name: String,
    /// Whether it is acknowledged after it has run.
    pub acks_late: Option<bool>,
    /// Whether it is when it failed.
    pub acks_on_failure: Option<bool>,
    /// Whether it is when it was over its hard time limit.
    pub acks_on_timeout: Option<bool>,
    /// Whether it is delivered again when its child died.
    pub reject_on_worker_lost: Option<bool>,
    /// Whether its results are not stored.
    pub ignore_result: Option<bool>,
    /// Whether its failures are, all the same.
    pub store_errors_even_if_ignored: Option<bool>,
    /// Whether its start is stored.
    pub track_started: Option<bool>,
    /// How often it may start: `10/m`, or a number for each second.
    pub rate_limit: Value,
    /// Seconds after which it is killed.
    pub time_limit: Option<f64>,
    /// Seconds after which it is told to end.
    pub soft_time_limit: Option<f64>,
    /// The most retries; without bound if `None`.
    pub max_retries: Option<i64>,
    /// Whether it is a coroutine function.
    pub is_async: bool,
}

/// How an app logs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct LogReport {
    /// `worker_log_format`.
    pub format: Option<String>,
    /// `worker_task_log_format`.
    pub task_format: Option<String>,
    /// `worker_log_datefmt`: how times look, as `strftime` has it.
    pub datefmt: Option<String>,
    /// The least that is logged: `INFO`, or Python's number of it.
    pub level: Value,
    /// Whether the worker may write Celery's lines itself.
    pub is_default: bool,
    /// The variable TZ as the app has set it, if it has.
    pub tz: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_may_leave_out_what_it_does_not_know_and_add_what_we_do_not() {
        let report: AppReport = serde_json::from_str(
            r#"{"versions": {"celery": "5.7.0"}, "tasks": [{"name": "add", "rate_limit": "10/m"}],
                "broker": {"read": "redis://:secret@h/0"}, "news": 1,
                "queues": [{"name": "q", "exchange": {"name": "q", "type": "direct"}}],
                "settings": {"worker_concurrency": null, "worker_prefetch_multiplier": 4}}"#,
        )
        .unwrap();
        assert_eq!(report.versions.celery, "5.7.0");
        assert_eq!(report.tasks[0].rate_limit, "10/m");
        assert_eq!(report.queues[0].exchange.kind.as_deref(), Some("direct"));
        assert!(report.setting("worker_concurrency").is_none());
        assert!(report.setting("worker_prefetch_multiplier").is_some());
        assert!(!format!("{report:?}").contains("secret"));
    }
}
