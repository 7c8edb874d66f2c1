//! Real executors behind the worker.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use celeriac_core::{Executor, Place, Registry, Run, TaskDefinition, TaskOptions, Verdict};
use celeriac_worker::{Shutdown, Worker, WorkerSettings};

use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::broker::FakeBroker;
use crate::harness::message;

/// After which a call will not run any more.
const LONG: Duration = Duration::from_secs(30);

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

/// How many calls of `linger` run, and the most that did at once.
static LINGERING: LazyLock<watch::Sender<usize>> = LazyLock::new(watch::Sender::default);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// Each lets one of them end.
static GATE: Semaphore = Semaphore::const_new(0);

static LINGER: TaskDefinition = TaskDefinition {
    name: "linger",
    signature: "linger()",
    parameters: &[],
    is_async: true,
    wants_context: false,
    options: TaskOptions::DEFAULT,
    call: |_, _, _| {
        Run::Pending(Box::pin(async move {
            LINGERING.send_modify(|running| {
                *running += 1;
                MOST.fetch_max(*running, Ordering::Relaxed);
            });
            GATE.acquire().await.unwrap().forget();
            LINGERING.send_modify(|running| *running -= 1);
            Ok(b"null".to_vec())
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

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_in_this_process_grows_and_shrinks_while_calls_run() {
    for place in ["threads=1", "coroutines=1"] {
        let broker = FakeBroker::new();
        for _ in 0..6 {
            broker.push(message("linger"));
        }
        let pool: Arc<dyn Executor> = celeriac_executor::open(&place.parse().unwrap()).unwrap();
        let mut settings = WorkerSettings::default();
        settings.prefetch.multiplier = 8;
        let registry = Registry::of([&LINGER]).unwrap();
        let worker = Worker::new(Arc::new(broker.clone()), pool.clone(), registry, settings);
        let worker = worker.start().await.unwrap();
        let run = async |count: usize| {
            let mut running = LINGERING.subscribe();
            let waited = timeout(LONG, running.wait_for(|running| *running == count)).await;
            waited.expect(place).unwrap();
        };
        run(1).await;
        assert!(pool.resize(3.try_into().unwrap()), "{place}");
        assert_eq!(pool.slots().get(), 3);
        run(3).await;
        assert!(pool.resize(1.try_into().unwrap()), "{place}");
        GATE.add_permits(2);
        run(1).await;
        MOST.store(0, Ordering::Relaxed);
        GATE.add_permits(4);
        broker
            .until(|state| (state.settled.len() == 6).then_some(()))
            .await;
        assert_eq!(MOST.load(Ordering::Relaxed), 1, "{place}");
        worker.shutdown(Shutdown::Warm);
        assert_eq!(worker.wait().await.unwrap().succeeded, 6);
    }
}
