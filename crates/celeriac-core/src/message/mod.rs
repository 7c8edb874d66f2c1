//! What a broker stores: headers that everybody reads, and a body only the task's process does.

mod read;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::destination::ExchangeKey;
use crate::executor::Limits;
use crate::id::TaskId;
use crate::payload::Payload;
use crate::policy::ResultPolicy;
use crate::signature::{CallOptions, Marks};
use crate::task::TaskOptions;

/// The headers of a message, under the names and in the order of Celery's protocol 2.
///
/// Headers we do not know are kept in `extra` and travel on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Headers {
    /// The language of the sender: `rs` or `py`.
    pub lang: String,
    /// The name of the task.
    pub task: String,
    /// The id of the call; a number, which some producers send, is taken as its digits.
    pub id: TaskId,
    /// When it may start.
    #[serde(serialize_with = "crate::moment::serialize")]
    pub eta: Option<Timestamp>,
    /// When it is no longer worth starting.
    #[serde(serialize_with = "crate::moment::serialize")]
    pub expires: Option<Timestamp>,
    /// The workflow it belongs to.
    pub group: Option<String>,
    /// Retries so far.
    pub retries: u32,
    /// Hard and soft time limit in seconds.
    #[serde(serialize_with = "write_limits")]
    pub timelimit: Option<(Option<f64>, Option<f64>)>,
    /// The first call of its workflow.
    pub root_id: Option<TaskId>,
    /// The call that sent it.
    pub parent_id: Option<TaskId>,
    /// Who sent it.
    pub origin: Option<String>,
    /// Whether it leaves no result; `None` leaves it to the task.
    pub ignore_result: Option<bool>,
    /// What else the sender wrote.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A call on its way: headers, priority, encoded body, and where its answer goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// What everybody may read.
    pub headers: Headers,
    /// 0 to 9. It travels as it is; which end comes first is the broker's rule.
    pub priority: u8,
    /// Where its sender waits for the result, on a broker that sends results as messages.
    pub reply_to: Option<String>,
    /// What its sender knows the answer by; the task id if `None`.
    pub correlation_id: Option<String>,
    /// The exchange that it came through, and under which key, if it was not sent straight to its queue
    /// and the driver knows.
    pub exchange: Option<Box<ExchangeKey>>,
    /// The encoded arguments, in Celery's shape `[args, kwargs, embed]`.
    pub body: Payload,
}

impl Message {
    /// The message of a call that was sent at `now`.
    ///
    /// `task_options` are the task's own, if the sender knows them; `options` win over them.
    pub fn new(
        task: &str,
        body: Payload,
        options: &CallOptions,
        task_options: &TaskOptions,
        now: Timestamp,
    ) -> Self {
        let id = options.id.clone().unwrap_or_default();
        let limits = Limits {
            soft: options.soft_time_limit.or(task_options.limits.soft),
            hard: options.time_limit.or(task_options.limits.hard),
        };
        let ignored = matches!(task_options.results, ResultPolicy::Ignore);
        let headers = Headers {
            lang: "rs".to_owned(),
            task: task.to_owned(),
            root_id: Some(id.clone()),
            id,
            eta: options
                .eta
                .or_else(|| options.countdown.map(|delay| later(now, delay))),
            expires: options
                .expires
                .or(task_options.expires)
                .map(|after| later(now, after)),
            group: None,
            retries: 0,
            timelimit: limits.any().then(|| {
                (
                    limits.hard.map(|d| d.as_secs_f64()),
                    limits.soft.map(|d| d.as_secs_f64()),
                )
            }),
            parent_id: None,
            origin: None,
            ignore_result: Some(options.ignore_result.unwrap_or(ignored)),
            extra: options
                .marks
                .as_deref()
                .map_or_else(Map::new, Marks::headers),
        };
        Self {
            headers,
            priority: options.priority.unwrap_or(task_options.priority).min(9),
            reply_to: None,
            correlation_id: None,
            exchange: None,
            body,
        }
    }

    /// The same call for another attempt, to start no sooner than `eta`.
    #[must_use]
    pub fn for_retry(&self, eta: Option<Timestamp>) -> Self {
        let mut next = self.clone();
        next.headers.retries += 1;
        next.headers.eta = eta;
        next
    }

    /// Which attempt this delivery is, counted from 1.
    pub fn attempt(&self) -> u32 {
        self.headers.retries.saturating_add(1)
    }

    /// The time limits it carries. Values that are no durations are taken as none.
    pub fn limits(&self) -> Limits {
        let duration =
            |seconds: Option<f64>| seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
        self.headers
            .timelimit
            .map_or(Limits::NONE, |(hard, soft)| Limits {
                soft: duration(soft),
                hard: duration(hard),
            })
    }

