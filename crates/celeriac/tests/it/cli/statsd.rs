//! What a worker sends to a StatsD server.

use std::collections::BTreeMap;
use std::net::UdpSocket;

use super::Shop;

/// A server that has heard of nobody yet, and where it is.
fn server() -> (UdpSocket, String) {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap().to_string();
    (server, address)
}

/// Runs a worker to its end, while two calls succeed and one fails twice; what was heard of it is summed
/// up, the last value of gauges being their sum.
fn told(flags: &[&str]) -> BTreeMap<String, u64> {
    let shop = Shop::new();
    let (server, address) = server();
    let worker = shop.worker(&[&["--statsd", &*address], flags].concat());
    shop.done(&["send", "add", "1", "2", "--wait"]);
    shop.done(&["send", "add", "3", "4", "--wait"]);
    assert_eq!(shop.run(&["send", "fail", "no", "--wait"]).code, 5);
    worker.signal("TERM");
    worker.ended();

    let mut sums = BTreeMap::new();
    let mut datagram = [0; 2000];
    // All that it sent is here.
    server.set_nonblocking(true).unwrap();
    while let Ok(length) = server.recv(&mut datagram) {
        for line in std::str::from_utf8(&datagram[..length]).unwrap().lines() {
            let (name, rest) = line.split_once(':').unwrap();
            let (value, rest) = rest.split_once('|').unwrap();
            let (sort, tags) = rest.split_at(1);
            let sum: &mut u64 = sums.entry(format!("{name}{tags}")).or_default();
            let value: u64 = value.parse().unwrap();
            match sort {
                "c" => *sum += value,
                "g" => *sum = value,
                _ => panic!("{line}"),
            }
        }
    }
    sums
}

#[test]
fn all_that_was_counted_arrives_by_the_end() {
    let told = told(&[]);
    for (name, value) in [
        ("celeriac.tasks.add.celery.received", Some(2)),
        ("celeriac.tasks.add.celery.started", Some(2)),
        ("celeriac.tasks.add.celery.succeeded", Some(2)),
        ("celeriac.tasks.fail.celery.received", Some(2)),
        ("celeriac.tasks.fail.celery.retried", Some(1)),
        ("celeriac.tasks.fail.celery.failed", Some(1)),
        // Nothing that has not happened is counted.
        ("celeriac.tasks.add.celery.failed", None),
        ("celeriac.pool.slots", Some(1)),
        ("celeriac.leases.held", Some(0)),
        ("celeriac.worker.ready", Some(0)),
        ("celeriac.queues.slow.ready", Some(0)),
    ] {
        assert_eq!(told.get(name).copied(), value, "{name}: {told:#?}");
    }
}

#[test]
fn names_are_tags_if_they_are_asked_for() {
    let told = told(&["--statsd-tags", "--statsd-prefix", "shop"]);
    let succeeded = "shop.tasks.succeeded|#task:add,queue:celery";
    assert_eq!(told.get(succeeded), Some(&2), "{told:#?}");
    assert!(
        told.contains_key("shop.queues.ready|#queue:slow"),
        "{told:#?}"
    );
}
