//! Calls, from their submission to what is said of them.

use std::time::Duration;

use celeriac_core::runtime::End;
use celeriac_core::{Interrupt, Limits, TaskError};
use celeriac_python::{PoolSettings, Stray};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::mpsc;

use crate::stage::{Said, Stage, count, import, stored};

#[tokio::test]
async fn a_call_starts_and_is_concluded() {
    let mut stage = Stage::new(1).await;
    let tag = stage.call(json!(["echo", "hello"]));
    stage.started(tag).await;
    let (ended, conclusion) = stage.ended().await;
    let conclusion = conclusion.unwrap();
    assert_eq!((ended, conclusion.end), (tag, End::Succeeded));
    assert_eq!(conclusion.busy, Some(Duration::from_millis(250)));
    assert_eq!(conclusion.told.text.as_deref(), Some("'hello'"));
    assert_eq!(stored(&conclusion), "hello");
    let result = &conclusion.results[0];
    assert_eq!(result.id, "call-1".into());
    assert_eq!(result.keep, Some(Duration::from_secs(60)));
    assert!(result.is_final());
}

#[tokio::test]
async fn a_child_is_told_of_a_message_what_celery_asks_for() {
    let mut stage = Stage::new(1).await;
    let head = stage.value(json!(["head"])).await;
    assert_eq!(head["task"], "act");
    assert_eq!(head["id"], "call-1");
    assert_eq!(head["headers"]["retries"], 0);
    assert_eq!(head["properties"]["correlation_id"], "call-1");
    assert_eq!(head["delivery_info"]["redelivered"], false);
    assert_eq!(head["content_type"], "application/json");
}

#[tokio::test]
async fn thousands_of_calls_are_each_answered_once() {
    let mut stage = Stage::new(3).await;
    let calls = 5_000;
    for n in 0..calls {
        stage.call(json!(["echo", n]));
    }
    let mut values = vec![false; calls];
    for _ in 0..calls {
        let (tag, conclusion) = stage.ended().await;
        let value = stored(&conclusion.unwrap()).as_i64().unwrap();
        assert_eq!(value + 1, tag);
        let value = usize::try_from(value).unwrap();
        assert!(!std::mem::replace(&mut values[value], true));
    }
    assert!(stage.nothing_said());
}

#[tokio::test]
async fn bodies_and_results_of_megabytes_pass() {
    let mut stage = Stage::new(2).await;
    let text = "x".repeat(3_000_000);
    for _ in 0..4 {
        stage.call(json!(["large", text]));
    }
    for _ in 0..4 {
        let (_, conclusion) = stage.ended().await;
        assert_eq!(
            stored(&conclusion.unwrap()).as_str().unwrap().len(),
            6_000_000
        );
    }
}

#[tokio::test]
async fn results_while_a_call_goes_on_are_handed_on_at_once_and_the_last_with_its_end() {
    let (strays, mut strayed) = mpsc::unbounded_channel();
    let mut settings = PoolSettings::prefork(count(1));
    settings.stray_results = Some(Stray(Arc::new(move |result| strays.send(result).unwrap())));
    let mut stage = Stage::with(settings, json!({})).await;
    let tag = stage.call(json!(["progress"]));
    stage.started(tag).await;
    let (_, Said::Stored(progress)) = stage.next().await else {
        panic!("its progress is not stored");
    };
    assert_eq!(progress.state, "PROGRESS");
    let (_, conclusion) = stage.ended().await;
    let results = conclusion.unwrap().results;
    let states: Vec<_> = results.iter().map(|result| &*result.state).collect();
    assert_eq!(states, ["LAST", "SUCCESS"]);
    assert_eq!(strayed.recv().await.unwrap().state, "STRAY");
}

#[tokio::test]
async fn what_waits_behind_a_long_call_runs_elsewhere() {
    let mut stage = Stage::new(2).await;
    // The children learn that these calls are short, so that they are sent ahead.
    for _ in 0..200 {
        stage.call(json!(["ignore"]));
    }
    for _ in 0..200 {
        stage.ended().await.1.unwrap();
    }
    let gate = stage.gate("gate");
    let long = stage.call(json!(["gate", gate.path()]));
    for _ in 0..100 {
        stage.call(json!(["ignore"]));
    }
    for _ in 0..100 {
        let (tag, conclusion) = stage.ended().await;
        assert_ne!(tag, long);
        assert_eq!(conclusion.unwrap().end, End::Ignored);
    }
    gate.open();
    assert_eq!(stage.ended().await.0, long);
}

#[tokio::test]
async fn calls_start_in_their_order() {
    let mut stage = Stage::new(1).await;
    let gate = stage.gate("gate");
    stage.value(json!(["echo", 1])).await;
    let mut tags = vec![stage.call(json!(["gate", gate.path()]))];
    tags.extend((0..50).map(|_| stage.call(json!(["ignore"]))));
    gate.open();
    for tag in tags {
        assert_eq!(stage.ended().await.0, tag);
    }
}

#[tokio::test]
async fn a_cancelled_call_does_not_begin_and_one_that_runs_goes_on() {
    let mut stage = Stage::new(1).await;
    for _ in 0..20 {
        stage.value(json!(["echo", 1])).await;
    }
    let gate = stage.gate("gate");
    let (running, control) = stage.call_with(json!(["gate", gate.path()]), Limits::NONE);
    let (ahead, ahead_control) = stage.call_with(json!(["ignore"]), Limits::NONE);
    stage.started(running).await;
    control.interrupt(Interrupt::Cancelled);
    ahead_control.interrupt(Interrupt::Cancelled);
    let (tag, conclusion) = stage.ended().await;
    assert_eq!((tag, conclusion), (ahead, Err(TaskError::cancelled())));
    gate.open();
    let (tag, conclusion) = stage.ended().await;
    assert_eq!((tag, conclusion.unwrap().end), (running, End::Succeeded));
}

/// How many of many short calls find another one in their child's channel when they run.
async fn followed(fair: bool) -> usize {
    let mut settings = PoolSettings::prefork(count(1));
    settings.fair = fair;
    let mut stage = Stage::of(import(json!({})).await.unwrap(), settings);
    for _ in 0..20 {
        // So that it is known how short they are.
        stage.value(json!(["peek"])).await;
    }
    for _ in 0..300 {
        stage.call(json!(["peek"]));
    }
    let mut followed = 0;
    for _ in 0..300 {
        let (_, conclusion) = stage.ended().await;
        followed += usize::from(stored(&conclusion.unwrap()) == true);
    }
    followed
}

#[tokio::test]
async fn short_calls_are_sent_ahead_unless_the_pool_is_fair() {
    assert_eq!(followed(true).await, 0);
    assert!(followed(false).await > 0);
}
