//! What is counted of tasks and measured of queues, under the names that all formats share.

use std::time::Duration;

use celeriac_core::QueueInfo;
use celeriac_worker::{Metrics, TaskMetrics, Watcher};
use tokio::time::timeout;

/// How long the broker may take to say how full its queues are.
const DEPTHS: Duration = Duration::from_secs(2);

/// A counter of each task.
pub(crate) struct Counter {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) of: fn(&TaskMetrics) -> u64,
}

/// All of them.
pub(crate) const COUNTERS: [Counter; 8] = [
    counter("received", "Deliveries of calls.", |it| it.received),
    counter("started", "Calls that began to run.", |it| it.started),
    counter("succeeded", "Calls that returned.", |it| it.succeeded),
    counter("failed", "Calls that failed for good.", |it| it.failed),
    counter(
        "retried",
        "Attempts that failed and were sent again.",
        |it| it.retried,
    ),
    counter(
        "revoked",
        "Calls that were cancelled or had expired.",
        |it| it.revoked,
    ),
    counter(
        "given_back",
        "Deliveries given back to their queue.",
        |it| it.given_back,
    ),
    counter("lost", "Runs lost with the process they ran in.", |it| {
        it.lost
    }),
];

const fn counter(name: &'static str, help: &'static str, of: fn(&TaskMetrics) -> u64) -> Counter {
    Counter { name, help, of }
}

/// How many messages of a queue are in each state.
pub(crate) fn states(queue: &QueueInfo) -> [(&'static str, u64); 4] {
    [
        ("ready", queue.ready),
        ("unacked", queue.held),
        ("delayed", queue.delayed),
        ("dead", queue.dead),
    ]
}

/// How full the queues are that the worker takes from; nothing if the broker does not say.
pub(crate) async fn depths(worker: &Watcher, metrics: &Metrics) -> Vec<QueueInfo> {
    let asked = timeout(DEPTHS, worker.depths(&metrics.queues)).await;
    asked.ok().and_then(Result::ok).unwrap_or_default()
}
