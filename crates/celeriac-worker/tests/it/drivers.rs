//! The worker on real stores.

use std::sync::Arc;
use std::time::Duration;

use celeriac_core::task::encode_body;
use celeriac_core::{
    BrokerUrl, CallOptions, ContentType, Destination, Message, Place, Registry, ResultState, Run,
    TaskDefinition, TaskId, TaskOptions,
};
use celeriac_drivers::DriverOptions;
use celeriac_worker::{Worker, WorkerSettings};
use jiff::Timestamp;

static NOTHING: TaskDefinition = TaskDefinition {
    name: "nothing",
    signature: "nothing()",
    parameters: &[],
    is_async: false,
    wants_context: false,
    options: TaskOptions::DEFAULT,
    call: |_, _, _| Run::Ready(Ok(b"null".to_vec())),
};

fn url(place: &str) -> BrokerUrl {
    match place.parse().unwrap() {
        Place::Broker(url) => url,
        place => panic!("{place} is no broker"),
    }
}

/// Publishes `count` calls, lets a worker drain them and checks every result.
async fn cycle(url: &BrokerUrl, count: usize) -> Duration {
    let broker = celeriac_drivers::open(url, &DriverOptions::default())
        .await
        .unwrap();
    let body = encode_body(ContentType::Json, &()).unwrap();
    let messages: Vec<_> = (0..count)
        .map(|_| {
            let options = CallOptions::default();
            let (body, now) = (body.clone(), Timestamp::now());
            let message = Message::new("nothing", body, &options, &TaskOptions::DEFAULT, now);
            (Destination::default(), message)
        })
        .collect();
    let ids: Vec<TaskId> = messages.iter().map(|(_, m)| m.headers.id.clone()).collect();
    for batch in messages.chunks(1000) {
        broker.publish(batch.to_vec()).await.unwrap();
    }

    let mut settings = WorkerSettings::default();
    settings.stop_when_idle = Some(Duration::from_millis(50));
    let executor = celeriac_executor::open(&Place::Threads(2.try_into().ok())).unwrap();
    let registry = Registry::of([&NOTHING]).unwrap();
    let start = std::time::Instant::now();
    let worker = Worker::new(Arc::clone(&broker), executor, registry, settings)
        .start()
        .await
        .unwrap();
    let report = worker.wait().await.unwrap();
    let took = start.elapsed();
    assert_eq!((report.succeeded, report.unsettled), (count as u64, 0));
    assert_eq!(report.lease_lost, 0);

    let results = broker.results().unwrap().fetch(&ids).await.unwrap();
    for result in results {
        assert_eq!(result.unwrap().state, ResultState::Success);
    }
    let queues = broker.queues().await.unwrap();
    assert!(
        queues
            .iter()
            .all(|queue| queue.ready + queue.held + queue.dead == 0)
    );
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_has_its_result_in_memory() {
    cycle(&url("memory:cycle"), 3000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_has_its_result_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    cycle(&url(&format!("sqlite:{}", path.display())), 3000).await;
}
