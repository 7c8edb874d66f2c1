//! Calls that others have sent and Python has run, found by their ids.

use std::time::Duration;

use celeriac::report::Report as _;
use celeriac::{App, Error, ErrorKind, ResultState, TaskId};
use serde_json::Value;

use super::fleet::{Fleet, Kind};
use super::in_fleets;
use super::tasks::{now, py};

const QUEUE: &str = "to_python";

/// Longer than any test takes.
const LATER: Duration = Duration::from_secs(600);

in_fleets! { calls_are_found_by_their_ids:
    lookup_redis_celery_5_7 = Redis, V57;
    lookup_amqp_celery_5_7 = Amqp, V57;
    lookup_amqp_redis_celery_5_7 = AmqpRedis, V57;
}

async fn calls_are_found_by_their_ids(fleet: &Fleet) {
    let _python = fleet.python.worker(&["-Q", QUEUE, "-c", "1"]);
    let _rust = fleet.rust_worker("to_rust", 1).await;
    own_results_are_told(&fleet.app).await;
    if fleet.kind == Kind::Amqp {
        results_of_others_are_refused(fleet).await;
    } else {
        results_of_others_are_told(fleet).await;
    }
    many_calls_are_revoked_by_id(fleet).await;
}

async fn own_results_are_told(app: &App) {
    let mut good = app.send(py::add::call(2, 3).queue(QUEUE)).await.unwrap();
    let mut bad = app.send(py::fail::call(7).queue(QUEUE)).await.unwrap();
    good.get().await.unwrap();
    bad.get().await.unwrap_err();

    let result = app.result(good.id()).await.unwrap().unwrap();
    assert_eq!(result.state, ResultState::Success);
    assert_eq!(result.value.unwrap().decode::<i64>().unwrap(), 5);
    let result = app.result(bad.id()).await.unwrap().unwrap();
    assert_eq!(result.state, ResultState::Failure);
    assert_eq!(result.error.as_ref().unwrap().type_name(), "ValueError");
    let stack = result.traceback().unwrap();
    assert!(stack.contains("in fail") && stack.contains("card refused"));

    // The outcome was taken from its handle, and is there for another one.
    let mut again = app.handle::<py::add>(good.id()).unwrap();
    assert_eq!(again.get().await, Ok(5));
    let mut wrong = app.handle_of::<bool>(good.id()).unwrap();
    assert_eq!(wrong.get().await.unwrap_err().kind(), ErrorKind::BadResult);
    // A step before the last one is the app's own call too.
    let first = py::add::call(1, 1).queue(QUEUE);
    let mut chain = app
        .send(first.then(py::add::partial(1).queue(QUEUE)))
        .await
        .unwrap();
    assert_eq!(chain.get().await, Ok(3));
    let mut step = app.handle_of::<i64>(chain.parent().unwrap()).unwrap();
    assert_eq!(step.get().await, Ok(2));
}

async fn results_of_others_are_refused(fleet: &Fleet) {
    let sent = fleet
        .python
        .run("answer = send('py.add', 2, 3, queue='to_python').id");
    let id = sent.as_str().unwrap();
    let app = &fleet.app;
    for error in [
        app.handle_of::<i64>(id).unwrap_err(),
        app.result(id).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::NotKept { .. }), "{error:?}");
        assert!(error.to_string().contains(id), "{error}");
        assert!(error.help().unwrap().contains("results("), "{error}");
    }
}

async fn results_of_others_are_told(fleet: &Fleet) {
    let ids = fleet.python.run(
        "calls = [send('py.add', 2, 3, queue='to_python'), send('py.parent', queue='to_python')]\n\
         answer = [[call.get(timeout=30), call.id][1] for call in calls]",
    );
    let id = |n: usize| ids[n].as_str().unwrap();
    let app = &fleet.app;
    assert_eq!(app.handle_of::<i64>(id(0)).unwrap().get().await, Ok(5));
    let mut parent = app.handle_of::<Value>(id(1)).unwrap();
    let child = parent.get().await.unwrap();
    let children: Vec<TaskId> = vec![child.as_str().unwrap().into()];
    let result = app.result(id(1)).await.unwrap().unwrap();
    assert_eq!(result.children(), children);
    assert_eq!(app.result("nobody's").await.unwrap(), None);
}

async fn many_calls_are_revoked_by_id(fleet: &Fleet) {
    let app = &fleet.app;
    // Once it has answered, the worker hears what is said to all.
    let mut first = app.send(now::call().queue("to_rust")).await.unwrap();
    first.get().await.unwrap();
    let delayed = (0..50).map(|_| now::call().countdown(LATER).queue("to_rust"));
    let mut calls = app.send_many(delayed).await.unwrap();
    // Before its time is come, Python tells nobody over `rpc://` that it will not run a call.
    let of_python = py::now::call().countdown(Duration::from_secs(10));
    calls.push(app.send(of_python.queue(QUEUE)).await.unwrap());

    // By their ids alone, and by somebody else.
    let other = App::on(fleet.app.place().clone()).await.unwrap();
    let ids = calls.iter().map(|call| call.id().to_string());
    other.revoke(ids).await.unwrap();
    other.revoke([first.id()]).await.unwrap();
    other.revoke(Vec::<TaskId>::new()).await.unwrap();
    for call in &mut calls {
        let error = call.get().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    }
    let ended = app.result(first.id()).await.unwrap().unwrap();
    assert_eq!(ended.state, ResultState::Success);
}
