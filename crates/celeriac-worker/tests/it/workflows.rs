//! Workflows that a worker carries on: chains, callbacks and chords, on real stores.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::broker::Subscription;
use celeriac_core::{
    Broker, CallOptions, ContentType, DeadReason, Destination, ErrorKind, Message, Payload, Place,
    QueueName, Registry, ResultState, Run, Settlement, StoredResult, TaskDefinition, TaskError,
    TaskId, TaskOptions, Verdict,
};
use celeriac_drivers::DriverOptions;
use celeriac_worker::{Worker, WorkerSettings};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The largest body.
const LIMIT_BYTES: usize = 64 * 1024;

const fn task(name: &'static str, call: celeriac_core::task::EncodedCall) -> TaskDefinition {
    TaskDefinition {
        name,
        signature: name,
        parameters: &[],
        is_async: false,
        wants_context: false,
        options: TaskOptions::DEFAULT,
        call,
    }
}

static TASKS: [TaskDefinition; 3] = [
    // The sum of its arguments, each a number or a list of them.
    task("sum", |_, body, _| {
        let body: Value = serde_json::from_slice(body).unwrap();
        let sum = body[0].as_array().unwrap().iter().map(total).sum::<i64>();
        Run::Ready(Ok(sum.to_string().into_bytes()))
    }),
    task("fail", |_, _, _| {
        Run::Ready(Err(TaskError::failed("ValueError", "boom")))
    }),
    // Its first argument.
    task("echo", |_, body, _| {
        let body: Value = serde_json::from_slice(body).unwrap();
        Run::Ready(Ok(body[0][0].to_string().into_bytes()))
    }),
];

fn total(value: &Value) -> i64 {
    match value {
        Value::Array(items) => items.iter().map(total).sum(),
        number => number.as_i64().unwrap(),
    }
}

fn step(task: &str, id: &str, args: &Value) -> Value {
    json!({"task": task, "args": args, "options": {"task_id": id}})
}

/// A call of `task` with these arguments, and what follows it.
fn message(task: &str, id: &str, args: &Value, embed: &Value) -> Message {
    let body = Payload::encode(ContentType::Json, &json!([args, {}, embed])).unwrap();
    let options = CallOptions {
        id: Some(id.into()),
        ..CallOptions::default()
    };
    Message::new(
        task,
        body,
        &options,
        &TaskOptions::DEFAULT,
        Timestamp::now(),
    )
}

/// The same as part of a chord.
fn part(task: &str, id: &str, args: &Value, index: u64, body: &Value) -> Message {
    let mut message = message(task, id, args, &json!({"chord": body}));
    message.headers.group = Some("g".to_owned());
    let extra = &mut message.headers.extra;
    extra.insert("group_index".to_owned(), index.into());
    message
}

/// Has a worker do all there is to do, and returns the results of these calls.
async fn results(
    broker: &Arc<dyn Broker>,
    messages: Vec<Message>,
    ids: &[&str],
) -> HashMap<String, StoredResult> {
    let messages = messages.into_iter().map(|it| (Destination::default(), it));
    broker.publish(messages.collect()).await.unwrap();
    let mut settings = WorkerSettings::default();
    settings.stop_when_idle = Some(Duration::from_millis(50));
    let executor = celeriac_executor::open(&Place::Threads(2.try_into().ok())).unwrap();
    let registry = Registry::of(&TASKS).unwrap();
    let worker = Worker::new(broker.clone(), executor, registry, settings)
        .start()
        .await
        .unwrap();
    worker.wait().await.unwrap();
    let ids: Vec<_> = ids.iter().map(|id| TaskId::from(*id)).collect();
    let found = broker.results().unwrap().fetch(&ids).await.unwrap();
    let found = ids.iter().zip(found);
    found
        .filter_map(|(id, result)| Some((id.to_string(), result?)))
        .collect()
}

