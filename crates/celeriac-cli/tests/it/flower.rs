//! Flower shows workers of ours as it shows Celery's, and its buttons do what they say.

use celeriac_testkit::peers::{OwnedChild, unique};
use serde_json::json;

use crate::support::{On, Project};

#[test]
fn flower_shows_and_operates_workers() {
    for on in [On::Redis, On::RabbitMq] {
        let mut project = Project::new("operated", on);
        project.set("FLOWER_UNAUTHENTICATED_API", "true");
        project.set("POOL_RESTARTS", "1");
        let socket = project.folder.path().join("flower");
        let socket = socket.to_str().expect("it is ours").to_owned();
        let flower = project.start_celery(&format!("-A proj flower --unix-socket={socket}"));
        flower.wait_for_line("Connected to ");
        let [fixed, scaled] = ["fixed", "scaled"].map(|name| format!("{}@here", unique(name)));
        let mut workers = [
            project.worker(&format!("-n {fixed} -E -c 2")),
            project.worker(&format!("-n {scaled} -E --autoscale 3,1")),
        ];
        let script = include_str!("flower.py");
        let names = format!("SOCKET, FIXED, SCALED = {socket:?}, {fixed:?}, {scaled:?}\n");
        let queue = "QUEUE = os.environ['QUEUE']\n";
        let answer = project.run(&format!("import os\n{names}{queue}{script}"));
        let done = |text: &str| json!([200, text]);
        let expected = [
            (
                "pages",
                json!([true, true, true, true, true, true, true, true]),
            ),
            ("rows", json!(["FAILURE", "STARTED", "STARTED", "SUCCESS"])),
            ("info", json!(["proj.add", "5", "(2, 3)"])),
            ("queues", json!(true)),
            ("more", done("Growing 'NODE' worker's pool by 1")),
            ("less", done("Shrinking 'NODE' worker's pool by 1")),
            ("scale", done("Autoscaling 'NODE' worker (min=1, max=2)")),
            ("restart", done("Restarting 'NODE' worker's pool")),
            ("add", done("add consumer more")),
            ("cancel", done("no longer consuming from more")),
            ("rate", done("new rate limit set successfully")),
            ("time", done("time limits set successfully")),
            ("revoke", json!([200, 200])),
            (
                "shutdown",
                json!([done("Shutting down!"), done("Shutting down!")]),
            ),
        ];
        let mut wrong = Vec::from(expected);
        wrong.retain(|(case, expected)| answer[case] != *expected);
        assert_eq!(wrong, [], "{on:?}: {answer:#}");
        for worker in &mut workers {
            assert!(worker.wait().success());
        }
        assert_eq!(errors(&flower), [""; 0], "{on:?}");
    }
}

/// What Flower has logged of errors.
fn errors(flower: &OwnedChild) -> Vec<String> {
    let printed = flower.printed();
    let bad = |line: &&str| {
        ["Traceback", "[E ", "ERROR"]
            .iter()
            .any(|word| line.contains(word))
    };
    // What it wants of RabbitMQ is asked of the server's own pages, which is no part of this.
    let lines = printed.lines().filter(bad);
    let lines = lines.filter(|line| !line.contains("RabbitMQ"));
    lines.map(str::to_owned).collect()
}

#[test]
fn flower_in_a_browser_shows_and_operates_workers_on_redis() {
    in_a_browser(On::Redis);
}

#[test]
fn flower_in_a_browser_shows_and_operates_workers_on_rabbitmq() {
    in_a_browser(On::RabbitMq);
}

fn in_a_browser(on: On) {
    let mut project = Project::new("operated", on);
    project.set("FLOWER_UNAUTHENTICATED_API", "true");
    project.set("POOL_RESTARTS", "1");
    let flower = project.start_celery("-A proj flower --address=127.0.0.1 --port=0");
    let [fixed, scaled] = ["fixed", "scaled"].map(|name| format!("{}@here", unique(name)));
    let mut workers = [
        project.worker(&format!("-n {fixed} -E -c 2")),
        project.worker(&format!("-n {scaled} -E --autoscale 3,1")),
    ];
    let line = flower.wait_for_line("Visit me at ");
    let (_, url) = line.trim().split_once("Visit me at ").unwrap();
    flower.wait_until_printed("Connected to ");
    let names = format!("URL, FIXED, SCALED = {url:?}, {fixed:?}, {scaled:?}\n");
    let script = include_str!("browser.py");
    let parts = ["PAGES", "POOLS", "QUEUES", "TASKS", "CALLS", "ENDS"];
    let answer = project.run_in_parts(&format!("{names}{script}"), &parts);
    let done = |text: &str| json!([true, text]);
    let expected = [
        (
            "tabs",
            json!({"pool": true, "broker": true, "queues": true, "tasks": true, "limits": true, "config": true, "system": true}),
        ),
        ("task", json!([true, true, true])),
        ("broker", json!(true)),
        ("grow", done("Growing 'NODE' worker's pool by 2")),
        ("grown", json!([4, true])),
        ("shrink", done("Shrinking 'NODE' worker's pool by 2")),
        ("shrunk", json!(2)),
        (
            "autoscale",
            done("Autoscaling 'NODE' worker (min=1, max=2)"),
        ),
        ("autoscaled", json!(2)),
        ("add", done("add consumer QUEUE-more")),
        ("added", json!([true, 2])),
        ("restart", done("Restarting 'NODE' worker's pool")),
        ("restarted", json!(true)),
        (
            "refresh",
            json!([
                done("Successfully refreshed"),
                done("Refreshed All Workers")
            ]),
        ),
        (
            "limits",
            json!([
                done("new rate limit set successfully"),
                done("time limits set successfully"),
                done("time limits set successfully"),
            ]),
        ),
        ("limited", json!([true, "SoftTimeLimitExceeded"])),
        ("unlimited", done("time limits set successfully")),
        ("revoke", json!(true)),
        ("terminate", json!([true, true])),
        (
            "ended",
            json!(["TaskRevokedError", "TaskRevokedError", "TaskRevokedError"]),
        ),
        ("shown in tasks", json!(true)),
        ("cancel", done("no longer consuming from QUEUE-more")),
        ("cancelled", json!(true)),
        (
            "shutdown",
            json!([done("Shutting down!"), done("Shutting down!")]),
        ),
        ("complaints", json!([])),
        ("elsewhere", json!([])),
    ];
    let mut wrong = Vec::from(expected);
    wrong.retain(|(case, expected)| answer[case] != *expected);
    assert_eq!(wrong, [], "{answer:#}");
    for worker in &mut workers {
        assert!(worker.wait().success());
    }
    assert_eq!(errors(&flower), [""; 0]);
}
