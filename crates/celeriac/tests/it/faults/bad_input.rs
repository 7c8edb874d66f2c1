//! Input that is no task call: set aside with its bytes, and the worker goes on.

use std::time::{Duration, Instant};

use celeriac_core::DeadMessage;
use celeriac_testkit::block_on;
use celeriac_testkit::peers::OwnedChild;

use super::draft::{Fate, SECRET, Shape, footprint};
use super::ground::{Ground, Kind, QUEUE};
use super::shapes;

/// How long all shapes of a broker may take together, on a machine that does other things too.
const LIMIT: Duration = Duration::from_secs(100);

/// Makes a test of each pair of a broker and a pool.
macro_rules! on {
    ($check:ident: $($name:ident = $kind:ident, $pool:literal;)*) => {
        $(#[test]
        fn $name() {
            block_on(async {
                let ground = Ground::new(Kind::$kind).await;
                let worker = ground.worker($pool);
                // What is still there when this panics shows what it printed.
                let checking = tokio::time::timeout(LIMIT, $check(&ground, &worker));
                checking.await.expect("it takes no longer than 100 s");
            });
        })*
    };
}

on! { whatever_comes_is_set_aside_or_run:
    shapes_on_redis_and_threads = Redis, "threads=2";
    shapes_on_redis_and_processes = Redis, "processes=2";
    shapes_on_amqp_and_threads = Amqp, "threads=2";
    shapes_on_amqp_and_processes = Amqp, "processes=2";
}

async fn whatever_comes_is_set_aside_or_run(ground: &Ground, worker: &OwnedChild) {
    let shapes: Vec<_> = shapes::all()
        .into_iter()
        .filter(|it| fits(it, ground.kind))
        .collect();
    let mut wrong = Vec::new();
    let mut dead = 0;
    let mut stranger = ground.stranger().await;
    let soon = ground.soon().await;
    for shape in &shapes {
        stranger.send(shape).await;
        let took = ground.canary().await;
        if took > soon {
            wrong.push(format!("{}: the next good task took {took:?}", shape.name));
        }
        wrong.extend(what_became(ground, shape, &mut dead).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let printed = worker.printed();
    assert!(!printed.contains(SECRET), "a body was logged:\n{printed}");
    let longest = printed.lines().map(str::len).max().unwrap();
    assert!(longest < 4096, "a line of the log has {longest} bytes");
    assert!(!printed.contains('\u{1b}') && !printed.contains("\n2026 ERROR forged"));
}

fn fits(shape: &Shape, kind: Kind) -> bool {
    match kind {
        Kind::Redis => shape.element.is_some(),
        Kind::Amqp => shape.published.is_some(),
    }
}

/// Whether the body is there, or all of it where there is no telling what the body is.
fn is_kept(shape: &Shape, dead: &DeadMessage) -> bool {
    dead.body == shape.body || shape.element.as_ref() == Some(&dead.headers)
}

/// Waits for the fate of a shape; what was not as it should be, in words. `dead` counts the dead.
pub(super) async fn what_became(
    ground: &Ground,
    shape: &Shape,
    dead: &mut usize,
) -> Option<String> {
    let name = &shape.name;
    let ran = ground.path(&footprint(name));
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let all = ground.dead().await;
        if let Some(found) = all.get(*dead) {
            *dead += 1;
            let kept = is_kept(shape, found);
            let here = found.queue.as_str() == QUEUE;
            let expected = shape.fate == Fate::Dead(found.reason);
            let alone = all.len() == *dead;
            return (!(kept && here && expected && alone)).then(|| {
                format!(
                    "{name}: should be {:?}, is dead of {:?} ({}); kept: {kept}, here: {here}, alone: {alone}",
                    shape.fate, found.reason, found.detail
                )
            });
        }
        if ran.exists() {
            return (shape.fate != Fate::Runs)
                .then(|| format!("{name}: should be {:?}, ran", shape.fate));
        }
        if Instant::now() > end {
            return Some(format!(
                "{name}: should be {:?}, and nothing became of it",
                shape.fate
            ));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
