//! Celery in Python on the other side of the same queues.

use std::num::NonZeroUsize;
use std::time::Duration;

use celeriac_core::broker::Subscription;
use celeriac_core::task::encode_body;
use celeriac_core::{
    Broker, CallOptions, ContentType, EncodedResult, Message, Payload, ResultState, Settled,
    Settlement, StoredResult, TaskId, TaskOptions, Trail, Verdict,
};
use celeriac_testkit::peers::{CeleryApp, CeleryVersion};
use celeriac_testkit::{block_on, queue, within};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::fixture::Amqp;

const TASKS: &str = "
@app.task(name='add')
def add(a, b):
    return a + b

@app.task(name='boom')
def boom():
    raise ValueError('boom', 42)
";

/// An app on the queues of this part of the server, which are called as the driver calls `jobs`.
fn app(amqp: &Amqp) -> CeleryApp {
    let name = amqp.full_name(&queue("jobs"));
    let setup = format!(
        "app.conf.update(task_default_queue='{name}', control_exchange='{}celery')\n\
         from kombu import Queue, Exchange\n\
         app.conf.task_queues = [Queue('{name}', Exchange('{name}'), routing_key='{name}', \
         queue_arguments={{'x-expires': 600000}})]\n{TASKS}",
        amqp.prefix()
    );
    let broker = celeriac_testkit::peers::amqp_url();
    CeleryApp::new(CeleryVersion::V57, &broker, "rpc://", &setup)
}

fn call(task: &str, args: &Value, countdown: Option<Duration>) -> Message {
    let mut body = encode_body(ContentType::Json, &()).unwrap();
    body.bytes = json!([args, {}, null]).to_string().into();
    let options = CallOptions {
        countdown,
        ..CallOptions::default()
    };
    let now = Timestamp::now();
    Message::new(task, body, &options, &TaskOptions::DEFAULT, now)
}

#[test]
fn a_worker_in_python_runs_our_calls_and_answers() {
    block_on(async {
        let amqp = Amqp::with("");
        let client = amqp.handle().await;
        // First ours: the worker finds the queue declared as it would.
        let calls = [
            call("add", &json!([2, 3]), None),
            call("boom", &json!([]), None),
            call("add", &json!([40, 2]), Some(Duration::from_millis(1500))),
        ];
        let ids: Vec<TaskId> = calls.iter().map(|it| it.headers.id.clone()).collect();
        let sent = Timestamp::now();
        let batch = calls.map(|it| (queue("jobs").into(), it));
        client.publish(batch.into()).await.unwrap();
        let app = app(&amqp);
        let _worker = app.worker(&["-P", "solo"]);
        let mut watch = client.results().unwrap().watch().await.unwrap();
        watch.add(&ids);
        let mut ends: Vec<StoredResult> = Vec::new();
        while ends.len() < 3 {
            let news = within(watch.next()).await.unwrap();
            ends.extend(news.into_iter().filter(|it| it.state.is_final()));
        }
        ends.sort_by_key(|it| ids.iter().position(|id| *id == it.id));
        let value = |index: usize| ends[index].value.as_ref().unwrap().bytes.clone();
        assert_eq!((&value(0)[..], &value(2)[..]), (&b"5"[..], &b"42"[..]));
        let error = ends[1].error.as_ref().unwrap();
        assert_eq!(error.type_name(), "ValueError");
        assert!(Timestamp::now().duration_since(sent).as_millis() >= 1500);
    });
}

#[test]
fn a_client_in_python_gets_the_answers_of_our_consumer() {
    block_on(async {
        let amqp = Amqp::with("");
        let worker = amqp.handle().await;
        let subscription = Subscription::new("rust@here", vec![queue("jobs")]);
        let consumer = worker.consume(subscription).await.unwrap();
        let serving = tokio::spawn(async move {
            let mut served = Vec::new();
            while served.len() < 3 {
                let got = within(consumer.receive(NonZeroUsize::MIN)).await.unwrap();
                for delivery in got {
                    let headers = &delivery.message.headers;
                    let body: (Vec<i64>, Map<String, Value>, Value) =
                        delivery.message.body.decode().unwrap();
                    let now = Timestamp::now();
                    let result = StoredResult {
                        id: headers.id.clone(),
                        task: headers.task.clone(),
                        state: ResultState::Success,
                        value: Some(
                            Payload::encode(ContentType::Json, &body.0.iter().sum::<i64>())
                                .unwrap(),
                        ),
                        error: None,
                        attempt: 1,
                        stored_at: now,
                        expires_at: now + Duration::from_secs(60),
                        trail: Trail::default(),
                    };
                    let settlement = Settlement {
                        tag: delivery.tag,
                        verdict: Verdict::Ack,
                        result: Some(result),
                        follow_ups: Vec::new(),
                    };
                    let settled = consumer.settle(vec![settlement]).await.unwrap();
                    assert_eq!(settled, [Settled::Done]);
                    served.push((headers.eta, now));
                }
            }
            served
        });
        let app = app(&amqp);
        let script = "
sent = [add.delay(2, 3), add.apply_async((1, 1), countdown=3), add.apply_async((7, 0), priority=3)]
answer = [one.get(timeout=20) for one in sent]
";
        let answer = tokio::task::spawn_blocking(move || app.run(script));
        assert_eq!(answer.await.unwrap(), json!([5, 2, 7]));
        for (eta, served) in serving.await.unwrap() {
            assert!(eta.is_none_or(|eta| served >= eta), "{eta:?} {served}");
        }
    });
}

