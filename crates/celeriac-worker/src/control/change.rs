//! Commands that change something.

use std::num::NonZeroUsize;
use std::time::Duration;

use celeriac_core::executor::Bounds;
use celeriac_core::{Executor, Limits, RateLimit, TaskId};
use celeriac_wire::repr;
use serde_json::Value;

use super::Control;
use super::arguments::{Arguments, Refusal, ok};
use crate::signal;

/// To so many slots a pool grows by remote control: a number with a digit too many ends no worker.
const MOST_SLOTS: usize = 1000;

impl Control {
    pub(super) async fn change(
        &mut self,
        command: &str,
        arguments: &Arguments,
    ) -> Result<Value, Refusal> {
        match command {
            "revoke" => self.revoke(arguments, arguments.flag("terminate")).await,
            "terminate" => self.revoke(arguments, true).await,
            "revoke_by_stamped_headers" => self.revoke_stamped(arguments).await,
            "rate_limit" => self.rate_limit(arguments).await,
            "time_limit" => self.time_limit(arguments).await,
            "autoscale" => self.autoscale(arguments).await,
            "pool_restart" => self.restart_pool(arguments).await,
            "pool_grow" => self.resize(arguments, true).await,
            _ => self.resize(arguments, false).await,
        }
    }

    async fn revoke(&self, arguments: &Arguments, terminate: bool) -> Result<Value, Refusal> {
        let texts = arguments.texts("task_id")?;
        let signal = terminate.then(|| signal(arguments)).transpose()?;
        let ids: Vec<TaskId> = texts.iter().map(|id| id.as_str().into()).collect();
        let ended = self
            .operator
            .ask(move |dispatcher| dispatcher.revoke_calls(&ids, signal));
        let ended = ended.await.unwrap_or_default();
        if !terminate {
            let shown: Vec<_> = texts
                .iter()
                .map(|id| repr::value(&id.as_str().into()))
                .collect();
            let text = format!("tasks {{{}}} flagged as revoked", shown.join(", "));
            return Ok(ok(text));
        }
        Ok(ok(if ended.is_empty() {
            "terminate: tasks unknown".to_owned()
        } else {
            format!("terminate: {}", listed(&ended))
        }))
    }

    async fn revoke_stamped(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let given = arguments.need("headers")?;
        let Value::Object(headers) = given else {
            return Err(Refusal::exception("TypeError", "'headers' must be a map"));
        };
        let stamps = headers.iter().map(|(name, value)| {
            let values = match value {
                Value::Array(values) => values.clone(),
                single => vec![single.clone()],
            };
            (name.clone(), values)
        });
        let stamps: Vec<_> = stamps.collect();
        let terminate = arguments.flag("terminate");
        let signal = terminate.then(|| signal(arguments)).transpose()?;
        let ended = self
            .operator
            .ask(move |dispatcher| dispatcher.revoke_stamped(&stamps, signal));
        let ended = ended.await.unwrap_or_default();
        let shown = repr::value(given);
        Ok(ok(match (terminate, ended.is_empty()) {
            (false, _) => format!("headers {shown} flagged as revoked, but not terminated"),
            (true, true) => format!("headers {shown} were not terminated"),
            (true, false) => format!("headers {shown} revoked: {}", listed(&ended)),
        }))
    }

    async fn rate_limit(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let task = arguments.text("task_name")?.to_owned();
        let given = arguments.need("rate_limit")?.clone();
        let limit = rate(&given)?;
        let known = self
            .operator
            .ask(move |dispatcher| dispatcher.set_rate(&task, limit));
        if known.await != Some(true) {
            return Err(Refusal::new("unknown task"));
        }
        let lifted = match &given {
            Value::Null => true,
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty(),
            _ => false,
        };
        Ok(ok(if lifted {
            "rate limit disabled successfully"
        } else {
            "new rate limit set successfully"
        }))
    }

    async fn time_limit(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let task = arguments.text("task_name")?.to_owned();
        let limits = Limits {
            hard: seconds(arguments, "hard")?,
            soft: seconds(arguments, "soft")?,
        };
        let known = self
            .operator
            .ask(move |dispatcher| dispatcher.set_limits(&task, limits));
        if known.await != Some(true) {
            return Err(Refusal::new("unknown task"));
        }
        Ok(ok("time limits set successfully"))
    }

    async fn bounds(&self, fewest: Option<usize>, most: Option<NonZeroUsize>) -> Option<Bounds> {
        let changed = self
            .operator
            .ask(move |dispatcher| dispatcher.pool().autoscale(fewest, most));
        changed.await.flatten()
    }

    async fn autoscale(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let bound = |name| match arguments.get(name) {
            None => Ok(None),
            Some(_) => arguments.count(name, 0).map(Some),
        };
        let (most, fewest) = (bound("max")?, bound("min")?);
        if most.max(fewest) > Some(MOST_SLOTS) {
            return Err(too_many());
        }
        let most = most.map(|most| {
            let none = || Refusal::exception("ValueError", "a pool has at least one slot");
            NonZeroUsize::new(most).ok_or_else(none)
        });
        match self.bounds(fewest, most.transpose()?).await {
            Some(Bounds { fewest, most }) => {
                Ok(ok(format!("autoscale now max={most} min={fewest}")))
            }
            None => Err(Refusal::exception("ValueError", "Autoscale not enabled")),
        }
    }

    async fn restart_pool(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        if !self.settings.pool_restarts {
            return Err(Refusal::exception(
                "ValueError",
                "Pool restarts not enabled",
            ));
        }
        if arguments.flag("reload") || arguments.get("modules").is_some() {
            let why =
                "children are forked from what was imported at the start: start the worker again";
            return Err(Refusal::exception("ValueError", why));
        }
        let renewed = self.operator.ask(|dispatcher| dispatcher.pool().renew());
        match renewed.await {
            Some(true) => Ok(ok("reload started")),
            _ => Err(Refusal::exception(
                "ValueError",
                "this pool has no children to replace",
            )),
        }
    }

