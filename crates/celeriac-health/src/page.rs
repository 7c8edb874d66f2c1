//! The page of metrics, in the text format of Prometheus 0.0.4.
//!
//! Libraries for it count in shared numbers of their own; ours are counted by the dispatcher already, and
//! only have to be written.

use std::fmt::{Display, Write as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use celeriac_core::QueueInfo;
use celeriac_worker::{Histogram, Metrics, TaskMetrics, Watcher, WorkerReport};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::counters::{COUNTERS, Counter, depths, states};

/// How old a page may be: whoever asks more often gets the same one.
const FRESH: Duration = Duration::from_millis(250);
/// How old the depths of queues may be, which the broker is asked for.
const FRESH_DEPTHS: Duration = Duration::from_secs(5);

/// The pages that were written last.
#[derive(Debug, Default)]
pub(crate) struct Pages(Mutex<Written>);

#[derive(Debug, Default)]
struct Written {
    page: Option<(Instant, Bytes)>,
    /// What a worker said last, for when it does not answer.
    metrics: Metrics,
    depths: Option<(Instant, Arc<[QueueInfo]>)>,
}

impl Pages {
    /// The metrics of `worker`.
    pub(crate) async fn metrics(&self, worker: Option<&Watcher>, since: SystemTime) -> Bytes {
        // Whoever else asks meanwhile waits here, and gets the same page.
        let mut written = self.0.lock().await;
        if let Some((at, page)) = &written.page
            && at.elapsed() < FRESH
        {
            return page.clone();
        }
        let mut ready = false;
        let mut report = WorkerReport::default();
        if let Some(worker) = worker {
            report = worker.report();
            ready = match worker.look().await {
                Some(look) => {
                    written.metrics = look.metrics;
                    look.readiness.is_ok()
                }
                None => worker.readiness().await.is_ok(),
            };
        }
        let depths = written.depths(worker).await;
        let standing = Standing {
            ready,
            since,
            report,
            metrics: &written.metrics,
            depths: &depths,
        };
        let page = Bytes::from(write(&standing));
        written.page = Some((Instant::now(), page.clone()));
        page
    }
}

impl Written {
    /// How full the queues are; nothing while the broker does not say.
    async fn depths(&mut self, worker: Option<&Watcher>) -> Arc<[QueueInfo]> {
        let Some(worker) = worker else {
            return Arc::default();
        };
        if let Some((at, depths)) = &self.depths
            && at.elapsed() < FRESH_DEPTHS
        {
            return depths.clone();
        }
        let depths: Arc<[_]> = depths(worker, &self.metrics).await.into();
        self.depths = Some((Instant::now(), depths.clone()));
        depths
    }
}

/// What a page says.
struct Standing<'a> {
    ready: bool,
    since: SystemTime,
    report: WorkerReport,
    metrics: &'a Metrics,
    depths: &'a [QueueInfo],
}