fn value(results: &HashMap<String, StoredResult>, id: &str) -> Value {
    let result = results.get(id).unwrap_or_else(|| panic!("{id} has ended"));
    assert_eq!(result.state, ResultState::Success, "{id}: {result:?}");
    result.value.as_ref().unwrap().decode().unwrap()
}

async fn open(place: &str) -> Arc<dyn Broker> {
    let url = place.parse().unwrap();
    let options = DriverOptions {
        body_limit_bytes: LIMIT_BYTES,
        ..DriverOptions::default()
    };
    celeriac_drivers::open(&url, &options).await.unwrap()
}

async fn a_chain_passes_its_values_on(broker: Arc<dyn Broker>) {
    let chain = json!([
        step("sum", "third", &json!([100])),
        step("sum", "second", &json!([10]))
    ]);
    let embed = json!({"chain": chain, "callbacks": [step("echo", "told", &json!([]))]});
    let first = message("sum", "first", &json!([1, 2]), &embed);
    let results = results(&broker, vec![first], &["first", "second", "third", "told"]).await;
    assert_eq!(value(&results, "first"), 3);
    assert_eq!(value(&results, "second"), 13);
    assert_eq!(value(&results, "third"), 113);
    assert_eq!(value(&results, "told"), 3);
}

async fn a_failure_ends_its_chain_and_runs_its_errback(broker: Arc<dyn Broker>) {
    let chain = json!([step("sum", "never", &json!([10]))]);
    let embed = json!({"chain": chain, "errbacks": [step("echo", "told", &json!([]))]});
    let first = message("fail", "first", &json!([]), &embed);
    let results = results(&broker, vec![first], &["never", "told"]).await;
    let error = results["never"].error.as_ref().unwrap();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Failed, "boom"));
    assert_eq!(value(&results, "told"), "first");
}

async fn a_chord_runs_its_body_once_with_all_values(broker: Arc<dyn Broker>) {
    let body = step("sum", "body", &json!([]));
    let chords = broker.results().unwrap().chords().unwrap();
    chords.open("g", 20).await.unwrap();
    let mut messages: Vec<_> = (0..20)
        .map(|n| part("sum", &format!("part-{n}"), &json!([n, 1]), n, &body))
        .collect();
    // Delivered twice, as after a worker's death.
    messages.extend_from_within(..5);
    let results = results(&broker, messages, &["body"]).await;
    assert_eq!(value(&results, "body"), (0..20).sum::<i64>() + 20);
}

async fn a_failed_part_fails_the_chord_by_name(broker: Arc<dyn Broker>) {
    let body = step("sum", "body", &json!([]));
    let chords = broker.results().unwrap().chords().unwrap();
    chords.open("g", 2).await.unwrap();
    let messages = vec![
        part("sum", "good", &json!([1]), 0, &body),
        part("fail", "bad", &json!([]), 1, &body),
    ];
    let results = results(&broker, messages, &["body", "bad"]).await;
    assert_eq!(results["bad"].state, ResultState::Failure);
    let error = results["body"].error.as_ref().unwrap();
    assert_eq!(error.type_name(), "ChordError");
    assert_eq!(error.message(), "Dependency bad raised ValueError('boom')");
}

/// The values of the parts are small, and their list is not.
async fn a_chord_whose_body_is_refused_fails_and_says_so(broker: Arc<dyn Broker>) {
    let mut body = step("sum", "body", &json!([]));
    body["options"]["link_error"] = step("echo", "told", &json!([]));
    body["options"]["chain"] = json!([step("sum", "never", &json!([]))]);
    let chords = broker.results().unwrap().chords().unwrap();
    chords.open("g", 4).await.unwrap();
    let text = "x".repeat(LIMIT_BYTES / 3);
    let parts = (0..4).map(|n| part("echo", &format!("part-{n}"), &json!([text]), n, &body));
    let results = results(&broker, parts.collect(), &["body", "never", "told"]).await;
    for id in ["body", "never"] {
        let error = results[id].error.as_ref().unwrap();
        assert_eq!(error.type_name(), "ChordError");
        assert!(error.message().contains("over the limit"), "{error}");
    }
    assert_eq!(value(&results, "told"), "body");
}

