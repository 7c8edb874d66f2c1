//! Results kept in another store than the broker.

use celeriac::prelude::*;
use celeriac::report::Report as _;
use celeriac::{Error, Routes};
use celeriac_drivers::{DriverOptions, open};

use crate::support::in_time;

#[celeriac::task]
fn half(n: u32) -> Result<u32, String> {
    if n % 2 == 1 {
        return Err(format!("{n} is odd"));
    }
    Ok(n / 2)
}

#[tokio::test]
async fn a_broker_and_a_result_backend_may_be_two_stores() {
    let folder = tempfile::tempdir().unwrap();
    let url = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let app = App::builder()
        .results(url("results.db"))
        .on(url("jobs.db"))
        .await
        .unwrap();
    let worker = app.start_worker("threads=1").await.unwrap();
    let mut good = app.send(half::call(8)).await.unwrap();
    let mut bad = app.send(half::call(7)).await.unwrap();
    assert_eq!(in_time(good.get()).await.unwrap(), 4);
    let error = in_time(bad.get()).await.unwrap_err();
    assert_eq!(error.message(), "7 is odd");
    worker.stop().await.unwrap();

    let ids = [good.id().clone(), bad.id().clone()];
    for (name, expected) in [("results.db", 2), ("jobs.db", 0)] {
        let url = url(name).parse().unwrap();
        let store = open(&url, &DriverOptions::default()).await.unwrap();
        let results = store.results().unwrap();
        let held = results.fetch(&ids).await.unwrap();
        assert_eq!(held.iter().flatten().count(), expected, "{name}");
    }
}

#[tokio::test]
async fn a_pool_keeps_no_results_for_a_broker() {
    let folder = tempfile::tempdir().unwrap();
    let place = format!("sqlite:{}", folder.path().join("jobs.db").display());
    let error = App::builder()
        .results("threads=2")
        .on(place)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("it is a pool"), "{error}");
}

#[tokio::test]
async fn a_pool_knows_no_call_by_its_id() {
    let app = App::on("threads=1").await.unwrap();
    let id = "some call";
    for (error, what) in [
        (app.handle_of::<u32>(id).unwrap_err(), "find a call"),
        (app.handle::<half>(id).unwrap_err(), "find a call"),
        (app.result(id).await.unwrap_err(), "tell what became"),
        (app.revoke([id]).await.unwrap_err(), "revoke a call"),
    ] {
        assert!(matches!(error, Error::NoBroker { .. }), "{error:?}");
        assert!(error.to_string().contains(what), "{error}");
        assert!(error.help().unwrap().contains("`Handle`"), "{error}");
    }
}

#[tokio::test]
async fn calls_that_name_no_queue_go_where_the_routes_say() {
    let folder = tempfile::tempdir().unwrap();
    let app = App::builder()
        .routes(Routes::new().to("*half", "halves".parse().unwrap()))
        .on(format!(
            "sqlite:{}",
            folder.path().join("jobs.db").display()
        ))
        .await
        .unwrap();
    app.send(half::call(2)).await.unwrap();
    app.send(half::call(4).queue("mine")).await.unwrap();
    let queues = app.broker().unwrap().queues().await.unwrap();
    let names: Vec<_> = queues.iter().map(|queue| queue.name.as_str()).collect();
    assert_eq!(names, ["halves", "mine"]);

    // A worker of the app's own takes from where the routes send.
    let worker = app.start_worker("threads=1").await.unwrap();
    let values: Vec<u32> = in_time(app.map::<half>([6, 8]).collect()).await.unwrap();
    assert_eq!(values, [3, 4]);
    worker.stop().await.unwrap();
}
