//! The tasks of an app, as the worker knows tasks.

use std::time::Duration;

use celeriac_core::{
    AckProfile, CeleryAcks, ContentType, Context, ErrorKind, Limits, Outcome, RateLimit, Registry,
    Run, TaskDefinition, TaskError, TaskOptions,
};
use celeriac_python::{AppReport, TaskReport};
use serde_json::Value;

use super::failure::Failure;
use super::value::seconds_of;

/// The registry of these tasks; `limits` are those of tasks that have none.
///
/// It is made once for each start and stays for the life of the process, as the tasks of a program do.
pub(crate) fn registry(report: &AppReport, limits: Limits) -> Result<Registry, Failure> {
    let disabled = report.setting("worker_disable_rate_limits");
    let has_rates = disabled.and_then(Value::as_bool) != Some(true);
    let tasks = report.tasks.iter();
    let definitions = tasks.map(|task| definition(task, limits, has_rates));
    Registry::of(definitions)
        .map_err(|error| Failure::usage("the app's tasks cannot be served").because(error))
}

fn definition(task: &TaskReport, limits: Limits, has_rates: bool) -> &'static TaskDefinition {
    let name: &'static str = Box::leak(task.name.clone().into_boxed_str());
    let or = |seconds: Option<f64>, default| seconds.and_then(seconds_of).or(default);
    Box::leak(Box::new(TaskDefinition {
        name,
        signature: name,
        parameters: &[],
        is_async: task.is_async,
        wants_context: false,
        options: TaskOptions {
            ack: AckProfile::Celery(acks(task)),
            rate_limit: rate_limit(&task.rate_limit).filter(|_| has_rates),
            limits: Limits {
                soft: or(task.soft_time_limit, limits.soft),
                hard: or(task.time_limit, limits.hard),
            },
            ..TaskOptions::DEFAULT
        },
        call: in_python,
    }))
}

fn acks(task: &TaskReport) -> CeleryAcks {
    let default = CeleryAcks::default();
    CeleryAcks {
        late: task.acks_late.unwrap_or(default.late),
        on_failure: task.acks_on_failure.unwrap_or(default.on_failure),
        on_timeout: task.acks_on_timeout.unwrap_or(default.on_timeout),
        reject_on_worker_lost: task
            .reject_on_worker_lost
            .unwrap_or(default.reject_on_worker_lost),
    }
}

/// `10/m`, or a number for each second, as Celery reads it; none if it says 0 or nothing.
fn rate_limit(limit: &Value) -> Option<RateLimit> {
    let text = match limit {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let (number, unit) = text.split_once('/').unwrap_or((&text, "s"));
    let unit = match unit.trim() {
        "m" => 60.0,
        "h" => 3600.0,
        _ => 1.0,
    };
    let per_second = number.trim().parse::<f64>().ok()? / unit;
    let between = Duration::try_from_secs_f64(1.0 / per_second).ok()?;
    Some(RateLimit {
        count: 1,
        per: between,
    })
}

fn in_python(_: ContentType, _: &[u8], _: &Context) -> Run<Outcome<Vec<u8>>> {
    let error = TaskError::new(ErrorKind::Failed, "its code is Python's");
    Run::Ready(Err(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_task_keeps_its_rules_and_has_the_defaults_of_the_worker() {
        let task: TaskReport = serde_json::from_value(json!({
            "name": "shop.a", "acks_late": true, "acks_on_timeout": false, "time_limit": 2.5,
            "rate_limit": "30/m",
        }))
        .unwrap();
        let limits = Limits {
            soft: Some(Duration::from_secs(1)),
            hard: Some(Duration::from_secs(9)),
        };
        let mut report = AppReport {
            tasks: vec![task],
            ..AppReport::default()
        };
        let options = |report: &AppReport| {
            let registry = registry(report, limits).unwrap();
            registry.get("shop.a").unwrap().options
        };
        let disabled = json!({"worker_disable_rate_limits": true});
        report.settings = serde_json::from_value(disabled).unwrap();
        assert_eq!(options(&report).rate_limit, None);
        report.settings = serde_json::from_value(json!({})).unwrap();
        let options = options(&report);
        assert_eq!(options.limits.hard, Some(Duration::from_millis(2500)));
        assert_eq!(options.limits.soft, Some(Duration::from_secs(1)));
        let AckProfile::Celery(acks) = options.ack else {
            panic!("{:?}", options.ack)
        };
        assert!(acks.late && acks.on_failure && !acks.on_timeout);
        let rate = options.rate_limit.unwrap();
        assert_eq!(rate.per / rate.count, Duration::from_secs(2));
    }

    #[test]
    fn rates_are_read_as_celery_reads_them() {
        for (limit, between) in [
            (json!("10/s"), Some(0.1)),
            (json!("0.5/s"), Some(2.0)),
            (json!(4), Some(0.25)),
            (json!("2/h"), Some(1800.0)),
            (json!("0"), None),
            (json!(0), None),
            (json!(null), None),
        ] {
            let rate = rate_limit(&limit).map(|rate| (rate.per / rate.count).as_secs_f64());
            assert_eq!(rate, between, "{limit}");
        }
    }
}