    /// Whether it is no longer worth starting at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.headers.expires.is_some_and(|expires| expires <= now)
    }
}

/// Writes time limits as Python would: whole seconds as whole numbers.
#[expect(clippy::ref_option, reason = "serde gives it so")]
fn write_limits<S: Serializer>(
    limits: &Option<(Option<f64>, Option<f64>)>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let value = |limit: Option<f64>| match limit {
        #[allow(clippy::cast_possible_truncation, reason = "only if it loses nothing")]
        Some(limit) if limit.fract() == 0.0 && limit.abs() < 1e15 => Value::from(limit as i64),
        limit => Value::from(limit),
    };
    let limits = limits.map(|(hard, soft)| (value(hard), value(soft)));
    limits.serialize(serializer)
}

/// `delay` after `now`; the end of time if that is too far.
pub fn later(now: Timestamp, delay: Duration) -> Timestamp {
    now.checked_add(delay).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::ContentType;
    use crate::task::encode_body;

    fn message(options: &CallOptions) -> Message {
        let body = encode_body(ContentType::Json, &(1,)).unwrap();
        Message::new(
            "add",
            body,
            options,
            &TaskOptions::DEFAULT,
            Timestamp::UNIX_EPOCH,
        )
    }

    #[test]
    fn unknown_headers_survive() {
        let text = r#"{"task":"add","id":"x","stamps":{"a":[1]},"mine":7,"retries":2}"#;
        let headers: Headers = serde_json::from_str(text).unwrap();
        assert_eq!(headers.extra["mine"], 7);
        let again = serde_json::to_value(&headers).unwrap();
        assert_eq!(again["stamps"]["a"][0], 1);
        assert_eq!(again["retries"], 2);
    }

    #[test]
    fn headers_are_read_as_python_writes_them() {
        let text = r#"{"task":"add","id":17,"lang":null,"retries":null,"timelimit":[null,null],
            "eta":"2030-01-02T03:04:05+05:30","expires":"2030-01-02T03:04:05"}"#;
        let headers: Headers = serde_json::from_str(text).unwrap();
        assert_eq!(headers.id, "17".into());
        assert_eq!(headers.timelimit, Some((None, None)));
        let again = serde_json::to_value(&headers).unwrap();
        assert_eq!(again["eta"], "2030-01-01T21:34:05+00:00");
        assert_eq!(again["expires"], "2030-01-02T03:04:05+00:00");
    }

    #[test]
    fn the_last_of_a_header_that_comes_twice_counts() {
        let text = r#"{"task":"a","id":"x","shadow":"s","task":"b","shadow":null}"#;
        let headers: Headers = serde_json::from_str(text).unwrap();
        assert_eq!(headers.task, "b");
        assert_eq!(headers.extra.get("shadow"), None);
    }

    #[test]
    fn headers_that_python_would_choke_on_are_refused() {
        for text in [
            r#"{"task":"add"}"#,
            r#"{"id":"x"}"#,
            r#"{"task":"add","id":null}"#,
            r#"{"task":"add","id":"x","eta":1795202908}"#,
            r#"{"task":"add","id":"x","expires":"soon"}"#,
        ] {
            assert!(serde_json::from_str::<Headers>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_countdown_becomes_an_absolute_time() {
        let options = CallOptions {
            countdown: Some(Duration::from_secs(60)),
            ..CallOptions::default()
        };
        assert_eq!(message(&options).headers.eta.unwrap().as_second(), 60);
    }

    #[test]
    fn marks_become_headers() {
        let mut marks = crate::signature::Marks {
            shadow: Some("nicer".to_owned()),
            ..Marks::default()
        };
        marks.headers.insert("mine".to_owned(), 7.into());
        marks.stamps.insert("b".to_owned(), "x".into());
        marks.stamps.insert("a".to_owned(), vec![1].into());
        let options = CallOptions {
            marks: Some(Box::new(marks)),
            ..CallOptions::default()
        };
        let extra = message(&options).headers.extra;
        let shown = serde_json::to_value(extra).unwrap();
        assert_eq!(
            shown,
            serde_json::json!({"mine": 7, "shadow": "nicer", "stamped_headers": ["a", "b"],
                "stamps": {"a": [1], "b": "x"}})
        );
    }

    #[test]
    fn a_delay_past_the_end_of_time_is_the_end_of_time() {
        let options = CallOptions {
            expires: Some(Duration::MAX),
            ..CallOptions::default()
        };
        assert_eq!(message(&options).headers.expires, Some(Timestamp::MAX));
    }

    #[test]
    fn nonsense_limits_are_none() {
        let mut bad = message(&CallOptions::default());
        bad.headers.timelimit = Some((Some(f64::NAN), Some(-1.0)));
        assert_eq!(bad.limits(), Limits::NONE);
    }
}