/// Each of its workers dies with it, and the last one has not even begun.
async fn a_part_that_dies_of_its_deliveries_fails_its_chord(broker: Arc<dyn Broker>) {
    let mut body = step("sum", "body", &json!([]));
    body["options"]["link_error"] = step("echo", "told", &json!([]));
    let chords = broker.results().unwrap().chords().unwrap();
    chords.open("g", 2).await.unwrap();
    let mut poison = part("sum", "poison", &json!([1]), 0, &body);
    poison.headers.ignore_result = Some(true);
    let queue = Destination::default();
    broker.publish(vec![(queue, poison)]).await.unwrap();
    let subscription = Subscription::new("doomed", vec![QueueName::default()]);
    for _ in 0..subscription.delivery_limit.get() {
        let doomed = broker.consume(subscription.clone()).await.unwrap();
        let delivery = doomed.receive(NonZeroUsize::MIN).await.unwrap().remove(0);
        let requeue = Verdict::Requeue {
            eta: None,
            counted: true,
        };
        let settlement = Settlement {
            tag: delivery.tag,
            verdict: requeue,
            result: None,
            follow_ups: Vec::new(),
        };
        doomed.settle(vec![settlement]).await.unwrap();
        doomed.close().await.unwrap();
    }
    let good = part("sum", "good", &json!([1]), 1, &body);
    let results = results(&broker, vec![good], &["body", "told", "poison"]).await;
    let error = results["body"].error.as_ref().unwrap();
    assert_eq!(error.type_name(), "ChordError");
    assert!(error.message().contains("Dependency poison"), "{error}");
    assert_eq!(value(&results, "told"), "body");
    assert!(!results.contains_key("poison"), "nobody wants to know");
    let dead = broker.dead(10).await.unwrap();
    assert_eq!(dead[0].reason, DeadReason::DeliveryLimit);
}

/// A step that is a chord of two, whose first part is a chain, and a step behind it.
async fn a_chord_within_a_chain_goes_on_behind_its_body(broker: Arc<dyn Broker>) {
    let inner = json!({"task": "celery.chain", "subtask_type": "chain", "kwargs": {"tasks": [
        step("sum", "c1", &json!([10])), step("sum", "c2", &json!([100]))]}});
    let chord = json!({"task": "celery.chord", "subtask_type": "chord", "kwargs": {
        "header": [inner, step("sum", "p2", &json!([1000]))],
        "body": step("sum", "body", &json!([]))}});
    let chain = json!([step("sum", "last", &json!([5])), chord]);
    let first = message("sum", "first", &json!([1]), &json!({"chain": chain}));
    let results = results(&broker, vec![first], &["c1", "c2", "p2", "body", "last"]).await;
    assert_eq!(value(&results, "c1"), 11);
    assert_eq!(value(&results, "c2"), 111);
    assert_eq!(value(&results, "p2"), 1001);
    assert_eq!(value(&results, "body"), 1112);
    assert_eq!(value(&results, "last"), 1117);
}

macro_rules! suite {
    ($($behaviour:ident)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $behaviour() {
                let broker = super::open(concat!("memory:", stringify!($behaviour))).await;
                super::$behaviour(broker).await;
            })*
        }

        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $behaviour() {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("jobs.db");
                let broker = super::open(&format!("sqlite:{}", path.display())).await;
                super::$behaviour(broker).await;
            })*
        }
    };
}

suite! {
    a_chain_passes_its_values_on
    a_failure_ends_its_chain_and_runs_its_errback
    a_chord_runs_its_body_once_with_all_values
    a_failed_part_fails_the_chord_by_name
    a_chord_whose_body_is_refused_fails_and_says_so
    a_part_that_dies_of_its_deliveries_fails_its_chord
    a_chord_within_a_chain_goes_on_behind_its_body
}
