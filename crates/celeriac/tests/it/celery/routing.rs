//! Exchanges and broadcasts that Rust and Python share: whoever sends, the queues of both get it.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use celeriac::worker::{RunningWorker, Worker, WorkerSettings};
use celeriac::{App, Exchange, Queue, QueueName, remote};
use celeriac_testkit::peers::{CeleryApp, CeleryVersion, VirtualHost, redis_url, unique};
use serde_json::json;

#[test]
fn redis_celery_5_7() {
    celeriac_testkit::block_on(async {
        let prefix = unique("routing");
        let ours = format!(
            "{}?global_keyprefix={prefix}&result_keyprefix={prefix}_",
            redis_url()
        );
        let python = python(
            CeleryVersion::V57,
            &redis_url(),
            &redis_url(),
            &format!("{prefix:?}"),
        );
        exchanges_lead_to_both(&ours, &python, false).await;
    });
}

#[test]
fn amqp_celery_5_7() {
    on_rabbitmq(CeleryVersion::V57);
}

#[test]
fn amqp_celery_5_4() {
    on_rabbitmq(CeleryVersion::V54);
}

fn on_rabbitmq(version: CeleryVersion) {
    celeriac_testkit::block_on(async {
        let host = VirtualHost::create();
        let python = python(version, &host.url(), "rpc://", "None");
        exchanges_lead_to_both(&host.url(), &python, true).await;
    });
}

fn python(version: CeleryVersion, broker: &str, backend: &str, prefix: &str) -> CeleryApp {
    let source = format!("PREFIX = {prefix}\n{}", include_str!("routing.py"));
    CeleryApp::new(version, broker, backend, &source)
}

#[celeriac::task(name = "rust.tell")]
fn tell(what: &str) -> String {
    format!("rust: {what}")
}

/// What was heard, once for each worker in Rust.
static HEARD: (Mutex<Vec<String>>, Condvar) = (Mutex::new(Vec::new()), Condvar::new());

#[celeriac::task(name = "shared.hear")]
fn hear(what: String) {
    HEARD.0.lock().unwrap().push(what);
    HEARD.1.notify_all();
}

/// Waits until so many workers have heard it, and says how many have.
fn heard(what: &str, count: usize) -> usize {
    let heard = |all: &Vec<String>| all.iter().filter(|it| *it == what).count();
    let all = HEARD.0.lock().unwrap();
    let waited = HEARD
        .1
        .wait_timeout_while(all, Duration::from_secs(20), |all| heard(all) < count);
    heard(&waited.unwrap().0)
}

async fn exchanges_lead_to_both(url: &str, python: &CeleryApp, python_reaches_itself: bool) {
    let world = Exchange::topic("world");
    let queues = [
        Queue::new("py_news").bind(world.clone(), "news.#"),
        Queue::new("rust_news").bind(world, "*.sport"),
        Queue::broadcast("all"),
    ];
    let app = App::builder().queues(queues).on(url).await.unwrap();
    let asked = remote::<(String,), String>("py.tell");
    let sent = || asked.call(("hello".to_owned(),));
    // Before any worker is there, as it is kept in the queue.
    let mut by_key = app
        .send(sent().exchange("world", "news.today"))
        .await
        .unwrap();
    let peer = python.worker(&["-Q", "py_news,all"]);
    let [_one, _two] = [worker(&app).await, worker(&app).await];
    let mut by_name = app.send(sent().queue("py_news")).await.unwrap();
    for answer in [&mut by_key, &mut by_name] {
        assert_eq!(answer.get().await.unwrap(), "python: hello");
    }

    // In this order: on Redis, Celery's client takes an exchange for a direct one until it has declared
    // it, as it does for a queue's.
    let answer = python.run(
        "answer = [ask('by name', queue='rust_news').get(timeout=20),\n\
         ask('by key', exchange='world', routing_key='tennis.sport').get(timeout=20)]",
    );
    assert_eq!(answer, json!(["rust: by name", "rust: by key"]));

    let what = unique("from-rust");
    app.send(hear::call(what.clone()).queue("all").ignore_result())
        .await
        .unwrap();
    peer.wait_for_log(&what);
    assert_eq!(heard(&what, 2), 2);

    let (plain, declared) = (unique("plain"), unique("declared"));
    python.run(&format!(
        "app.send_task('shared.hear', [{plain:?}], queue='all', ignore_result=True)\n\
         fanout = Queue('all', Exchange('all', 'fanout'), routing_key='celery')\n\
         app.send_task('shared.hear', [{declared:?}], queue=fanout, ignore_result=True)\n\
         answer = None"
    ));
    assert_eq!(heard(&plain, 2), 2);
    assert_eq!(heard(&declared, 2), 2);
    if python_reaches_itself {
        // On Redis Celery's own workers do not hear what its clients send so.
        peer.wait_for_log(&plain);
    }
    peer.wait_for_log(&declared);
}

/// A worker in Rust that hears what is broadcast.
async fn worker(app: &App) -> RunningWorker {
    let mut settings = WorkerSettings::default();
    settings.name = format!("{}@localhost", unique("rust"));
    settings.queues = ["rust_news", "all"]
        .map(|name| QueueName::new(name).unwrap())
        .into();
    let pool = celeriac_executor::open(&"threads=1".parse().unwrap()).unwrap();
    let broker = app.broker().unwrap().clone();
    let worker = Worker::new(broker, pool, app.registry().clone(), settings);
    worker.start().await.unwrap()
}
