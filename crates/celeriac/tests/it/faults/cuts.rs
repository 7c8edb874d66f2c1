//! A network that fails between a worker and its broker: nothing is lost, and work goes on.

use std::fs;
use std::time::{Duration, Instant};

use celeriac::canvas::remote;
use celeriac_testkit::block_on;
use celeriac_testkit::peers::{Fault, TcpProxy};

use super::ground::{Ground, Kind, QUEUE};

/// How long a dead worker's messages may take to come back: until its lease has ended.
pub(super) const LEASE: Duration = Duration::from_secs(30);

/// How soon the first task runs after the network has healed.
const SOON: Duration = Duration::from_secs(5);

const TASK: &str = "shop.nap";

/// Sends a task that takes some milliseconds and makes a file of this name.
pub(super) async fn send(ground: &Ground, name: &str) {
    send_nap(ground, name, 5).await;
}

/// The same of one that takes so long, and makes the file as it begins.
pub(super) async fn send_nap(ground: &Ground, name: &str, ms: u64) {
    let nap = remote::<(u64, String), u64>(TASK);
    let call = nap.call((ms, name.to_owned())).queue(QUEUE);
    ground.app.send(call).await.unwrap();
}

/// How many tasks have run whose file begins with `ran-`.
fn ran(ground: &Ground) -> usize {
    let entries = fs::read_dir(ground.path("")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("ran-")).count()
}

/// Waits until so many have run; how long that took.
pub(super) async fn until_ran(ground: &Ground, count: usize, limit: Duration) -> Duration {
    let begun = Instant::now();
    while ran(ground) < count {
        let so_far = ran(ground);
        assert!(
            begun.elapsed() < limit,
            "{so_far} of {count} ran in {limit:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}

#[test]
fn what_a_worker_was_given_before_it_was_cut_off_and_killed_is_kept_on_redis() {
    block_on(kept(Kind::Redis));
}

#[test]
fn what_a_worker_was_given_before_it_was_cut_off_and_killed_is_kept_on_amqp() {
    block_on(kept(Kind::Amqp));
}

async fn kept(kind: Kind) {
    let ground = Ground::new(kind).await;
    let (proxy, through) = TcpProxy::before_url(&ground.url).await.unwrap();
    let worker = ground.worker_at(&through, "threads=1");
    worker.wait_for_line("worker is ready");
    // The name of the task comes with the message, and with nothing else.
    proxy.strike_after_reply(TASK.as_bytes(), Fault::Hold);
    send(&ground, "ran-1").await;
    let struck = tokio::time::timeout(Duration::from_secs(10), proxy.struck());
    struck.await.expect("the worker is given the message");
    // With SIGKILL.
    drop(worker);
    drop(proxy);
    // It may have had the time to run it, but none to say so.
    let _ = fs::remove_file(ground.path("ran-1"));
    let _heir = ground.worker("threads=1");
    until_ran(&ground, 1, LEASE).await;
}

#[test]
fn a_silent_network_delays_work_on_redis_and_loses_none() {
    block_on(outlasted(Kind::Redis, "&socket_timeout=1"));
}

#[test]
fn a_silent_network_delays_work_on_amqp_and_loses_none() {
    block_on(outlasted(Kind::Amqp, "?heartbeat=1"));
}

/// Lets the network be silent for longer than a worker needs to notice, which `options` make short.
async fn outlasted(kind: Kind, options: &str) {
    const TASKS: usize = 1500;
    let ground = Ground::new(kind).await;
    let (proxy, through) = TcpProxy::before_url(&ground.url).await.unwrap();
    for n in 0..TASKS {
        send(&ground, &format!("ran-{n}")).await;
    }
    let worker = ground.worker_at(&format!("{through}{options}"), "threads=2");
    until_ran(&ground, TASKS / 10, LEASE).await;
    proxy.strike(Fault::Hold);
    worker.wait_for_line("will try again");
    let before = ran(&ground);
    assert!(before < TASKS * 9 / 10, "too little is left to do");
    proxy.heal();
    until_ran(&ground, before + 1, SOON).await;
    until_ran(&ground, TASKS, LEASE).await;
}
