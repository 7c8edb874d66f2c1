//! Python's workers and clients on the same queues and results.

use std::num::NonZeroUsize;
use std::time::Duration;

use celeriac_core::CallOptions;
use celeriac_core::{
    Broker, ContentType, DeadReason, EncodedResult, Message, Payload, ResultState, Settled,
    Settlement, StoredResult, TaskError, TaskId, TaskOptions, Verdict, task::encode_body,
};
use celeriac_testkit::peers::{CeleryApp, CeleryVersion};
use celeriac_testkit::{queue, result, within};
use redis::Commands;
use serde_json::json;

use super::Store;
use super::keys::{ack, consume, receive};

const TASKS: &str = "
import time
@app.task(name='add')
def add(a, b):
    return a + b

@app.task(name='nap', acks_late=True)
def nap(seconds):
    time.sleep(seconds)
    return 'slept'
";

/// The app of Python's that shares `place`, with further transport options.
fn app(place: &Store, options: &str) -> CeleryApp {
    let server = super::server();
    let setup = format!(
        "app.conf.broker_transport_options = {{'global_keyprefix': {prefix:?}, {options}}}\n\
         app.conf.result_backend_transport_options = {{'global_keyprefix': {prefix:?}}}\n\
         app.conf.task_default_queue = 'jobs'\n{TASKS}",
        prefix = place.prefix,
    );
    CeleryApp::new(CeleryVersion::V57, &server, &server, &setup)
}

