//! What Rust sends, a worker in Python runs; what becomes of it, Rust understands.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use celeriac::{App, Compression, ContentType, ErrorKind, Handle, Signature, Task};
use serde_json::json;

use super::fleet::{Fleet, Kind};
use super::in_fleets;
use super::tasks::py;

const QUEUE: &str = "to_python";

in_fleets! { what_rust_asks_python_answers:
    redis_celery_5_7 = Redis, V57;
    redis_celery_5_5 = Redis, V55;
    redis_celery_5_4 = Redis, V54;
    amqp_celery_5_7 = Amqp, V57;
    amqp_celery_5_5 = Amqp, V55;
    amqp_celery_5_4 = Amqp, V54;
}

async fn what_rust_asks_python_answers(fleet: &Fleet) {
    let app = &fleet.app;
    // The worker starts once these are there, so that it can choose.
    let mut by_priority = Vec::new();
    for priority in [6, 0, 9, 3] {
        let call = send(app, py::next_number::call().priority(priority)).await;
        by_priority.push((priority, call));
    }
    let worker = fleet.python.worker(&["-Q", QUEUE, "-c", "1"]);

    values_come_back(app).await;
    every_form_is_understood(app).await;
    if !fleet.dawdles() {
        many_values_come_back(app).await;
    }
    a_delayed_call_is_run_when_it_is_due(app).await;
    errors_come_back(app).await;
    assert_eq!(send(app, py::flaky::call(3)).await.get().await, Ok(3));
    a_revoked_call_is_not_run(app).await;
    a_chain_keeps_its_form(app).await;
    if fleet.kind == Kind::Redis {
        // RabbitMQ itself drops what has expired, without a word to who waits.
        let expired = py::now::call().countdown(Duration::from_secs(1));
        let mut expired = send(app, expired.expires(Duration::from_millis(500))).await;
        assert_eq!(
            expired.get().await.unwrap_err().kind(),
            ErrorKind::Expired,
            "{}",
            worker.name()
        );
    }
    let mut order = Vec::new();
    for (priority, mut call) in by_priority {
        order.push((call.get().await.unwrap(), priority));
    }
    order.sort_unstable();
    let order: Vec<_> = order.into_iter().map(|(_, priority)| priority).collect();
    assert_eq!(order, fleet.most_urgent_first([0, 3, 6, 9]));
}

async fn send<T: Task>(app: &App, call: Signature<T>) -> Handle<T::Output> {
    app.send(call.queue(QUEUE)).await.unwrap()
}

async fn values_come_back(app: &App) {
    assert_eq!(send(app, py::add::call(2, 3)).await.get().await, Ok(5));
    let large = "馬".repeat(200_000);
    let values = json!([null, true, 1.5, "žluťoučký \u{1} \\ \"", {"a": {"b": []}}, large]);
    let mut echo = send(app, py::echo::call(values.clone())).await;
    assert_eq!(echo.get().await.unwrap(), values);
}

/// Each serializer and each compression.
async fn every_form_is_understood(app: &App) {
    let values = json!([null, true, -7, 1.5, "žluťoučký 馬", {"a": {"b": ["again ".repeat(400)]}}]);
    let plain = || py::echo::call(values.clone());
    let mut calls = Vec::new();
    for serializer in [ContentType::Json, ContentType::Msgpack, ContentType::Yaml] {
        calls.push(plain().serializer(serializer));
        calls.extend(Compression::ALL.map(|one| plain().serializer(serializer).compression(one)));
    }
    for call in calls {
        let sent = format!("{:?}", call.options);
        assert_eq!(
            send(app, call).await.get().await.as_ref(),
            Ok(&values),
            "{sent}"
        );
    }
}

async fn a_chain_keeps_its_form(app: &App) {
    let values = json!([1, "žluťoučký 馬"]);
    let first = py::echo::call(values.clone());
    let chain = first.then(py::echo::partial()).then(py::echo::partial());
    let chain = chain
        .serializer(ContentType::Msgpack)
        .compression(Compression::Zstd);
    let mut chain = app.send(chain.queue(QUEUE)).await.unwrap();
    assert_eq!(chain.get().await, Ok(values));
}

async fn many_values_come_back(app: &App) {
    let calls = (0..50).map(|n| py::add::call(n, n).queue(QUEUE));
    let mut sums = Vec::new();
    for mut call in app.send_many(calls).await.unwrap() {
        sums.push(call.get().await.unwrap());
    }
    assert_eq!(sums, (0..50).map(|n| 2 * n).collect::<Vec<_>>());
}

async fn a_delayed_call_is_run_when_it_is_due(app: &App) {
    let sent = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let call = py::now::call().countdown(Duration::from_secs(1));
    let ran = send(app, call).await.get().await.unwrap();
    let after = ran - sent.as_secs_f64();
    assert!((1.0..6.0).contains(&after), "{after}");
}

async fn errors_come_back(app: &App) {
    let error = send(app, py::fail::call(7)).await.get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert_eq!(error.type_name(), "ValueError");
    assert!(error.message().contains("card refused"), "{error}");

    let missing = send(app, py::missing::call()).await.get().await;
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::Unregistered);
}

async fn a_revoked_call_is_not_run(app: &App) {
    // Before 5.6 nobody is told sooner than when it is due.
    let mut call = send(app, py::now::call().countdown(Duration::from_secs(5))).await;
    call.cancel().await.unwrap();
    assert_eq!(call.get().await.unwrap_err().kind(), ErrorKind::Cancelled);
}
