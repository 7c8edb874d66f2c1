//! The ways in which a network fails, and what a worker says of itself meanwhile.

use std::fs;
use std::time::{Duration, Instant};

use celeriac_testkit::block_on;
use celeriac_testkit::peers::{Fault, TcpProxy, http_get};
use tokio::time::sleep;

use super::cuts::{LEASE, send, until_ran};
use super::ground::{Ground, Kind};

/// How soon a worker notices that nobody answers; the rest of it is the machine's, which is shared.
const NOTICED: Duration = Duration::from_secs(15 + 5);
/// How soon it works again once the network does: longer than it waits between two tries.
const RECOVERED: Duration = Duration::from_secs(5 + 10);

/// How soon a probe is answered, whatever the broker does; whoever asks waits not much longer.
const ANSWERED: Duration = Duration::from_secs(5);

/// What a worker says of itself.
struct Watched(String);

impl Watched {
    async fn get(&self, path: &'static str) -> (u16, String) {
        let address = self.0.clone();
        let begun = Instant::now();
        let asked = tokio::task::spawn_blocking(move || http_get(&address, path));
        let answer = asked.await.unwrap();
        let took = begun.elapsed();
        assert!(took < ANSWERED, "{path} took {took:?}");
        answer
    }

    /// How long it takes until it is ready, or is not; it is alive all the time.
    async fn until_ready(&self, ready: bool, limit: Duration) -> Duration {
        let begun = Instant::now();
        let wanted = if ready { 200 } else { 503 };
        loop {
            let (status, why) = self.get("/readyz").await;
            assert_eq!(self.get("/livez").await.0, 200);
            if status == wanted {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < limit, "after {limit:?}: {status} {why}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn count(&self, name: &str) -> u64 {
        let (_, page) = self.get("/metrics").await;
        let mut lines = page.lines();
        let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let found = found.unwrap_or_else(|| panic!("no {name} in {page}"));
        found.parse().unwrap()
    }
}

fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// A worker behind a network that can fail.
async fn behind(
    kind: Kind,
) -> (
    Ground,
    TcpProxy,
    celeriac_testkit::peers::OwnedChild,
    Watched,
) {
    let ground = Ground::new(kind).await;
    let (proxy, through) = TcpProxy::before_url(&ground.url).await.unwrap();
    let (worker, address) = ground.watched_at(&through);
    (ground, proxy, worker, Watched(address))
}

/// An idle worker notices that its connections carry nothing any more.
async fn silent(kind: Kind, fault: Fault) {
    let (ground, proxy, _worker, watched) = behind(kind).await;
    watched.until_ready(true, RECOVERED).await;
    proxy.strike(fault);
    watched.until_ready(false, NOTICED).await;
    proxy.heal();
    watched.until_ready(true, RECOVERED).await;
    assert!(watched.count("celeriac_broker_reconnects_total").await >= 1);
    send(&ground, "ran-1").await;
    until_ran(&ground, 1, LEASE).await;
}

#[test]
fn a_silent_network_is_noticed_on_redis() {
    block_on(silent(Kind::Redis, Fault::Hold));
}

#[test]
fn a_silent_network_is_noticed_on_amqp() {
    block_on(silent(Kind::Amqp, Fault::Hold));
}

#[test]
fn a_network_that_carries_no_replies_is_noticed_on_redis() {
    block_on(silent(Kind::Redis, Fault::HoldReplies));
}

#[test]
fn a_network_that_carries_no_replies_is_noticed_on_amqp() {
    block_on(silent(Kind::Amqp, Fault::HoldReplies));
}

#[test]
fn a_network_that_carries_no_requests_is_noticed_on_redis() {
    block_on(silent(Kind::Redis, Fault::HoldRequests));
}

#[test]
fn a_network_that_carries_no_requests_is_noticed_on_amqp() {
    block_on(silent(Kind::Amqp, Fault::HoldRequests));
}

/// A network that comes and goes leaves no connection behind.
async fn flapping(kind: Kind) {
    const CALLS: usize = 400;
    let (ground, proxy, worker, watched) = behind(kind).await;
    watched.until_ready(true, RECOVERED).await;
    send(&ground, "ran-first").await;
    until_ran(&ground, 1, LEASE).await;
    let before = open_files(worker.id());
    for n in 1..CALLS {
        send(&ground, &format!("ran-{n}")).await;
        if n % 50 == 0 {
            proxy.strike(Fault::Refuse);
            sleep(Duration::from_millis(700)).await;
            proxy.heal();
            // Long enough to connect, and too short to settle down.
            sleep(Duration::from_millis(700)).await;
        }
    }
    until_ran(&ground, CALLS, LEASE).await;
    watched.until_ready(true, RECOVERED).await;
    let after = open_files(worker.id());
    // A probe of ours may be among them.
    assert!(
        after <= before + 2,
        "{before} files were open, and now {after}"
    );
}

#[test]
fn a_network_that_comes_and_goes_loses_nothing_on_redis() {
    block_on(flapping(Kind::Redis));
}

#[test]
fn a_network_that_comes_and_goes_loses_nothing_on_amqp() {
    block_on(flapping(Kind::Amqp));
}

/// A slow network is no failure: nobody loses a lease, and nothing is delivered twice.
async fn slow(kind: Kind) {
    const CALLS: usize = 40;
    let (ground, proxy, _worker, watched) = behind(kind).await;
    watched.until_ready(true, RECOVERED).await;
    // A second for each question and its answer.
    proxy.delay(Duration::from_millis(500));
    for n in 0..CALLS {
        send(&ground, &format!("ran-{n}")).await;
    }
    until_ran(&ground, CALLS, 4 * LEASE).await;
    // For longer than a lease, so that it has to be renewed through this network.
    let until = Instant::now() + Duration::from_secs(15);
    while Instant::now() < until {
        assert_eq!(watched.get("/readyz").await.0, 200);
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(watched.count("celeriac_leases_lost_total").await, 0);
    assert_eq!(watched.count("celeriac_broker_reconnects_total").await, 0);
    let received = "celeriac_tasks_received_total{task=\"shop.nap\",queue=\"jobs\"}";
    assert_eq!(watched.count(received).await, CALLS as u64);
}

#[test]
fn a_slow_network_costs_no_lease_on_redis() {
    block_on(slow(Kind::Redis));
}

#[test]
fn a_slow_network_costs_no_lease_on_amqp() {
    block_on(slow(Kind::Amqp));
}