fn add(id: &TaskId, a: i64, b: i64) -> Message {
    let body = encode_body(ContentType::Json, &(a, b)).unwrap();
    let options = CallOptions {
        id: Some(id.clone()),
        ..CallOptions::default()
    };
    Message::new(
        "add",
        body,
        &options,
        &TaskOptions::DEFAULT,
        jiff::Timestamp::now(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_pythons_is_delivered_and_its_result_seen_there() {
    let place = Store::new("python", "");
    let store = place.store().await;
    let consumer = consume(&store, "c").await;
    let app = app(&place, "");
    let script = app.script(
        "answer = add.apply_async((2, 3), priority=4, headers={'mine': 1}).get(timeout=30)",
    );
    let delivery = receive(&consumer).await;
    assert_eq!(delivery.message.headers.task, "add");
    assert_eq!(delivery.message.priority, 4);
    assert_eq!(delivery.message.headers.extra["mine"], 1);
    let (args, _, _): ((i64, i64), serde_json::Value, serde_json::Value) =
        delivery.message.body.decode().unwrap();
    let value = Payload::encode(ContentType::Json, &(args.0 + args.1)).unwrap();
    let stored = StoredResult {
        value: Some(value),
        ..result(&delivery.message.headers.id, ResultState::Success, 1)
    };
    let settlement = Settlement {
        result: Some(stored),
        ..ack(&delivery)
    };
    assert_eq!(
        within(consumer.settle(vec![settlement])).await.unwrap(),
        [Settled::Done]
    );
    let answer = tokio::task::spawn_blocking(move || script.answer())
        .await
        .unwrap();
    assert_eq!(answer, json!(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_worker_runs_our_call_and_heeds_our_revocation() {
    let place = Store::new("python", "");
    let store = place.store().await;
    let app = app(&place, "");
    let worker = app.worker(&["-Q", "jobs"]);
    let mut watch = store.results().unwrap().watch().await.unwrap();
    let id = TaskId::new();
    watch.add(std::slice::from_ref(&id));
    store
        .publish(vec![(queue("jobs").into(), add(&id, 20, 3))])
        .await
        .unwrap();
    let news = within(watch.next()).await.unwrap();
    assert_eq!((&news[0].id, &news[0].state), (&id, &ResultState::Success));
    assert_eq!(news[0].value.as_ref().unwrap().decode::<i64>().unwrap(), 23);

    let unwanted = TaskId::new();
    watch.add(std::slice::from_ref(&unwanted));
    store.revoke(std::slice::from_ref(&unwanted)).await.unwrap();
    // It was broadcast before this is asked.
    let known = app.run("answer = app.control.inspect(timeout=10, limit=1).revoked()");
    assert_eq!(known[worker.name()], json!([unwanted]), "{known}");
    store
        .publish(vec![(queue("jobs").into(), add(&unwanted, 1, 1))])
        .await
        .unwrap();
    let news = within(watch.next()).await.unwrap();
    assert_eq!(
        (&news[0].id, &news[0].state),
        (&unwanted, &ResultState::Revoked)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_of_pythons_is_heard() {
    let place = Store::new("python", "");
    let store = place.store().await;
    let consumer = consume(&store, "celeriac@here").await;
    let app = app(&place, "");
    let script = app.script(
        "app.control.revoke(['loud'], terminate=True)\n\
         app.control.revoke('elsewhere', destination=['somebody@else'], terminate=True)\n\
         app.control.revoke('quiet')\n\
         for id in ('loud', 'elsewhere', 'quiet'):\n    add.apply_async((1, 1), task_id=id)\n\
         answer = 1",
    );
    let told = within(consumer.revoked()).await.unwrap();
    assert_eq!(told, ["loud".into()]);
    let mut revoked = Vec::new();
    for _ in 0..3 {
        let delivery = receive(&consumer).await;
        if delivery.revoked {
            revoked.push(delivery.message.headers.id.to_string());
        }
    }
    assert_eq!(revoked, ["loud", "quiet"]);
    tokio::task::spawn_blocking(move || script.answer())
        .await
        .unwrap();
}

/// Python's worker gives back what others hold longer than its visibility timeout; what we hold is
/// renewed before.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_held_past_pythons_visibility_timeout_stays_ours() {
    let place = Store::new("python", "");
    let store = place.store().await;
    let consumer = consume(&store, "c").await;
    let id = TaskId::new();
    let sent = vec![(queue("jobs").into(), add(&id, 1, 2))];
    store.publish(sent).await.unwrap();
    let delivery = receive(&consumer).await;
    let mut client = place.client();
    let (tag, at): (String, f64) = client
        .zrange_withscores::<_, Vec<(String, f64)>>(place.key("unacked_index"), 0, 0)
        .unwrap()
        .remove(0);
    // One that nobody renews: when it has come back, Python's worker has looked.
    let entry: String = client.hget(place.key("unacked"), &tag).unwrap();
    let marker = entry.replace(&id.to_string(), "marker");
    let _: () = client.hset(place.key("unacked"), "marker", marker).unwrap();
    let _: () = client
        .zadd(place.key("unacked_index"), "marker", at)
        .unwrap();
    within_a_minute(async {
        loop {
            let renewed: f64 = client.zscore(place.key("unacked_index"), &tag).unwrap();
            if renewed >= at + 4.0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let app = app(&place, "'visibility_timeout': 4");
    let _worker = app.worker(&["-Q", "elsewhere"]);
    within_a_minute(async {
        while client.hexists(place.key("unacked"), "marker").unwrap() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let settled = within(consumer.settle(vec![ack(&delivery)])).await;
    assert_eq!(settled.unwrap(), [Settled::Done]);
    let credit = NonZeroUsize::new(10).unwrap();
    let came = within(consumer.receive(credit)).await.unwrap();
    let ids: Vec<String> = came
        .iter()
        .map(|it| it.message.headers.id.to_string())
        .collect();
    assert_eq!(ids, ["marker"], "and ours did not come back");
}

async fn within_a_minute<T>(future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, future)
        .await
        .expect("it takes no longer than a minute")
}

/// What waits for its time goes back to the lists when our last consumer leaves Python's alone.
#[tokio::test(flavor = "multi_thread")]
async fn delayed_messages_are_left_to_python_when_our_last_consumer_leaves() {
    let place = Store::new("python", "");
    let store = place.store().await;
    let app = app(&place, "");
    let _worker = app.worker(&["-Q", "elsewhere"]);
    let consumer = consume(&store, "c").await;
    let mut delayed = add(&TaskId::new(), 1, 2);
    delayed.headers.eta = Some(jiff::Timestamp::now() + Duration::from_secs(3600));
    store
        .publish(vec![
            (queue("jobs").into(), delayed),
            (queue("jobs").into(), add(&TaskId::new(), 1, 2)),
        ])
        .await
        .unwrap();
    let delivery = receive(&consumer).await;
    let depth = store.queues().await.unwrap();
    let jobs = depth.iter().find(|it| it.name.as_str() == "jobs").unwrap();
    assert_eq!((jobs.ready, jobs.delayed, jobs.held), (0, 1, 1));
    within(consumer.settle(vec![ack(&delivery)])).await.unwrap();
    consumer.close().await.unwrap();
    let ready: usize = place.client().llen(place.key("jobs")).unwrap();
    assert_eq!(ready, 1);
}

/// What a runtime wants stored, as Celery would store it itself: key, bytes and time to live.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_to_the_letter_is_stored_as_celery_stores_its_own() {
    let place = Store::new("python", "");
    let store = place.store().await;
    let app = app(&place, "");
    let known = app.run(
        "app.backend.store_result('kept', 5, 'SUCCESS')\n\
         app.backend.expires = None\n\
         app.backend.store_result('for-ever', 5, 'SUCCESS')\n\
         answer = app.backend.client.get(app.backend.get_key_for_task('kept')).decode()",
    );
    let payload = known.as_str().unwrap();
    let results = store.results().unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    let encoded = |id: &str, state: &str, payload: String, keep| EncodedResult {
        id: id.into(),
        state: state.to_owned(),
        payload: Payload {
            content_type: ContentType::Json,
            bytes: payload.into(),
        },
        keep,
        reply_to: None,
        correlation_id: None,
    };
    let named = |id: &str| payload.replace("\"kept\"", &format!("{id:?}"));
    let started = named("ours").replace("SUCCESS", "STARTED");
    let batch = vec![
        encoded("ours", "STARTED", started.clone(), Some(day)),
        encoded("ours", "SUCCESS", named("ours"), Some(day)),
        encoded("ours-for-ever", "SUCCESS", named("ours-for-ever"), None),
        // What comes late gives way to the end.
        encoded("ours", "STARTED", started, Some(day)),
    ];
    within(results.store_encoded(batch)).await.unwrap();
    let mut client = place.client();
    let mut look = |id: &str| {
        let key = place.key(&format!("celery-task-meta-{id}"));
        let stored: String = client.get(&key).unwrap();
        let seconds: i64 = client.ttl(&key).unwrap();
        (stored, (seconds + 30) / 60)
    };
    assert_eq!(look("ours"), (named("ours"), look("kept").1));
    assert_eq!(look("ours-for-ever").1, look("for-ever").1);

    // A client in Python that waits hears of it.
    let script = app.script(
        "from celery.result import AsyncResult\n\
         waited = AsyncResult('awaited')\n\
         app.backend.add_pending_result(waited)\n\
         print('it waits', flush=True)\n\
         answer = waited.get(timeout=30)",
    );
    script.wait_for_line("it waits");
    let awaited = encoded("awaited", "SUCCESS", named("awaited"), Some(day));
    within(results.store_encoded(vec![awaited])).await.unwrap();
    let answer = tokio::task::spawn_blocking(move || script.answer());
    assert_eq!(answer.await.unwrap(), json!(5));
}

/// A success that Celery compressed, in which the scripts cannot see that it is one.
#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_success_of_pythons_stays_whatever_we_store() {
    for serializer in ["json", "msgpack", "yaml"] {
        let place = Store::new("python", "");
        let store = place.store().await;
        let results = store.results().unwrap();
        let (done, failed): (TaskId, TaskId) = (TaskId::new(), TaskId::new());
        let stores = format!(
            "app.conf.result_compression = 'gzip'\n\
             app.conf.result_serializer = {serializer:?}\n\
             app.backend.store_result('{done}', 'theirs', 'SUCCESS')\n\
             app.backend.store_result('{failed}', ValueError('theirs'), 'FAILURE')\n\
             answer = 1"
        );
        app(&place, "").run(&stores);
        let key = place.key(&format!("celery-task-meta-{done}"));
        let held: Vec<u8> = place.client().get(&key).unwrap();
        assert!(held.starts_with(b"\0celery-compressed\0"), "{held:?}");

        let ours = |id: &TaskId, state| StoredResult {
            value: Some(Payload::encode(ContentType::Json, &"ours").unwrap()),
            ..result(id, state, 2)
        };
        let passing = [&done, &failed].map(|id| ours(id, ResultState::Started));
        within(results.store(passing.to_vec())).await.unwrap();
        let both = [done.clone(), failed.clone()];
        let found = within(results.fetch(&both)).await.unwrap();
        let states: Vec<_> = found.iter().flatten().map(|it| &it.state).collect();
        assert_eq!(states, [&ResultState::Success, &ResultState::Failure]);

        // A second run of both ends well: its messages go out, and only a failure gives way.
        let consumer = consume(&store, "c").await;
        for id in &both {
            let to = (queue("jobs").into(), add(id, 1, 1));
            within(store.publish(vec![to])).await.unwrap();
            let delivery = receive(&consumer).await;
            let follow_up = (queue("next").into(), add(&TaskId::new(), 1, 1));
            let settlement = Settlement {
                result: Some(ours(id, ResultState::Success)),
                follow_ups: vec![follow_up],
                ..ack(&delivery)
            };
            let settled = within(consumer.settle(vec![settlement])).await.unwrap();
            assert_eq!(settled, [Settled::Done]);
        }
        let found = within(results.fetch(&both)).await.unwrap();
        let values = found.into_iter().flatten().map(|it| it.value.unwrap());
        let values: Vec<String> = values.map(|value| value.decode().unwrap()).collect();
        assert_eq!(values, ["theirs", "ours"], "{serializer}");
        let next: usize = place.client().llen(place.key("next")).unwrap();
        assert_eq!(next, 2);
        within(consumer.close()).await.unwrap();
    }
}

/// What we compress, Celery reads, and our own scripts need not.
#[tokio::test(flavor = "multi_thread")]
async fn results_are_compressed_where_that_is_asked_for() {
    let place = Store::new("python", "&result_compression=zlib");
    let store = place.store().await;
    let results = store.results().unwrap();
    let text = "again and ".repeat(100);
    let id = TaskId::new();
    let value = Payload::encode(ContentType::Json, &text).unwrap();
    let done = StoredResult {
        value: Some(value),
        ..result(&id, ResultState::Success, 1)
    };
    within(results.store(vec![done])).await.unwrap();
    let held = |id: &TaskId| -> Vec<u8> {
        let key = place.key(&format!("celery-task-meta-{id}"));
        place.client().get(key).unwrap()
    };
    assert!(held(&id).starts_with(b"\0celery-compressed\0application/x-gzip\0"));
    let read = format!("answer = app.AsyncResult('{id}').get(timeout=30)");
    assert_eq!(app(&place, "").run(&read), json!(text));

    // A dead message of which the failure is compressed leaves that behind when it is retried.
    let consumer = consume(&store, "c").await;
    let id = TaskId::new();
    let to = (queue("jobs").into(), add(&id, 1, 1));
    within(store.publish(vec![to])).await.unwrap();
    let delivery = receive(&consumer).await;
    let failed = StoredResult {
        error: Some(TaskError::failed("Refused", text)),
        ..result(&id, ResultState::Failure, 1)
    };
    let dead = Verdict::Dead(DeadReason::RetriesExhausted, "no more".to_owned());
    let settlement = Settlement {
        verdict: dead,
        result: Some(failed),
        ..ack(&delivery)
    };
    let settled = within(consumer.settle(vec![settlement])).await.unwrap();
    assert_eq!(settled, [Settled::Done]);
    assert!(held(&id).starts_with(b"\0celery-compressed\0"));
    let number = within(store.dead(1)).await.unwrap()[0].number;
    assert_eq!(within(store.retry_dead(&[number])).await.unwrap(), 1);
    assert_eq!(within(results.fetch(&[id])).await.unwrap(), [None]);
    within(consumer.close()).await.unwrap();
}
