//! Workflows whose steps are half in Rust and half in Python, sent from either.

use celeriac::canvas::{Canvas as _, Remote, group as beside, remote};
use celeriac::{ErrorKind, group};
use serde_json::json;

use super::fleet::{Fleet, Kind};
use super::in_fleets;
use super::tasks::{add, by_name, detour, echo, fail, py, sum};

in_fleets! { workflows_cross_from_one_language_to_the_other:
    redis_celery_5_7 = Redis, V57;
    redis_celery_5_5 = Redis, V55;
    redis_celery_5_4 = Redis, V54;
    redis_celery_5_7_in_msgpack = RedisMsgpack, V57;
    redis_celery_5_7_in_yaml = RedisYaml, V57;
    redis_6_2_celery_5_7 = Redis62, V57;
    amqp_celery_5_7 = Amqp, V57;
    amqp_celery_5_4 = Amqp, V54;
    amqp_and_redis_celery_5_7 = AmqpRedis, V57;
    amqp_and_redis_celery_5_5 = AmqpRedis, V55;
    amqp_and_redis_celery_5_4 = AmqpRedis, V54;
}

const RUST: &str = "steps_in_rust";
const PYTHON: &str = "steps_in_python";
const CHILDREN: &str = "steps_in_children";

async fn workflows_cross_from_one_language_to_the_other(fleet: &Fleet) {
    let app = &fleet.app;
    let _python = fleet.python.worker(&["-Q", PYTHON]);
    let _rust = fleet.rust_worker(RUST, 2).await;
    let _children = fleet.rust_worker_on(CHILDREN, "processes=1").await;

    let chain = add::call(1, 2)
        .queue(RUST)
        .then(py::add::partial(10).queue(PYTHON))
        .then(add::partial(100).queue(RUST))
        .then(py::add::partial(1000).queue(PYTHON));
    assert_eq!(app.send(chain).await.unwrap().get().await, Ok(1113));

    let detours = detour::call(1)
        .queue(RUST)
        .then(py::detour::partial().queue(PYTHON))
        .then(detour::partial().queue(RUST));
    assert_eq!(app.send(detours).await.unwrap().get().await, Ok(7));

    // The child says what is to run in its place, and knows no more of it than a name.
    let named: Remote<(i64, i64), i64> = remote("py.add");
    let detours = by_name::call(1)
        .queue(CHILDREN)
        .then(add::partial(10).queue(CHILDREN))
        .then(named.partial((100,)).queue(PYTHON));
    assert_eq!(app.send(detours).await.unwrap().get().await, Ok(113));

    let parts = group![
        add::call(1, 2)
            .queue(RUST)
            .then(py::add::partial(3).queue(PYTHON)),
        py::add::call(1, 2)
            .queue(PYTHON)
            .then(add::partial(4).queue(RUST)),
    ];
    let mut handle = app.send(parts).await.unwrap();
    assert_eq!(handle.get().await, Ok(vec![6, 7]));

    let broken = py::fail::call(7)
        .queue(PYTHON)
        .then(echo::call(json!(1)).queue(RUST))
        .then(py::echo::partial().queue(PYTHON));
    let error = app.send(broken).await.unwrap().get().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.type_name()),
        (ErrorKind::Failed, "ValueError")
    );
    let broken = fail::call(7)
        .queue(RUST)
        .then(py::add::call(1, 1).queue(PYTHON))
        .then(add::partial(1).queue(RUST));
    let error = app.send(broken).await.unwrap().get().await.unwrap_err();
    assert_eq!(error.type_name(), "CardRefused");
    let chords = fleet.kind != Kind::Amqp;
    python_sends_them_too(fleet, chords);
    if chords {
        chords_cross(fleet).await;
    } else {
        let chord = beside([add::call(1, 1).queue(RUST)]).then(sum::partial());
        let refused = app.send(chord).await.unwrap_err().to_string();
        assert!(refused.contains("carries out no chords"), "{refused}");
    }
}

fn python_sends_them_too(fleet: &Fleet, chords: bool) {
    let chords_too = if chords { "True" } else { "False" };
    let script = format!("CHORDS = {chords_too}\n{}", include_str!("workflows.py"));
    let answer = fleet.python.script(&script).answer();
    assert_eq!(answer["chain"], json!({"value": 113}));
    assert_eq!(answer["broken"]["error"], "CardRefused", "{answer:#}");
    assert_eq!(answer["broken"]["state"], "FAILURE");
    assert_eq!(answer["chunks"], json!([[0, 2], [4, 6]]));
    assert_eq!(answer["detour"], json!({"value": 15}));
    if chords {
        assert_eq!(answer["chord"], json!({"value": 12}));
        assert_eq!(answer["detours"], json!({"value": 3 + 4 + 5}));
    }
}

async fn chords_cross(fleet: &Fleet) {
    let app = &fleet.app;
    let py_sum: Remote<(Vec<i64>,), i64> = remote("py.sum");
    let header = |n: i64| {
        beside((0..n).map(|n| match n % 2 {
            0 => add::call(n, n).queue(RUST).into_chain(),
            _ => py::add::call(n, n).queue(PYTHON).into_chain(),
        }))
    };
    let total: i64 = (0..10).map(|n| 2 * n).sum();
    let in_python = header(10).then(py_sum.partial(()).queue(PYTHON));
    assert_eq!(app.send(in_python).await.unwrap().get().await, Ok(total));
    let in_rust = header(10)
        .then(sum::partial().queue(RUST))
        .then(py::add::partial(1).queue(PYTHON));
    assert_eq!(app.send(in_rust).await.unwrap().get().await, Ok(total + 1));

    // Behind a step of each language, so that a worker of each sends the chord.
    for first in [
        add::call(1, 1).queue(RUST).into_chain(),
        py::add::call(1, 1).queue(PYTHON).into_chain(),
    ] {
        let header = group![
            add::partial(1).queue(RUST),
            py::add::partial(2)
                .queue(PYTHON)
                .then(add::partial(2).queue(RUST)),
        ];
        let chord = first.then(header).then(sum::partial().queue(RUST));
        let chain = chord.then(py::add::partial(100).queue(PYTHON));
        assert_eq!(app.send(chain).await.unwrap().get().await, Ok(109));
    }

    let header = group![
        add::call(1, 1).queue(RUST),
        py::add::call(1, 1)
            .queue(PYTHON)
            .then(remote::<(i64,), i64>("py.fail").partial(()).queue(PYTHON)),
    ];
    let failed = header.then(sum::partial().queue(RUST));
    let error = app.send(failed).await.unwrap().get().await.unwrap_err();
    assert_eq!(error.type_name(), "ChordError");
    assert!(error.message().contains("ValueError"), "{error}");
}
