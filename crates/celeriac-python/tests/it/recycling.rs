//! Children that are replaced, and how many there are.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::time::Duration;

use celeriac_core::Executor;
use celeriac_core::executor::Bounds;
use celeriac_python::PoolSettings;
use serde_json::json;

use crate::stage::{Stage, count, stored};

#[tokio::test]
async fn a_child_runs_so_many_calls_and_no_more() {
    for most in [1, 3] {
        let mut settings = PoolSettings::prefork(count(2));
        settings.max_tasks = NonZeroU64::new(most);
        let mut stage = Stage::with(settings, json!({})).await;
        let mut runs: HashMap<i64, u64> = HashMap::new();
        for _ in 0..60 {
            stage.call(json!(["pid"]));
        }
        for _ in 0..60 {
            let (_, conclusion) = stage.ended().await;
            let pid = stored(&conclusion.unwrap()).as_i64().unwrap();
            *runs.entry(pid).or_default() += 1;
        }
        assert!(runs.values().all(|&runs| runs <= most), "{runs:?}");
        let least = usize::try_from(60 / most).unwrap();
        assert!(runs.len() >= least, "{runs:?}");
        assert!(runs.len() <= least + 4, "children left early: {runs:?}");
    }
}

#[tokio::test]
async fn a_child_that_says_so_is_replaced() {
    let mut stage = Stage::new(1).await;
    let pid = stage.value(json!(["pid"])).await;
    let leaves = stage.call(json!(["recycle"]));
    assert_eq!(stage.ended().await.0, leaves);
    assert_ne!(stage.value(json!(["pid"])).await, pid);
}

#[tokio::test]
async fn a_child_that_holds_too_much_memory_is_replaced_after_its_call() {
    let mut settings = PoolSettings::prefork(count(1));
    settings.max_memory_bytes = NonZeroU64::new(100_000_000);
    let mut stage = Stage::with(settings, json!({})).await;
    // What is called once its result is there runs elsewhere, however soon after that.
    for _ in 0..10 {
        let pid = stage.value(json!(["pid"])).await;
        let hoards = stage.call(json!(["hoard", 150]));
        assert_eq!(stage.ended().await.0, hoards);
        assert_ne!(stage.value(json!(["pid"])).await, pid);
    }
}

#[tokio::test]
async fn the_number_of_children_follows_the_work() {
    let mut settings = PoolSettings::prefork(count(4));
    settings.fewest = count(1);
    settings.keep_alive = Duration::ZERO;
    let mut stage = Stage::with(settings, json!({})).await;
    assert_eq!(stage.pool.slots(), count(4));
    let children = || crate::stage::descendants(std::process::id()).len() - 1;
    assert_eq!(children(), 1);
    let gates: Vec<_> = (0..4).map(|n| stage.gate(&format!("gate-{n}"))).collect();
    for gate in &gates {
        stage.call(json!(["gate", gate.path()]));
    }
    for _ in 0..4 {
        assert!(matches!(stage.next().await.1, crate::stage::Said::Started));
    }
    assert_eq!(children(), 4);
    for gate in &gates {
        gate.open();
        stage.ended().await.1.unwrap();
    }
    while children() > 1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_pool_grows_and_shrinks_when_it_is_told_to() {
    let mut stage = Stage::new(2).await;
    let gates: Vec<_> = (0..3).map(|n| stage.gate(&format!("gate-{n}"))).collect();
    stage.pool.resize(count(3));
    assert_eq!(stage.pool.slots(), count(3));
    for gate in &gates {
        stage.call(json!(["gate", gate.path()]));
    }
    for _ in 0..3 {
        assert!(matches!(stage.next().await.1, crate::stage::Said::Started));
    }
    stage.pool.resize(count(1));
    let waits = stage.call(json!(["ignore"]));
    for gate in &gates {
        assert!(stage.nothing_said());
        gate.open();
        assert_ne!(stage.ended().await.0, waits);
    }
    assert_eq!(stage.ended().await.0, waits);
}

#[tokio::test]
async fn the_bounds_of_a_pool_that_follows_the_work_are_changed() {
    let mut settings = PoolSettings::prefork(count(2));
    settings.fewest = count(1);
    let mut stage = Stage::with(settings, json!({})).await;
    let bounds = |fewest, most| {
        let (fewest, most) = (count(fewest), count(most));
        Some(Bounds { fewest, most })
    };
    assert_eq!(stage.pool.autoscale(None, None), bounds(1, 2));
    assert_eq!(stage.pool.autoscale(None, Some(count(4))), bounds(1, 4));
    assert_eq!(stage.pool.slots(), count(4));
    let gates: Vec<_> = (0..4).map(|n| stage.gate(&format!("gate-{n}"))).collect();
    for gate in &gates {
        stage.call(json!(["gate", gate.path()]));
    }
    for _ in 0..4 {
        assert!(matches!(stage.next().await.1, crate::stage::Said::Started));
    }
    for gate in &gates {
        gate.open();
    }
    for _ in 0..4 {
        stage.ended().await.1.unwrap();
    }
    let fixed = Stage::new(1).await;
    assert_eq!(fixed.pool.autoscale(None, Some(count(4))), None);
}

#[tokio::test]
async fn new_children_take_the_places_of_all_and_what_runs_goes_on() {
    let mut stage = Stage::new(2).await;
    let gate = stage.gate("gate");
    let runs = stage.call(json!(["gate", gate.path()]));
    stage.started(runs).await;
    let before = stage.value(json!(["pid"])).await;
    assert!(stage.pool.renew());
    let after = stage.value(json!(["pid"])).await;
    assert_ne!(before, after);
    gate.open();
    let (ended, conclusion) = stage.ended().await;
    assert_eq!(ended, runs);
    conclusion.unwrap();
}
