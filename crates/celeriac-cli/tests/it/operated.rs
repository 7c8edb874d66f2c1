//! What an operator does to Celery is done to a drop-in worker with the same tools, and with ours.

use std::time::{Duration, Instant};

use celeriac_testkit::peers::{OPERATOR, OwnedChild, unique};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{On, Project};

#[test]
fn an_operator_is_answered_as_by_celery() {
    for on in [On::Redis, On::RabbitMq] {
        let project = Project::new("operated", on);
        let node = format!("{}@here", unique("w"));
        let mut worker = project.worker(&format!("-n {node} -E -c 2"));
        let script = include_str!("operated.py");
        let mut answer = project.run(&format!("NODE = {node:?}\n{OPERATOR}{script}"));
        let error = answer["unknown"]["error"].take();
        assert!(
            error.as_str().unwrap().contains("no_such_command"),
            "{error}"
        );
        let ok = |text: &str| json!({"ok": text});
        let revoked = json!("TaskRevokedError");
        let expected = [
            ("ping", ok("pong")),
            ("args", json!([[600], [600]])),
            ("safe", json!(["(600,)", "(600,)"])),
            (
                "registered",
                json!([
                    "proj.add",
                    "proj.fail",
                    "proj.nap [rate_limit=10/s]",
                    "proj.pid"
                ]),
            ),
            ("pool", json!(2)),
            ("total", json!({"proj.nap": 2})),
            ("conf", json!(true)),
            ("report", json!(true)),
            ("own", ok(&format!("you at {node}"))),
            (
                "events",
                json!([
                    ok("task events already enabled"),
                    ok("task events already disabled"),
                ]),
            ),
            ("revoke", json!(true)),
            ("terminate", json!(true)),
            ("ends", json!([revoked, revoked, 5, "ValueError"])),
            ("grow", ok("pool will grow")),
            ("terminate all", json!(true)),
            ("all", json!([revoked, revoked, revoked])),
            (
                "courses",
                json!([
                    ["task-received", "task-started", "task-revoked"],
                    ["task-received", "task-revoked"],
                ]),
            ),
            ("revoked", json!([[true, 15, false], [false, null, false]])),
            (
                "said",
                json!([
                    ["task-failed", "ValueError('boom')"],
                    ["task-succeeded", "5"]
                ]),
            ),
            ("programs", json!([true, true, true, true])),
            ("shutdown", json!("SILENT")),
        ];
        let mut wrong = Vec::from(expected);
        wrong.retain(|(case, expected)| answer[case] != *expected);
        assert_eq!(wrong, [], "{on:?}: {answer:#}");
        // It was told to stop, and has.
        assert!(worker.wait().success());
    }
}

/// What our own command says.
fn ask(project: &Project, broker: &str, words: &str) -> (bool, Value, String) {
    let mut command = project.command("--json");
    let output = command.args(["-b", broker]).args(words.split(' ')).output();
    let output = output.unwrap();
    let document = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), document, error)
}

#[test]
fn our_own_command_asks_workers_of_celerys_and_of_ours_alike() {
    for on in [On::Redis, On::RabbitMq] {
        let project = Project::new("operated", on);
        let broker = project.broker();
        let (ours, theirs) = (
            format!("{}@here", unique("ours")),
            format!("{}@here", unique("theirs")),
        );
        let _ours = project.worker(&format!("-n {ours} -c 1"));
        let _theirs = project.celery_worker(&theirs);
        let words = |command: &str| format!("{command} -t 60s -d {ours},{theirs}");
        let (done, answer, error) = ask(&project, &broker, &words("inspect ping"));
        assert!(done, "{error}");
        let pong = json!({"ok": "pong"});
        assert_eq!(answer, json!({&*ours: pong, &*theirs: pong}));
        let (_, answer, _) = ask(&project, &broker, &words("inspect registered"));
        assert_eq!(answer[&ours], answer[&theirs], "{answer:#}");
        let (_, answer, _) = ask(&project, &broker, &words("control rate_limit proj.add 5/m"));
        let limited = json!({"ok": "new rate limit set successfully"});
        assert_eq!(answer, json!({&*ours: limited, &*theirs: limited}));
        let (_, answer, _) = ask(&project, &broker, &words("control revoke some-call"));
        assert_eq!(answer[&ours], answer[&theirs], "{answer:#}");
        let (_, answer, _) = ask(&project, &broker, &words("inspect revoked"));
        assert_eq!(
            answer,
            json!({&*ours: ["some-call"], &*theirs: ["some-call"]})
        );
        let (done, answer, error) = ask(&project, &broker, "inspect ping -d nobody@here");
        assert!(!done && answer == json!({}), "{answer}");
        assert!(error.contains("no nodes replied"), "{error}");
    }
}

