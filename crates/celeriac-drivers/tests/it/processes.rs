//! Several processes on one file, and what becomes of it when they die.
//!
//! A test's children play their parts at its top.

#![allow(clippy::print_stdout, reason = "children tell their parent through it")]

use std::collections::HashSet;
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use celeriac_core::broker::Subscription;
use celeriac_core::{
    Broker, Consumer, Delivery, ResultState, Settled, Settlement, TaskId, Verdict,
};
use celeriac_drivers::DriverOptions;
use celeriac_drivers::sqlite::{self, SqliteStore, check};
use celeriac_testkit::{block_on, call, message, queue, result, within};

use crate::player::{self, Player};

/// The part this process is to play, and the file.
fn part() -> Option<(String, PathBuf)> {
    let value = player::part()?;
    let (part, path) = value.split_once(':')?;
    Some((part.to_owned(), path.into()))
}

/// A child that plays `part` on a file.
fn start(test: &str, part: &str, path: &Path) -> Player {
    Player::start(test, &format!("{part}:{}", path.display()))
}

async fn open(path: &Path) -> Arc<SqliteStore> {
    within(sqlite::open(path, &DriverOptions::default()))
        .await
        .unwrap()
}

async fn consume(store: &SqliteStore, name: &str, lease: Duration) -> Arc<dyn Consumer> {
    let subscription = Subscription {
        lease,
        delivery_limit: 1000.try_into().unwrap(),
        suspects: NonZeroUsize::MAX,
        ..Subscription::new(name, vec![queue("jobs")])
    };
    within(store.consume(subscription)).await.unwrap()
}

async fn receive(consumer: &Arc<dyn Consumer>, credit: usize) -> Vec<Delivery> {
    let credit = NonZeroUsize::new(credit).unwrap();
    within(consumer.receive(credit)).await.unwrap()
}

fn succeed(delivery: &Delivery) -> Settlement {
    Settlement {
        tag: delivery.tag,
        verdict: Verdict::Ack,
        result: Some(result(
            &delivery.message.headers.id,
            ResultState::Success,
            1,
        )),
        follow_ups: Vec::new(),
    }
}

const LONG: Duration = Duration::from_secs(600);

/// Plays a consumer that takes three messages and keeps them until it is killed.
fn play_holder(path: &Path) {
    block_on(async {
        let store = open(path).await;
        let consumer = consume(&store, "child", LONG).await;
        println!("> holds {}", receive(&consumer, 3).await.len());
        std::future::pending::<()>().await;
    });
}

/// A file with three messages, all of which a child holds.
async fn three_held(test: &str) -> (tempfile::TempDir, Arc<SqliteStore>, Player) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jobs.db");
    let store = open(&path).await;
    let batch = (0..3).map(|n| (queue("jobs").into(), call("t", n)));
    store.publish(batch.collect()).await.unwrap();
    let mut child = start(test, "hold", &path);
    assert_eq!(child.says().as_deref(), Some("holds 3"));
    (directory, store, child)
}

#[test]
fn a_killed_holders_messages_come_back_at_once() {
    if let Some((_, path)) = part() {
        return play_holder(&path);
    }
    block_on(async {
        let test = "processes::a_killed_holders_messages_come_back_at_once";
        let (_directory, store, mut child) = three_held(test).await;
        let heir = consume(&store, "heir", LONG).await;
        let died = Instant::now();
        // Not waited for: a zombie is dead too.
        child.child.kill().unwrap();
        let got = receive(&heir, 10).await;
        assert_eq!(got.len(), 3);
        assert!(got.iter().all(|it| it.deliveries == 2));
        assert!(
            died.elapsed() < Duration::from_secs(5),
            "{:?}",
            died.elapsed()
        );
        assert_eq!(store.consumers().await.unwrap().len(), 1);
    });
}

