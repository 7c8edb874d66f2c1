//! Workers with child processes.

use std::time::Duration;

use serde_json::json;

use super::Shop;
use super::stopping::busy;

#[test]
fn children_run_calls_and_are_replaced_after_their_share() {
    let shop = Shop::new();
    for n in 0..20 {
        shop.done(&["send", "add", &n.to_string(), "1"]);
    }
    let id = shop.done(&["send", "add", "40", "2"]);
    let words = [
        "-P",
        "processes=2",
        "--max-tasks-per-child",
        "3",
        "--stop-when-idle",
        "100ms",
    ];
    let log = shop.worker(&words).ended();
    assert!(log.contains("succeeded: 21, failed: 0"), "{log}");
    assert_eq!(shop.done(&["result", &id]), "42");
    let pool = shop.document(&["place", "check", "processes=2"]);
    assert_eq!(pool["slots"], json!(2));
}

#[test]
fn on_sigquit_children_are_killed_and_their_calls_given_back() {
    let shop = Shop::new();
    let (worker, first) = busy(&shop, "shop.sleep", 60_000, &["-P", "processes=1"]);
    worker.signal("QUIT");
    worker.ended_within(Duration::from_secs(3));
    assert_eq!(shop.counts("slow"), (4, 0));
    assert_eq!(shop.run(&["result", &first]).out, "PENDING\n");
}

#[test]
fn on_sigterm_children_finish_what_they_run() {
    let shop = Shop::new();
    let (worker, first) = busy(&shop, "shop.nap", 1500, &["-P", "processes=1"]);
    worker.signal("TERM");
    worker.ended();
    assert_eq!(shop.done(&["result", &first]), "1500");
    assert_eq!(shop.counts("slow"), (3, 0));
    assert!(!shop.path("later").exists());
}

#[test]
fn a_call_that_kills_its_child_each_time_ends_among_the_dead_and_harms_no_other() {
    let shop = Shop::new();
    let poison = shop.done(&["send", "shop.die"]);
    let other = shop.done(&["send", "add", "40", "2"]);
    let words = [
        "-P",
        "processes=1",
        "--delivery-limit",
        "3",
        "--stop-when-idle",
        "100ms",
    ];
    shop.worker(&words).ended();
    assert_eq!(shop.done(&["result", &other]), "42");
    let ran = shop.run(&["result", &poison]);
    assert_eq!(ran.code, 5);
    assert!(ran.err.contains("SIGABRT"), "{}", ran.err);
    let dead = shop.document(&["dead", "list"]);
    assert_eq!(dead[0]["reason"], "delivery_limit");
    assert_eq!(dead[0]["deliveries"], 3);
}
