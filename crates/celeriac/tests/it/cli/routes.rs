//! Where calls go, and what a worker takes.

use super::Shop;

#[test]
fn routes_say_where_a_task_goes_that_names_no_queue() {
    let shop = Shop::new();
    for (task, arguments, queue) in [
        ("shop.die", &["--route", "shop.*=money"][..], "money"),
        ("shop.die", &["--route", "film.*=money"], "celery"),
        ("shop.die", &["--default-queue", "rest"], "rest"),
        (
            "shop.die",
            &["--route", "s*e=one", "--route", "shop.*=two"],
            "one",
        ),
        ("shop.sleep", &["--route", "shop.*=money"], "slow"),
    ] {
        let mut words = vec!["send", task];
        if task == "shop.sleep" {
            words.extend(["1", "started"]);
        }
        words.extend(arguments);
        assert_eq!(shop.document(&words)["queue"], queue, "{arguments:?}");
    }
    let refused = shop.run(&["send", "shop.die", "--route", "money"]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("PATTERN=QUEUE"), "{}", refused.err);
}

#[test]
fn a_worker_takes_from_every_queue_but_those_excluded() {
    let shop = Shop::new();
    shop.done(&["send", "shop.die"]);
    shop.done(&["send", "shop.nap", "1", "started"]);
    shop.done(&["worker", "-X", "celery", "--stop-when-idle", "50ms"]);
    let queues = shop.document(&["queues"]);
    let ready = |name: &str| {
        let queues = queues.as_array().unwrap();
        let queue = queues.iter().find(|queue| queue["queue"] == name);
        queue.map_or(0, |queue| queue["ready"].as_u64().unwrap())
    };
    assert_eq!((ready("celery"), ready("slow")), (1, 0));
    let nothing = shop.run(&["worker", "-X", "celery,slow"]);
    assert_eq!(nothing.code, 2);
    assert!(nothing.err.contains("no queue is left"), "{}", nothing.err);
}