#[test]
fn a_new_consumer_takes_over_what_a_killed_one_held() {
    if let Some((_, path)) = part() {
        return play_holder(&path);
    }
    block_on(async {
        let test = "processes::a_new_consumer_takes_over_what_a_killed_one_held";
        let (_directory, store, mut child) = three_held(test).await;
        child.child.kill().unwrap();
        child.child.wait().unwrap();
        let _heir = consume(&store, "heir", LONG).await;
        // Nothing is waited for: it is done when the consumer is registered.
        let queues = store.queues().await.unwrap();
        assert_eq!((queues[0].ready, queues[0].held), (3, 0));
    });
}

#[test]
fn a_frozen_holder_finds_its_lease_lost() {
    let second = Duration::from_secs(1);
    if let Some((_, path)) = part() {
        return block_on(async {
            let store = open(&path).await;
            let consumer = consume(&store, "child", second).await;
            let got = receive(&consumer, 1).await;
            println!("> holds");
            // Another message is the sign that it was thawed.
            let sign = receive(&consumer, 1).await;
            let settled = consumer.settle(vec![succeed(&got[0]), succeed(&sign[0])]);
            println!("> {:?}", within(settled).await.unwrap());
        });
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jobs.db");
    block_on(async {
        let store = open(&path).await;
        let first = call("t", 1);
        let id = first.headers.id.clone();
        store
            .publish(vec![(queue("jobs").into(), first)])
            .await
            .unwrap();
        let test = "processes::a_frozen_holder_finds_its_lease_lost";
        let mut child = start(test, "hold", &path);
        assert_eq!(child.says().as_deref(), Some("holds"));
        let heir = consume(&store, "heir", LONG).await;
        child.signal("-STOP");
        let got = receive(&heir, 1).await;
        assert_eq!(got[0].message.headers.id, id);
        heir.settle(vec![succeed(&got[0])]).await.unwrap();
        heir.close().await.unwrap();
        store
            .publish(vec![(queue("jobs").into(), call("sign", 2))])
            .await
            .unwrap();
        child.signal("-CONT");
        let said = child.says();
        assert_eq!(said.as_deref(), Some("[LeaseLost, Done]"));
    });
}

#[test]
fn nothing_acknowledged_is_lost_when_processes_are_killed() {
    const KILLS: u64 = 12;
    if let Some((part, path)) = part() {
        return block_on(async {
            let store = open(&path).await;
            if part == "produce" {
                loop {
                    let id = TaskId::new();
                    let sent = message(id.clone(), "t", 0, 0);
                    store
                        .publish(vec![(queue("jobs").into(), sent)])
                        .await
                        .unwrap();
                    println!("> {id}");
                }
            }
            let consumer = consume(&store, "child", LONG).await;
            loop {
                let got = receive(&consumer, 5).await;
                let settled = consumer.settle(got.iter().map(succeed).collect()).await;
                for (delivery, settled) in got.iter().zip(settled.unwrap()) {
                    assert_eq!(settled, Settled::Done);
                    println!("> {}", delivery.message.headers.id);
                }
            }
        });
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jobs.db");
    let test = "processes::nothing_acknowledged_is_lost_when_processes_are_killed";
    let (mut sent, mut settled) = (HashSet::new(), Vec::new());
    for round in 0..KILLS {
        let mut producer = start(test, "produce", &path);
        let mut consumer = start(test, "consume", &path);
        // Killed after so many acknowledgements: at any point of what comes next.
        for _ in 0..20 + round * 7 % 50 {
            sent.insert(producer.says().unwrap());
            settled.extend(consumer.says());
        }
        producer.child.kill().unwrap();
        consumer.child.kill().unwrap();
        while let Some(id) = producer.says() {
            sent.insert(id);
        }
        while let Some(id) = consumer.says() {
            settled.push(id);
        }
    }
    assert_eq!(check(&path).problems, [""; 0]);
    block_on(async {
        let store = open(&path).await;
        let ids: Vec<TaskId> = settled.iter().map(|id| id.as_str().into()).collect();
        let results = store.results().unwrap().fetch(&ids).await.unwrap();
        assert!(
            results.iter().all(Option::is_some),
            "a settled result is lost"
        );

        let consumer = consume(&store, "last", LONG).await;
        while store.queues().await.unwrap()[0].ready + store.queues().await.unwrap()[0].held > 0 {
            let got = receive(&consumer, 1000).await;
            consumer
                .settle(got.iter().map(succeed).collect())
                .await
                .unwrap();
        }
        let ids: Vec<TaskId> = sent.iter().map(|id| id.as_str().into()).collect();
        let results = store.results().unwrap().fetch(&ids).await.unwrap();
        let lost = results.iter().filter(|it| it.is_none()).count();
        assert_eq!(lost, 0, "of {} acknowledged sends", ids.len());
        drop(consumer);
    });
    let unique: HashSet<_> = settled.iter().collect();
    assert_eq!(unique.len(), settled.len(), "none was settled twice");
    assert_eq!(check(&path).problems, [""; 0]);
}

#[test]
fn many_processes_share_one_file_without_errors() {
    const EACH: usize = 100;
    const PRODUCERS: usize = 4;
    if let Some((part, path)) = part() {
        return block_on(async {
            let store = open(&path).await;
            if part == "produce" {
                for n in 0..EACH {
                    store
                        .publish(vec![(queue("jobs").into(), call("t", n))])
                        .await
                        .unwrap();
                }
                println!("> done");
                return;
            }
            let consumer = consume(&store, "child", LONG).await;
            loop {
                let got = receive(&consumer, 10).await;
                let settled = consumer.settle(got.iter().map(succeed).collect()).await;
                assert!(settled.unwrap().iter().all(|it| *it == Settled::Done));
            }
        });
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jobs.db");
    let test = "processes::many_processes_share_one_file_without_errors";
    block_on(async {
        let store = open(&path).await;
        let mut consumers: Vec<_> = (0..3).map(|_| start(test, "consume", &path)).collect();
        let mut producers: Vec<_> = (0..PRODUCERS)
            .map(|_| start(test, "produce", &path))
            .collect();
        for producer in &mut producers {
            assert_eq!(producer.says().as_deref(), Some("done"));
            assert!(producer.child.wait().unwrap().success());
        }
        let drained = async {
            loop {
                let info = &store.queues().await.unwrap()[0];
                if info.ready + info.held == 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within(drained).await;
        for consumer in &mut consumers {
            assert!(
                consumer.child.try_wait().unwrap().is_none(),
                "it still works"
            );
        }
        consumers.clear();
        let counts = check(&path).counts.unwrap();
        assert_eq!(counts.results, (EACH * PRODUCERS) as u64);
        assert_eq!(counts.messages, 0);
    });
}

#[test]
fn a_file_without_permission_is_refused_with_the_remedy() {
    if let Some((_, path)) = part() {
        return block_on(async {
            let refused = sqlite::open(&path, &DriverOptions::default()).await;
            let error = refused.unwrap_err();
            println!("> {error}; {}", error.help().unwrap());
        });
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jobs.db");
    block_on(async { drop(open(&path).await) });
    let test = "processes::a_file_without_permission_is_refused_with_the_remedy";
    // Root may do anything, so the child is somebody else.
    let nobody = (fs::metadata("/proc/self").unwrap().uid() == 0).then_some(65_534);
    for file in [directory.path().to_owned(), path.clone()] {
        chown(file, nobody, nobody).unwrap();
    }
    for (mode, part) in [(0o400, "it is read-only"), (0o000, "it cannot be opened")] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let mut child = Player::start_as(test, &format!("open:{}", path.display()), nobody);
        let said = child.says().unwrap();
        assert!(said.contains(part), "{said}");
        assert!(said.contains("give this user"), "{said}");
    }
}

#[test]
fn an_expired_result_is_swept_while_somebody_consumes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jobs.db");
    block_on(async {
        let store = open(&path).await;
        let mut old = result(&TaskId::new(), ResultState::Success, 1);
        old.expires_at = old.stored_at;
        let kept = result(&TaskId::new(), ResultState::Success, 1);
        let backend = store.results().unwrap();
        backend.store(vec![old, kept]).await.unwrap();
        assert_eq!(check(&path).counts.unwrap().results, 2);
        let _consumer = consume(&store, "c", LONG).await;
        let swept = async {
            while check(&path).counts.unwrap().results > 1 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(swept).await;
    });
}