#[test]
fn revocations_are_heard_in_both_languages() {
    block_on(async {
        let amqp = Amqp::with("");
        let broker = amqp.handle().await;
        let subscription = Subscription::new("rust@here", vec![queue("other")]);
        let consumer = broker.consume(subscription).await.unwrap();
        let app = app(&amqp);
        let worker = app.worker(&["-P", "solo"]);
        let unwanted = call("add", &json!([1, 1]), Some(Duration::from_millis(900)));
        let id = unwanted.headers.id.clone();
        broker.revoke(std::slice::from_ref(&id)).await.unwrap();
        let heard = within(consumer.revoked()).await.unwrap();
        assert_eq!(heard, std::slice::from_ref(&id));
        let mut watch = broker.results().unwrap().watch().await.unwrap();
        watch.add(std::slice::from_ref(&id));
        broker
            .publish(vec![(queue("jobs").into(), unwanted)])
            .await
            .unwrap();
        loop {
            let news = within(watch.next()).await.unwrap();
            if news.iter().any(|it| it.state == ResultState::Revoked) {
                break;
            }
            assert!(news.iter().all(|it| !it.state.is_final()), "{news:?}");
        }
        let script = "
app.control.revoke('from-python', terminate=True)
answer = None
";
        drop(worker);
        tokio::task::spawn_blocking(move || app.run(script))
            .await
            .unwrap();
        let heard = within(consumer.revoked()).await.unwrap();
        assert_eq!(heard, ["from-python".into()]);
    });
}

/// What a runtime wants sent, as Celery's `rpc://` would send it itself: properties and bytes.
#[test]
fn a_result_to_the_letter_is_sent_as_celery_sends_its_own() {
    const TAKE: &str = "
def take():
    while True:
        message = queue.get(no_ack=True)
        if message:
            # No headers and an empty table of them are read alike.
            properties = dict(message.properties)
            properties.pop('application_headers', None)
            return [properties, message.headers, message.body.decode()
                if isinstance(message.body, bytes) else message.body]
";
    block_on(async {
        let amqp = Amqp::with("");
        let app = app(&amqp);
        let to = format!("{}answers", amqp.prefix());
        let script = format!(
            "
from kombu import Queue
from celery.app.task import Context
channel = app.connection().default_channel
queue = Queue('{to}', durable=False, expires=60)(channel)
queue.declare()
request = Context(id='x', reply_to='{to}', correlation_id='c', retries=0)
app.backend.store_result('x', 5, 'SUCCESS', request=request)
{TAKE}
answer = take()
"
        );
        let theirs = {
            let app = &app;
            app.run(&script)
        };
        let body = theirs[2].as_str().unwrap().to_owned();
        let ours = amqp.handle().await;
        let result =
            |id: &str, correlation_id: Option<&str>, reply_to: Option<&str>| EncodedResult {
                id: id.into(),
                state: "SUCCESS".to_owned(),
                payload: Payload {
                    content_type: ContentType::Json,
                    bytes: body.clone().into(),
                },
                keep: None,
                reply_to: reply_to.map(str::to_owned),
                correlation_id: correlation_id.map(str::to_owned),
            };
        let batch = vec![
            result("nobodys", None, None),
            result("x", Some("c"), Some(&to)),
            result("y", None, Some(&to)),
        ];
        let results = ours.results().unwrap();
        within(results.store_encoded(batch)).await.unwrap();
        let script = format!(
            "
from kombu import Queue
queue = Queue('{to}', durable=False, expires=60)(app.connection().default_channel)
{TAKE}
answer = [take(), take()]
"
        );
        let sent = app.run(&script);
        assert_eq!(sent[0], theirs);
        assert_eq!(sent[1][0]["correlation_id"], "y");
    });
}
