//! The service process.

use celeriac_core::outcome::{ErrorKind, TaskError};
use celeriac_core::runtime::End;
use celeriac_python::ServiceError;
use serde_json::{Map, json};

use crate::stage::{Stage, stored};

#[tokio::test]
async fn the_end_of_a_call_is_told_and_stored() {
    let mut stage = Stage::new(1).await;
    for (error, state, method) in [
        (TaskError::cancelled(), "REVOKED", "revoked"),
        (
            TaskError::new(ErrorKind::Expired, "late"),
            "REVOKED",
            "revoked",
        ),
        (
            TaskError::new(ErrorKind::Unregistered, "what"),
            "FAILURE",
            "unknown",
        ),
        (TaskError::lost("signal 9"), "FAILURE", "lost"),
    ] {
        let tag = stage.conclude("act", error);
        let (ended, conclusion) = stage.ended().await;
        let conclusion = conclusion.unwrap();
        assert_eq!((ended, conclusion.end), (tag, End::Failed));
        assert_eq!(conclusion.results[0].state, state);
        assert_eq!(
            conclusion.results[0].id,
            format!("call-{tag}").as_str().into()
        );
        assert_eq!(stored(&conclusion)["method"], method);
        assert_eq!(conclusion.told.text.as_deref(), Some(method));
    }
}

#[tokio::test]
async fn commands_and_events_reach_the_app() {
    let stage = Stage::new(1).await;
    assert_eq!(
        stage.pool.lifecycle("ready", Map::new()).await,
        Ok(json!(1))
    );
    assert_eq!(
        stage.pool.control("echo", json!({"a": 1})).await,
        Ok(json!({"a": 1}))
    );
    let refused = stage.pool.control("error", json!({})).await;
    assert_eq!(
        refused,
        Err(ServiceError::Raised("no such command".to_owned()))
    );
}

#[tokio::test]
async fn a_service_that_dies_is_asked_once_more() {
    let stage = Stage::new(1).await;
    let path = |name: &str| stage.folder.path().join(name).to_str().unwrap().to_owned();
    let once = path("once");
    assert_eq!(
        stage.pool.control("die_once", json!(once)).await,
        Ok(json!(once))
    );
    let log = path("log");
    match stage.pool.control("die", json!(log)).await {
        Err(ServiceError::Died(cause)) => assert_eq!(cause, "exitcode 7"),
        other => panic!("{other:?}"),
    }
    assert_eq!(std::fs::read_to_string(&log).unwrap().lines().count(), 2);
    assert_eq!(stage.pool.control("echo", json!(1)).await, Ok(json!(1)));
}
