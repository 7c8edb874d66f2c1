//! How a worker stops.

use std::time::{Duration, Instant};

use super::{Shop, Worker, until, until_exists};

/// A worker that runs one call of `task` for `ms`, with three more behind it.
pub(super) fn busy(shop: &Shop, task: &str, ms: u64, words: &[&str]) -> (Worker, String) {
    let first = shop.done(&["send", task, &ms.to_string(), "first"]);
    let worker = shop.worker(words);
    until_exists(&shop.path("first"));
    for _ in 0..3 {
        shop.done(&["send", task, &ms.to_string(), "later"]);
    }
    (worker, first)
}

#[test]
fn on_sigterm_it_gives_back_at_once_what_has_not_started_and_finishes_the_rest() {
    let shop = Shop::new();
    let (worker, first) = busy(&shop, "shop.nap", 3000, &[]);
    worker.signal("TERM");
    let start = Instant::now();
    until("the rest is given back", || {
        (shop.counts("slow") == (3, 1)).then_some(())
    });
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    // The same signal again changes nothing.
    worker.signal("TERM");
    worker.ended();
    assert_eq!(shop.done(&["result", &first]), "3000");
    assert_eq!(shop.counts("slow"), (3, 0));
    assert!(!shop.path("later").exists());
    assert_eq!(shop.done(&["status"]), "no worker is running");
}

#[test]
fn what_outlasts_the_grace_is_given_back() {
    let shop = Shop::new();
    let (worker, first) = busy(&shop, "shop.sleep", 60_000, &["--grace", "300ms"]);
    worker.signal("TERM");
    worker.ended_within(Duration::from_secs(5));
    assert_eq!(shop.counts("slow"), (4, 0));
    assert_eq!(shop.run(&["result", &first]).out, "PENDING\n");
}

#[test]
fn a_second_sigint_tells_tasks_to_stop() {
    let shop = Shop::new();
    let (mut worker, first) = busy(&shop, "shop.nap", 60_000, &[]);
    worker.signal("INT");
    worker.logged("mode=Warm");
    worker.signal("INT");
    worker.ended_within(Duration::from_secs(5));
    assert_eq!(shop.counts("slow"), (4, 0));
    assert_eq!(shop.run(&["result", &first]).out, "PENDING\n");
}

#[test]
fn a_third_sigint_does_not_wait_for_deaf_tasks() {
    let shop = Shop::new();
    let (mut worker, _) = busy(&shop, "shop.sleep", 60_000, &[]);
    for mode in ["Warm", "Soft", "Cold"] {
        worker.signal("INT");
        worker.logged(&format!("mode={mode}"));
    }
    worker.ended_within(Duration::from_secs(5));
    assert_eq!(shop.counts("slow"), (4, 0));
}

#[test]
fn on_sigquit_everything_is_given_back_now() {
    let shop = Shop::new();
    let (worker, first) = busy(&shop, "shop.sleep", 60_000, &[]);
    worker.signal("QUIT");
    worker.ended_within(Duration::from_secs(3));
    assert_eq!(shop.counts("slow"), (4, 0));
    assert_eq!(shop.run(&["result", &first]).out, "PENDING\n");
}

#[test]
fn what_a_killed_worker_held_is_run_by_the_next() {
    let shop = Shop::new();
    let (worker, first) = busy(&shop, "shop.nap", 200, &[]);
    drop(worker);
    let next = shop.worker(&["--stop-when-idle", "100ms"]);
    next.ended_within(Duration::from_secs(20));
    assert_eq!(shop.done(&["result", &first]), "200");
    assert_eq!(shop.counts("slow"), (0, 0));
}
