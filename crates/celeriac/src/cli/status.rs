//! `status`: the workers that are alive. Those on Redis and RabbitMQ are asked, as by Celery.

use std::time::Duration;

use celeriac_core::ConsumerInfo;
use jiff::Timestamp;
use serde_json::json;

use super::duration::show;
use super::exit::{Exit, Failure};
use super::output::{Output, Table};
use super::remote::{self, Whom};
use super::{GlobalArgs, connect};

pub(super) async fn run(whom: &Whom, global: &GlobalArgs, output: Output) -> Result<Exit, Failure> {
    let broker = connect::open(global).await?;
    if let Some(bus) = broker.bus() {
        return remote::status(&*bus, whom, output).await;
    }
    let workers = broker.consumers().await?;
    let document = workers.iter().map(|worker| {
        json!({
            "name": worker.name,
            "pid": worker.pid,
            "queues": worker.queues,
            "held": worker.held,
            "started_at": worker.started_at,
            "silent_ms": u64::try_from(worker.silent_for.as_millis()).unwrap_or(u64::MAX),
        })
    });
    output.print(&document.collect(), || {
        let mut table = Table::new(&["WORKER", "#PID", "QUEUES", "#HELD", "#UP", "#LAST SEEN"]);
        for worker in &workers {
            table.row([
                worker.name.clone(),
                worker.pid.to_string(),
                queues(worker),
                worker.held.to_string(),
                show(since(worker.started_at)),
                format!("{} ago", show(worker.silent_for)),
            ]);
        }
        table.text("no worker is running")
    })?;
    Ok(Exit::Done)
}

fn queues(worker: &ConsumerInfo) -> String {
    let names: Vec<_> = worker.queues.iter().map(ToString::to_string).collect();
    names.join(",")
}

/// How long ago `then` was, in whole seconds.
pub(super) fn since(then: Timestamp) -> Duration {
    let seconds = Timestamp::now().as_second() - then.as_second();
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
