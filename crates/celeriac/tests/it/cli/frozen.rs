//! A worker that stands still for longer than its lease, and goes on as if nothing had been.

use std::fs;

use celeriac_testkit::peers::{VirtualHost, http_get, redis_url, unique};

use super::{Shop, Worker, until};

/// Whose work it is now, and what the one that stood still is told of it.
fn neither_acknowledges_nor_stores_over_the_new_holders_work(place: &[&str]) {
    let shop = Shop::new();
    let call = shop.done(&[&["send", "shop.sign", "2000", "holder"], place].concat());
    let worker = |words: &[&str]| shop.worker(&[&["--http", "127.0.0.1:0"], place, words].concat());
    let mut frozen = worker(&["-n", "frozen"]);
    let holder = || fs::read_to_string(shop.path("holder")).unwrap_or_default();
    let is_with = |worker: &Worker| (holder() == worker.child.id().to_string()).then_some(());
    until("the first has it", || is_with(&frozen));
    frozen.signal("STOP");
    fs::rename(&frozen.log, shop.path("frozen.log")).unwrap();
    frozen.log = shop.path("frozen.log");
    let next = worker(&["-n", "next"]);
    until("the next has it", || is_with(&next));
    let next_pid = next.child.id().to_string();
    let result = || shop.done(&[&["result", &call, "--wait"], place].concat());
    assert_eq!(result(), next_pid);

    frozen.signal("CONT");
    let address = address(&frozen);
    let counted = |name: &str| {
        let (_, page) = http_get(&address, "/metrics");
        let mut lines = page.lines();
        let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.map_or(0, |value| value.parse::<u64>().unwrap())
    };
    until("it learns that it lost it", || {
        (counted("celeriac_leases_lost_total") == 1).then_some(())
    });
    // It still works, and what the next one did stands.
    assert_eq!(result(), next_pid);
    until("it is ready", || {
        (http_get(&address, "/readyz").0 == 200).then_some(())
    });
    next.signal("TERM");
    next.ended();
    let sum = shop.done(&[&["send", "add", "1", "2", "--wait"], place].concat());
    assert_eq!(sum, "3");
    assert_eq!(result(), next_pid);
}

fn address(worker: &Worker) -> String {
    let log = worker.log();
    let (_, rest) = log.split_once("health is served at http://").unwrap();
    rest.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn on_redis() {
    let url = format!("{}?global_keyprefix={}", redis_url(), unique("frozen"));
    neither_acknowledges_nor_stores_over_the_new_holders_work(&["-b", &url]);
}

#[test]
fn on_rabbitmq_with_results_in_redis() {
    let host = VirtualHost::create();
    let results = format!("{}?global_keyprefix={}", redis_url(), unique("frozen"));
    let place = ["-b", &host.url(), "--results", &results];
    neither_acknowledges_nor_stores_over_the_new_holders_work(&place);
}
