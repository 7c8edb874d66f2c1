//! Leases that are kept while a consumer is busy.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use celeriac_core::broker::Subscription;
use celeriac_core::{Broker, Settled};
use celeriac_testkit::{Fixture, call, queue, within};

use super::Store;
use super::keys::ack;

const LEASE: Duration = Duration::from_millis(600);

/// After a worker has died, all that it held is let through a few at a time, so that each settlement
/// wakes who fetches. The lease is renewed all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_settles_all_the_time_keeps_its_lease() {
    const ALL: usize = 200;
    let place = Store::new("keeping", "");
    let store = place.store().await;
    let calls = (0..ALL).map(|n| (queue("jobs").into(), call("t", n)));
    store.publish(calls.collect()).await.unwrap();
    let subscription = |name: &str, queues: &str| Subscription {
        lease: LEASE,
        suspects: NonZeroUsize::new(2).unwrap(),
        ..Subscription::new(name, vec![queue(queues)])
    };
    let all = NonZeroUsize::new(ALL).unwrap();
    let mortal = store.consume(subscription("mortal", "jobs")).await.unwrap();
    let mut taken = 0;
    while taken < ALL {
        taken += within(mortal.receive(all)).await.unwrap().len();
    }
    place.kill("mortal").await;
    // Takes nothing, and looks after the leases of others.
    let other = place.store().await;
    let _watching = other.consume(subscription("other", "none")).await.unwrap();

    let busy = store.consume(subscription("busy", "jobs")).await.unwrap();
    let mut got = within(busy.receive(all)).await.unwrap();
    let held = got.remove(0);
    busy.settle(got.iter().map(ack).collect()).await.unwrap();
    let start = Instant::now();
    while start.elapsed() < 5 * LEASE {
        // Whoever holds one suspect may have another one.
        let got = within(busy.receive(all)).await.unwrap();
        tokio::time::sleep(LEASE / 20).await;
        let settled = busy.settle(got.iter().map(ack).collect()).await.unwrap();
        assert_eq!(settled, vec![Settled::Done; got.len()]);
    }
    assert_eq!(
        busy.settle(vec![ack(&held)]).await.unwrap(),
        [Settled::Done]
    );
}