    async fn resize(&self, arguments: &Arguments, grow: bool) -> Result<Value, Refusal> {
        let by = arguments.count("n", 1)?;
        if self.bounds(None, None).await.is_some() {
            let command = if grow { "pool_grow" } else { "pool_shrink" };
            return Err(Refusal::new(format!(
                "{command} is not supported with autoscale. Adjust autoscale range instead."
            )));
        }
        let resized = self
            .operator
            .ask(move |dispatcher| resized(dispatcher.pool(), by, grow));
        match resized.await {
            Some(Ok(())) if grow => Ok(ok("pool will grow")),
            Some(Ok(())) => Ok(ok("pool will shrink")),
            Some(Err(refusal)) => Err(refusal),
            None => Err(Refusal::exception("ValueError", "the worker is ending")),
        }
    }
}

/// Has so many calls more, or fewer, run at once.
fn resized(pool: &dyn Executor, by: usize, grow: bool) -> Result<(), Refusal> {
    let now = pool.slots();
    let wanted = if grow {
        let wanted = now.saturating_add(by);
        (wanted.get() <= MOST_SLOTS)
            .then_some(wanted)
            .ok_or_else(too_many)
    } else {
        let wanted = now.get().checked_sub(by).and_then(NonZeroUsize::new);
        let empty = "Can't shrink pool. A pool has at least one slot";
        wanted.ok_or_else(|| Refusal::exception("ValueError", empty))
    };
    let keeps = || Refusal::exception("ValueError", "this pool keeps its size");
    pool.resize(wanted?).then_some(()).ok_or_else(keeps)
}

fn too_many() -> Refusal {
    let reason = format!("by remote control a pool grows to {MOST_SLOTS} slots at most");
    Refusal::exception("ValueError", &reason)
}

fn listed(ids: &[TaskId]) -> String {
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    ids.join(", ")
}

/// A rate limit as Celery writes it; none if it lifts the limit.
fn rate(given: &Value) -> Result<Option<RateLimit>, Refusal> {
    let (count, unit) = match given {
        Value::Null => return Ok(None),
        Value::Number(number) => (number.as_f64().unwrap_or(0.0), "s"),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::String(text) => {
            let (count, unit) = text.split_once('/').unwrap_or((text, "s"));
            if !["s", "m", "h"].contains(&unit) {
                return Err(Refusal::exception("KeyError", unit));
            }
            let unfit = || {
                let shown = repr::value(&count.into());
                let text = format!("could not convert string to float: {shown}");
                Refusal::exception("ValueError", &text)
            };
            (count.trim().parse::<f64>().map_err(|_| unfit())?, unit)
        }
        _ => {
            return Err(Refusal::exception(
                "TypeError",
                "a rate limit is a number or a text",
            ));
        }
    };
    let unit_s = match unit {
        "m" => 60.0,
        "h" => 3600.0,
        _ => 1.0,
    };
    // Nothing starts more often than that, and nothing waits longer than the clock goes.
    let interval_s: f64 = unit_s / count;
    if count <= 0.0 || !interval_s.is_finite() {
        return Ok(None);
    }
    let per = Duration::try_from_secs_f64(interval_s.max(1e-9))
        .map_err(|_| Refusal::exception("ValueError", "the rate limit is too low"))?;
    Ok(Some(RateLimit { count: 1, per }))
}

/// The signal that ends what runs: SIGTERM unless another one is given.
fn signal(arguments: &Arguments) -> Result<i32, Refusal> {
    let number = match arguments.get("signal") {
        None => Some(signal::TERM),
        Some(Value::String(name)) => signal::number(name),
        Some(value) => value.as_i64().and_then(|number| i32::try_from(number).ok()),
    };
    let unfit = || Refusal::exception("ValueError", "'signal' must be the name of a signal");
    number
        .filter(|number| (1..32).contains(number))
        .ok_or_else(unfit)
}

fn seconds(arguments: &Arguments, name: &str) -> Result<Option<Duration>, Refusal> {
    let Some(value) = arguments.get(name) else {
        return Ok(None);
    };
    let seconds = match value {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_f64(),
    };
    // No limit is no limit of no time.
    if seconds == Some(0.0) {
        return Ok(None);
    }
    let limit = seconds.and_then(|it| Duration::try_from_secs_f64(it).ok());
    let unfit = || {
        Refusal::exception(
            "ValueError",
            &format!("'{name}' must be a number of seconds"),
        )
    };
    limit.map(Some).ok_or_else(unfit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rates_are_read_as_celery_reads_them() {
        let interval = |given: Value| rate(&given).map(|it| it.map(|it| it.per.as_secs_f64()));
        for (given, expected) in [
            (json!("10/s"), Some(0.1)),
            (json!("30/m"), Some(2.0)),
            (json!("2/h"), Some(1800.0)),
            (json!(4), Some(0.25)),
            (json!("0.5"), Some(2.0)),
            (json!("0"), None),
            (json!(0), None),
            (json!(""), None),
            (json!(null), None),
        ] {
            assert_eq!(interval(given.clone()), Ok(expected), "{given}");
        }
        let error = |given| rate(&given).unwrap_err().0["error"].clone();
        assert_eq!(error(json!("x/y")), "KeyError('y')");
        let text = r#"ValueError("could not convert string to float: 'x'")"#;
        assert_eq!(error(json!("x/s")), text);
    }
}