fn write(standing: &Standing<'_>) -> String {
    let mut page = Page::default();
    page.family(
        "celeriac_build_info",
        "gauge",
        "The version of celeriac; always 1.",
    );
    page.sample(
        "celeriac_build_info",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1,
    );
    let since = standing
        .since
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    page.one(
        "celeriac_start_time_seconds",
        "gauge",
        "When the program was started, in Unix time.",
        since.as_secs_f64(),
    );
    page.one(
        "celeriac_ready",
        "gauge",
        "1 if the worker consumes, as /readyz says.",
        u8::from(standing.ready),
    );

    let metrics = standing.metrics;
    for Counter { name, help, of } in COUNTERS {
        let name = format!("celeriac_tasks_{name}_total");
        page.family(&name, "counter", help);
        for task in &metrics.tasks {
            page.sample(&name, &labels(task), of(task));
        }
    }
    page.histograms(
        "celeriac_task_runtime_seconds",
        "How long calls ran.",
        metrics,
        |task| &task.runtime,
    );
    page.histograms(
        "celeriac_task_wait_seconds",
        "How long calls were at the worker before they began to run.",
        metrics,
        |task| &task.wait,
    );

    page.one(
        "celeriac_pool_slots",
        "gauge",
        "How many calls can run at once.",
        metrics.slots,
    );
    page.one(
        "celeriac_pool_running",
        "gauge",
        "How many calls run.",
        metrics.running,
    );
    #[expect(clippy::cast_precision_loss, reason = "there are few slots")]
    let saturation = metrics.running as f64 / metrics.slots.max(1) as f64;
    page.one(
        "celeriac_pool_saturation_ratio",
        "gauge",
        "Running calls by slots.",
        saturation,
    );
    page.one(
        "celeriac_prefetch_limit",
        "gauge",
        "How many deliveries are held at most.",
        metrics.prefetch,
    );
    page.one(
        "celeriac_leases_held",
        "gauge",
        "Deliveries held, not yet settled.",
        metrics.held,
    );
    let report = &standing.report;
    page.one(
        "celeriac_leases_lost_total",
        "counter",
        "Settlements that came too late: another worker has the message.",
        report.lease_lost,
    );
    page.one(
        "celeriac_settling",
        "gauge",
        "Ends decided, but not carried out yet.",
        metrics.settling,
    );
    page.one(
        "celeriac_settlements_refused_total",
        "counter",
        "Settlements that could not be carried out; the messages come again.",
        report.unsettled,
    );
    page.one(
        "celeriac_broker_reconnects_total",
        "counter",
        "How often consuming worked again after it had failed.",
        report.reconnects,
    );

    let name = "celeriac_queue_messages";
    page.family(
        name,
        "gauge",
        "Messages of the queues that the worker takes from; none while the broker does not say.",
    );
    for queue in standing.depths {
        for (state, count) in states(queue) {
            page.sample(
                name,
                &[("queue", queue.name.as_str()), ("state", state)],
                count,
            );
        }
    }
    page.0
}

fn labels(task: &TaskMetrics) -> [(&str, &str); 2] {
    [("task", &task.task), ("queue", &task.queue)]
}

/// A page under way.
#[derive(Default)]
struct Page(String);

impl Page {
    /// Begins with what has this name. Writing to a text cannot fail, here and below.
    fn family(&mut self, name: &str, sort: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {sort}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (number, (label, value)) in labels.iter().enumerate() {
            let before = if number == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"");
            self.0.extend(value.chars().flat_map(escaped));
            self.0.push('"');
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{after} {value}");
    }

    fn one(&mut self, name: &str, sort: &str, help: &str, value: impl Display) {
        self.family(name, sort, help);
        self.sample(name, &[], value);
    }

    fn histograms(
        &mut self,
        name: &str,
        help: &str,
        metrics: &Metrics,
        of: fn(&TaskMetrics) -> &Histogram,
    ) {
        self.family(name, "histogram", help);
        let (bucket, sum, count) = (
            format!("{name}_bucket"),
            format!("{name}_sum"),
            format!("{name}_count"),
        );
        for task in &metrics.tasks {
            let (histogram, [task, queue]) = (of(task), labels(task));
            let mut so_far = 0;
            for (number, more) in histogram.counts.iter().enumerate() {
                so_far += more;
                let bound = Histogram::BOUNDS.get(number);
                let bound =
                    bound.map_or_else(|| "+Inf".to_owned(), |it| it.as_secs_f64().to_string());
                self.sample(&bucket, &[task, queue, ("le", &bound)], so_far);
            }
            self.sample(&sum, &[task, queue], histogram.sum.as_secs_f64());
            self.sample(&count, &[task, queue], so_far);
        }
    }
}

/// A character within a label, which ends at a quote and at the end of the line.
fn escaped(c: char) -> impl Iterator<Item = char> {
    let (before, c) = match c {
        '\n' => (Some('\\'), 'n'),
        '"' | '\\' => (Some('\\'), c),
        _ => (None, c),
    };
    before.into_iter().chain([c])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_end_before_its_end() {
        let mut page = Page::default();
        page.sample("m", &[("task", "a\"} 1\n\\é")], 2);
        assert_eq!(page.0, "m{task=\"a\\\"} 1\\n\\\\é\"} 2\n");
        page.0.clear();
        page.sample("m", &[], 0.5);
        assert_eq!(page.0, "m 0.5\n");
    }
}
