//! Commands that only ask.

use std::collections::HashMap;

use celeriac_core::{RateLimit, TaskDefinition, TaskId};
use serde_json::{Map, Value, json};

use super::Control;
use super::arguments::{Arguments, Refusal};
use super::queues::described;
use crate::dispatcher::HeldCall;
use crate::linux;

impl Control {
    pub(super) async fn inspect(
        &mut self,
        command: &str,
        arguments: &Arguments,
    ) -> Result<Value, Refusal> {
        Ok(match command {
            "active" => self.calls(true, arguments.flag("safe")).await,
            "reserved" => self.calls(false, false).await,
            // What waits for its time waits in the broker.
            "scheduled" => json!([]),
            "query_task" => self.query(&arguments.texts("ids")?).await,
            "registered" => self.registered(arguments).await,
            "stats" => self.stats().await,
            "active_queues" => {
                let topology = &self.settings.about.topology;
                let queues = self.queues.iter();
                queues.map(|name| described(name, topology)).collect()
            }
            "revoked" => json!(self.revoked().await),
            _ => self.hello(arguments).await?,
        })
    }

    async fn held(&self) -> Vec<HeldCall> {
        let held = self.operator.ask(|dispatcher| dispatcher.held_calls());
        held.await.unwrap_or_default()
    }

    async fn calls(&self, started: bool, safe: bool) -> Value {
        let held = self.held().await.into_iter();
        let meant = held.filter(|call| call.started_s.is_some() == started);
        meant.map(|call| call.info(&self.node, safe)).collect()
    }

    async fn query(&self, ids: &[String]) -> Value {
        let held = self.held().await.into_iter();
        let found = held.filter_map(|call| {
            let id = call.delivery.message.headers.id.to_string();
            let state = match call.started_s {
                Some(_) => "active",
                None => "reserved",
            };
            let info = call.info(&self.node, false);
            ids.contains(&id).then(|| (id, json!([state, info])))
        });
        Value::Object(found.collect())
    }

    async fn revoked(&self) -> Vec<String> {
        let ids = self.operator.ask(|dispatcher| dispatcher.revoked_ids());
        ids.await.unwrap_or_default()
    }

    /// A worker that has started tells what it knows to be revoked, and wants to know what we do.
    async fn hello(&mut self, arguments: &Arguments) -> Result<Value, Refusal> {
        arguments.text("from_node")?;
        let known = self.revoked().await;
        let theirs = ids_of(arguments.get("revoked"));
        if !theirs.is_empty() {
            let learnt = self
                .operator
                .ask(move |dispatcher| dispatcher.revoke_calls(&theirs, None));
            learnt.await;
        }
        let all = match arguments.get("revoked") {
            None => known,
            Some(_) => self.revoked().await,
        };
        Ok(json!({"revoked": all, "clock": self.clock.forward()}))
    }

    async fn registered(&self, arguments: &Arguments) -> Value {
        let rates = self.operator.ask(|dispatcher| dispatcher.changed_rates());
        let rates = rates.await.unwrap_or_default();
        let items = match arguments.get("taskinfoitems") {
            Some(Value::Array(items)) if !items.is_empty() => {
                items.iter().filter_map(Value::as_str).collect()
            }
            _ => vec!["rate_limit"],
        };
        let all = arguments.flag("builtins");
        let tasks = self.registry.iter();
        let mut tasks: Vec<_> = tasks
            .filter(|task| all || !task.name.starts_with("celery."))
            .map(|task| {
                let own = task.options.rate_limit;
                let rate = rates.get(task.name).copied().unwrap_or(own);
                described_task(task, rate, &items)
            })
            .collect();
        tasks.sort_unstable();
        tasks.into()
    }

    async fn stats(&self) -> Value {
        let figures = self.operator.ask(|dispatcher| dispatcher.figures());
        let figures = figures.await.unwrap_or_default();
        let about = &self.settings.about;
        let mut pool = Map::from_iter([
            ("implementation".to_owned(), json!("celeriac")),
            ("processes".to_owned(), json!([std::process::id()])),
            ("timeouts".to_owned(), json!([0, 0])),
        ]);
        pool.extend(about.pool.clone());
        pool.insert("max-concurrency".to_owned(), json!(figures.slots));
        let totals: HashMap<_, _> = figures.totals;
        json!({
            "total": totals,
            "pid": std::process::id(),
            "clock": self.clock.value().to_string(),
            "uptime": self.started.elapsed().as_secs(),
            "pool": pool,
            "broker": about.broker,
            "prefetch_count": figures.prefetch,
            "rusage": linux::usage(),
        })
    }

    pub(super) async fn conf(&self) -> Value {
        let figures = self.operator.ask(|dispatcher| dispatcher.figures());
        let slots = figures.await.unwrap_or_default().slots;
        json!({
            "broker_url": self.settings.about.broker.get("hostname"),
            "task_queues": self.queues,
            "worker_concurrency": slots,
            "worker_send_task_events": self.news.is_on(),
        })
    }
}

/// What is said of the program and its machine.
pub(super) fn report() -> String {
    format!(
        "\nsoftware -> celeriac:{}\nplatform -> system:{} arch:{}\n            kernel version:{}\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        linux::release(),
    )
}

/// The ids in an answer to `hello`: a list from new workers, a map from older ones.
pub(super) fn ids_of(revoked: Option<&Value>) -> Vec<TaskId> {
    match revoked {
        Some(Value::Array(ids)) => ids
            .iter()
            .filter_map(Value::as_str)
            .map(TaskId::from)
            .collect(),
        Some(Value::Object(ids)) => ids.keys().map(|id| id.as_str().into()).collect(),
        _ => Vec::new(),
    }
}

/// A task with what is asked about it: `add [rate_limit=10/s]`.
fn described_task(task: &TaskDefinition, rate: Option<RateLimit>, items: &[&str]) -> String {
    let options = &task.options;
    let item = |name: &&str| {
        let value = match *name {
            "name" => Some(task.name.to_owned()),
            "rate_limit" => rate.map(|limit| limit.to_string()),
            "time_limit" => options.limits.hard.map(|it| it.as_secs_f64().to_string()),
            "soft_time_limit" => options.limits.soft.map(|it| it.as_secs_f64().to_string()),
            "max_retries" => Some(options.retry.retries.to_string()),
            _ => None,
        };
        value.map(|value| format!("{name}={value}"))
    };
    let items: Vec<_> = items.iter().filter_map(item).collect();
    if items.is_empty() {
        task.name.to_owned()
    } else {
        format!("{} [{}]", task.name, items.join(" "))
    }
}
