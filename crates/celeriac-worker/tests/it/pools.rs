//! Real executors behind the worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use celeriac_core::{Place, Registry, Run, TaskDefinition, TaskOptions, Verdict};
use celeriac_worker::{Shutdown, Worker, WorkerSettings};

use crate::broker::FakeBroker;
use crate::harness::message;

static RUNS: AtomicUsize = AtomicUsize::new(0);

static COUNT: TaskDefinition = TaskDefinition {
    name: "count",
    signature: "count()",
    parameters: &[],
    is_async: false,
    wants_context: false,
    options: TaskOptions::DEFAULT,
    call: |_, _, _| {
        RUNS.fetch_add(1, Ordering::Relaxed);
        Run::Ready(Ok(b"null".to_vec()))
    },
};

static WAIT: TaskDefinition = TaskDefinition {
    name: "wait",
    signature: "wait()",
    parameters: &[],
    is_async: true,
    wants_context: true,
    options: TaskOptions::DEFAULT,
    call: |_, _, context| {
        let context = context.clone();
        Run::Pending(Box::pin(async move {
            Err(celeriac_core::TaskError::from_error(
                context.interrupted().await,
            ))
        }))
    },
};

async fn worker(place: Place, broker: &FakeBroker) -> celeriac_worker::RunningWorker {
    Worker::new(
        Arc::new(broker.clone()),
        celeriac_executor::open(&place).unwrap(),
        Registry::of([&COUNT, &WAIT]).unwrap(),
        WorkerSettings::default(),
    )
    .start()
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_runs_where_its_broker_answers_unless_its_calls_would_block_that_thread() {
    for (place, hosted) in [("inline", 0), ("threads=1", 1)] {
        let broker = FakeBroker::new();
        broker.with(|state| state.hosts = true);
        let worker = worker(place.parse().unwrap(), &broker).await;
        let tag = broker.push(message("count"));
        broker.settled(tag).await;
        assert_eq!(broker.with(|state| state.hosted), hosted, "{place}");
        worker.shutdown(Shutdown::Warm);
        assert_eq!(worker.wait().await.unwrap().succeeded, 1, "{place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_runs_once_on_every_pool() {
    for place in [
        Place::Inline,
        Place::Threads(2.try_into().ok()),
        Place::Coroutines(10.try_into().ok()),
    ] {
        RUNS.store(0, Ordering::Relaxed);
        let broker = FakeBroker::new();
        for _ in 0..2000 {
            broker.push(message("count"));
        }
        let worker = worker(place, &broker).await;
        broker
            .until(|state| (state.settled.len() == 2000).then_some(()))
            .await;
        worker.shutdown(Shutdown::Warm);
        assert_eq!(worker.wait().await.unwrap().succeeded, 2000);
        assert_eq!(RUNS.load(Ordering::Relaxed), 2000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn soft_reaches_tasks_that_listen() {
    for place in [
        Place::Threads(2.try_into().ok()),
        Place::Coroutines(2.try_into().ok()),
    ] {
        let broker = FakeBroker::new();
        broker.push(message("wait"));
        broker.push(message("wait"));
        let worker = worker(place, &broker).await;
        broker
            .until(|state| (state.held.len() == 2).then_some(()))
            .await;
        let before = std::time::Instant::now();
        worker.shutdown(Shutdown::Soft);
        worker.wait().await.unwrap();
        assert!(before.elapsed() < Duration::from_secs(5));
        broker.with(|state| {
            assert_eq!(state.ready.len(), 2);
            assert!(state.settled.iter().all(|settlement| {
                settlement.verdict
                    == Verdict::Requeue {
                        eta: None,
                        counted: false,
                    }
            }));
        });
    }
}