/// Asks as [`ask`] does, and says who is alive and how long it took.
fn living(project: &Project, words: &str) -> (Vec<String>, Duration) {
    let begun = Instant::now();
    let (_, answer, error) = ask(project, &project.broker(), words);
    let nodes = answer.as_object().unwrap_or_else(|| panic!("{error}"));
    (nodes.keys().cloned().collect(), begun.elapsed())
}

#[test]
fn who_asks_waits_for_all_that_hear_it_and_for_a_frozen_one_until_the_time_is_over() {
    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_secs(15);
    let project = Project::new("operated", On::Redis);
    let mut nodes = ["ours", "theirs"].map(|kind| format!("{}@here", unique(kind)));
    let mut frozen = ["ours", "theirs"].map(|kind| format!("{}@here", unique(kind)));
    let of_ours = |node: &str| project.worker(&format!("-n {node} -c 1"));
    let _ours = of_ours(&nodes[0]);
    let _theirs = project.celery_worker(&nodes[1]);
    let sleepers = [of_ours(&frozen[0]), project.celery_worker(&frozen[1])];
    nodes.sort();
    frozen.sort();
    let mut all = [&nodes[..], &frozen].concat();
    all.sort();

    let (answered, took) = living(&project, "inspect ping -t 60s");
    assert_eq!(answered, all);
    assert!(took < LONG, "{took:?}");

    for sleeper in &sleepers {
        sleeper.signal(Signal::STOP);
    }
    let (answered, took) = living(&project, "inspect ping -t 15s");
    assert_eq!(answered, nodes);
    assert!(took >= SHORT, "{took:?}");
    let named = format!("status -t 60s -d {}", nodes.join(","));
    let (answered, took) = living(&project, &named);
    assert_eq!(answered, nodes);
    assert!(took < LONG, "{took:?}");
}

#[test]
fn a_second_worker_of_a_name_is_refused() {
    for on in [On::Redis, On::RabbitMq] {
        let project = Project::new("operated", on);
        let node = format!("{}@here", unique("same"));
        let start = |words: &str| project.start(&format!("-A proj worker -n {node} -c 1 {words}"));
        let theirs = project.celery_worker(&node);
        refused(start(""));
        let ours = project.worker(&format!("-n {node} -c 1 --allow-duplicate-name"));
        ours.wait_until_printed("another worker has the same name");
        drop(theirs);
        refused(start(""));
        // It keeps its name for as long as it takes calls.
        let sum = project.run("answer = add.delay(2, 3).get(timeout=60)");
        assert_eq!(sum, 5, "{on:?}");
        project.run(&format!("NODE = {node:?}\n{OPERATOR}nap.delay(600)\nuntil(lambda: told(asks.active()))\nanswer = 0"));
        ours.signal(Signal::TERM);
        ours.wait_until_printed("Warm shutdown");
        let mut successor = project.worker(&format!("-n {node} -c 1"));
        let sum = project.run("answer = add.delay(2, 3).get(timeout=60)");
        assert_eq!(sum, 5, "{on:?}");
        assert_eq!(successor.ended(), None, "{on:?}");
    }
}

/// Waits for the end of a worker, which tells why.
fn refused(mut worker: OwnedChild) {
    assert_eq!(worker.wait().code(), Some(2));
    worker.wait_until_printed("error: another worker answers to the name `same-");
    worker.wait_until_printed("--allow-duplicate-name");
}

#[test]
fn what_a_stopping_worker_had_fetched_is_run_by_another_at_once() {
    for on in [On::Redis, On::RabbitMq] {
        let project = Project::new("operated", on);
        let node = format!("{}@here", unique("w"));
        let stopping = project.worker(&format!("-n {node} -c 1"));
        let calls = "
nap.delay(600)
until(lambda: len(told(asks.active())) == 1)
calls = [add.delay(1, number) for number in range(20)]
until(lambda: len(told(asks.reserved())) > 1)
answer = [call.id for call in calls]
";
        let ids = project.run(&format!("NODE = {node:?}\n{OPERATOR}{calls}"));
        stopping.signal(Signal::TERM);
        stopping.wait_for_line("Warm shutdown");
        let other = project.worker(&format!("-n {} -c 1", unique("w")));
        let results = "answer = [app.AsyncResult(id).get(timeout=50) for id in IDS]";
        let results = project.run(&format!("IDS = {ids}\n{results}"));
        let sums: Vec<u64> = (1..21).collect();
        assert_eq!(results, json!(sums), "{on:?}");
        // The one still waits for what it runs.
        stopping.signal(Signal::CONT);
        drop(other);
    }
}
