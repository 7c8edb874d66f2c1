//! What it prints, and how it exits.

use std::fmt::Write as _;
use std::fs;

use celeriac_testkit::peers::{VirtualHost, amqp_url};
use serde_json::{Value, json};

use super::{Shop, run};

#[test]
fn the_help_is_as_reviewed() {
    let shop = Shop::new();
    for words in [
        &["--help"][..],
        &["worker", "--help"],
        &["send", "--help"],
        &["dead", "--help"],
        &["manager", "--help"],
    ] {
        let name = format!("help_{}", words[0].trim_start_matches('-'));
        let help = shop.done(words);
        // What only some programs have: a command, and a paragraph of flags.
        let paragraphs = help.split("\n\n").filter(|it| !it.starts_with("Alerts:"));
        let help = paragraphs.collect::<Vec<_>>().join("\n\n");
        let lines = help.lines().filter(|line| !line.starts_with("  top "));
        insta::assert_snapshot!(name, lines.collect::<Vec<_>>().join("\n"));
    }
}

#[test]
fn tasks_are_listed_with_what_is_set_about_them() {
    let shop = Shop::new();
    insta::assert_snapshot!("tasks", shop.done(&["tasks"]));
    insta::assert_snapshot!("tasks_json", shop.done(&["tasks", "--json"]));
}

#[test]
fn errors_say_what_caused_them_and_what_to_do() {
    let shop = Shop::new();
    fs::write(
        shop.path("text.db"),
        "this is no database, however long it may be\n",
    )
    .unwrap();
    let mut report = String::new();
    for (code, words) in [
        (2, &["send", "add", "[1,", "2"][..]),
        (2, &["send", "add", "1"]),
        (2, &["send", "add", "1", "2", "-k", "b=2"]),
        (2, &["send", "add", "1", "-k", "b"]),
        (2, &["send", "forget", "it", "--wait"]),
        (3, &["send", "nap", "1"]),
        (3, &["status"]),
        (3, &["--on", "sqlite:text.db", "queues"]),
        (3, &["--on", "postgres://user:secret@host", "queues"]),
        (3, &["--on", "sqlight:x", "queues"]),
        (2, &["--on", "threads", "queues"]),
        (
            2,
            &[
                "--on",
                "sqlite:new.db",
                "worker",
                "-P",
                "threads=2",
                "-c",
                "3",
            ],
        ),
        (3, &["worker", "-P", "prefork"]),
        (
            2,
            &["worker", "-P", "threads", "--max-tasks-per-child", "9"],
        ),
        (2, &["worker", "--memory-cap", "much"]),
        (3, &["place", "check", "process"]),
    ] {
        let ran = shop.run(words);
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (code, ""),
            "{words:?}: {}",
            ran.err
        );
        writeln!(report, "$ app {}\n{}[{code}]\n", words.join(" "), ran.err).unwrap();
    }
    insta::assert_snapshot!("errors", report);
    assert!(
        !shop.path("jobs.db").exists(),
        "a refused command leaves no file"
    );
}

#[test]
fn a_server_that_refuses_is_one_error_with_the_remedy() {
    let shop = Shop::new();
    let server = amqp_url();
    let (server, _) = server
        .split_once("//")
        .map(|(_, rest)| rest.split_at(rest.find('/').unwrap()))
        .unwrap();
    let (_, host) = server.split_once('@').unwrap();
    for (url, refused, remedy) in [
        (
            format!("amqp://guest:wrong@{host}//"),
            "the user `guest`",
            "password in the URL",
        ),
        (
            format!("amqp://{server}/nowhere"),
            "the virtual host `nowhere`",
            "rabbitmqctl add_vhost nowhere",
        ),
    ] {
        let ran = shop.run(&["-b", &url, "status"]);
        assert_eq!(ran.code, 3, "{}", ran.err);
        let (error, help) = ran.err.trim_end().split_once('\n').unwrap();
        assert!(
            error.starts_with("error: broker at ") && error.contains(refused),
            "{}",
            ran.err
        );
        assert!(
            help.starts_with("help: ") && help.contains(remedy),
            "{}",
            ran.err
        );
        assert!(!help.contains('\n'), "{}", ran.err);
    }
}

#[test]
fn results_that_go_to_their_sender_are_not_promised_to_others() {
    let (shop, host) = (Shop::new(), VirtualHost::create());
    let on = host.url();
    let id = shop.done(&["--on", &on, "send", "add", "1", "2"]);
    for words in [&["result", &id][..], &["result", &id, "--wait"]] {
        let ran = shop.run(&[&["--on", &on], words].concat());
        assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{}", ran.err);
        let (error, help) = ran.err.split_once('\n').unwrap();
        assert!(error.contains("to the app that sent the call"), "{error}");
        assert!(help.contains("--results redis://HOST"), "{help}");
    }
    // Whoever waits is the sender, and who stops to wait gives the result up.
    let hasty = [
        "--on",
        &on,
        "send",
        "add",
        "1",
        "2",
        "--wait",
        "--timeout",
        "100ms",
    ];
    let ran = shop.run(&hasty);
    assert_eq!((ran.code, ran.out.as_str()), (6, ""), "{}", ran.err);
    assert!(ran.err.contains("has no result yet"), "{}", ran.err);
    assert!(
        ran.err.contains("help: it is not lost and will run"),
        "{}",
        ran.err
    );
    assert!(!ran.err.contains("ask later with"), "{}", ran.err);

    let worker = shop.worker(&["--on", &on]);
    let patient = ["--on", &on, "send", "add", "20", "22", "--wait"];
    assert_eq!(shop.done(&patient), "42");
    worker.signal("TERM");
    worker.ended();

    // Where they are kept apart from the broker, anybody may ask.
    let results = format!("sqlite:{}", shop.path("results.db").display());
    let kept = ["--on", &on, "--results", &results];
    let id = shop.done(&[&kept[..], &["send", "add", "20", "22"]].concat());
    let worker = shop.worker(&kept);
    let asked = shop.done(&[&kept[..], &["result", &id, "--wait"]].concat());
    assert_eq!(asked, "42");
    worker.signal("TERM");
    worker.ended();
}

#[test]
fn what_celerys_users_write_is_understood() {
    let shop = Shop::new();
    let id = shop.done(&[
        "--broker",
        "sqlite:other.db",
        "send",
        "add",
        "1",
        "2",
        "--loglevel",
        "WARNING",
    ]);
    let words = [
        "-b",
        "sqlite:other.db",
        "--result-backend",
        "sqlite:other.db",
        "result",
        &id,
        "-l",
        "critical",
    ];
    assert_eq!(shop.run(&words).out, "PENDING\n");
}

#[test]
fn without_a_broker_the_option_is_named() {
    let shop = Shop::new();
    let ran = run(shop.command(&["queues"]).env_remove("CELERIAC_ON"));
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--on sqlite:jobs.db"), "{}", ran.err);
}

#[test]
fn queues_are_a_table_or_a_document() {
    let shop = Shop::new();
    shop.done(&["send", "add", "1", "2"]);
    shop.done(&[
        "send",
        "add",
        "1",
        "2",
        "--countdown",
        "1h",
        "--queue",
        "später",
    ]);
    assert_eq!(
        shop.done(&["queues"]),
        "QUEUE   READY  DELAYED  HELD  DEAD\n\
         celery      1        0     0     0\n\
         später      0        1     0     0"
    );
    assert_eq!(
        shop.document(&["queues"])[1],
        json!({"queue": "später", "ready": 0, "delayed": 1, "held": 0, "dead": 0})
    );
}

#[test]
fn completions_are_for_the_program_that_carries_them() {
    let shop = Shop::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = shop.done(&["completions", shell]);
        assert!(
            script.contains("app") && script.contains("queues"),
            "{shell}"
        );
    }
}

#[test]
fn places_are_tried_out() {
    let shop = Shop::new();
    let pool = shop.document(&["place", "check", "threads=3"]);
    assert_eq!((&pool["is"], &pool["slots"]), (&json!("pool"), &json!(3)));
    shop.done(&["send", "add", "1", "2"]);
    let broker = shop.document(&["place", "check", "sqlite:jobs.db"]);
    assert_eq!(
        (&broker["is"], &broker["messages"]),
        (&json!("broker"), &json!(1))
    );
    let missing = shop.run(&["place", "check", "sqlite:other.db"]);
    assert_eq!(missing.code, 3);
    assert!(!shop.path("other.db").exists(), "a check makes no file");
}

#[test]
fn a_file_is_looked_over() {
    let shop = Shop::new();
    shop.done(&["send", "add", "1", "2"]);
    let sound = shop.document(&["db", "check", "jobs.db"]);
    assert_eq!(
        (&sound["ok"], &sound["messages"]),
        (&json!(true), &json!(1))
    );
    fs::write(shop.path("text.db"), "this is no database").unwrap();
    let broken = shop.run(&["db", "check", "text.db"]);
    assert_eq!(broken.code, 3);
    assert!(broken.out.contains("problem"), "{}", broken.out);
}

// What it does

#[test]
fn a_call_is_sent_run_and_its_result_printed() {
    let shop = Shop::new();
    let worker = shop.worker(&[]);
    assert!(
        worker.log().contains("add(a: i64, b: i64) -> i64"),
        "{}",
        worker.log()
    );
    assert_eq!(
        shop.done(&["send", "add", "40", "-k", "b=2", "--wait"]),
        "42"
    );
    assert_eq!(shop.done(&["send", "forget", "a bare word"]).len(), 36);

    let id = shop.done(&["send", "add", "1", "2"]);
    assert_eq!(shop.done(&["result", &id, "--wait"]), "3");
    let document = shop.document(&["result", &id]);
    assert_eq!(document["state"], "SUCCESS");
    assert_eq!(
        (&document["task"], &document["result"]),
        (&json!("add"), &json!(3))
    );
    worker.signal("TERM");
    worker.ended();
}

#[test]
fn a_failed_task_is_exit_code_5_and_its_causes_are_printed() {
    let shop = Shop::new();
    let worker = shop.worker(&[]);
    let ran = shop.run(&["send", "fail", "no ink", "--wait"]);
    assert_eq!((ran.code, ran.err.as_str()), (5, "error: no ink\n"));
    let ran = shop.run(&["send", "add", "x", "1", "--wait", "--json"]);
    assert_eq!(ran.code, 5);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document["error"]["kind"], "bad_arguments");
    worker.signal("TERM");
    worker.ended();
}

#[test]
fn a_result_that_is_not_there_is_exit_code_6() {
    let shop = Shop::new();
    let ran = shop.run(&["send", "add", "1", "2", "--wait", "--timeout", "50ms"]);
    assert_eq!(ran.code, 6);
    assert!(
        ran.err.contains("it is not lost; ask later with `result "),
        "{}",
        ran.err
    );
    let ran = shop.run(&["result", "nobody"]);
    assert_eq!((ran.code, ran.out.as_str()), (6, "PENDING\n"));
    let ran = shop.run(&["result", "nobody", "--wait", "--timeout", "50ms", "--json"]);
    assert_eq!(ran.code, 6);
    assert_eq!(
        serde_json::from_str::<Value>(&ran.out).unwrap(),
        json!({"id": "nobody", "state": "PENDING"})
    );
}

#[test]
fn workers_are_listed_while_they_live() {
    let shop = Shop::new();
    let worker = shop.worker(&["-n", "w1@%%"]);
    let listed = shop.document(&["status"]);
    assert_eq!(listed[0]["name"], "w1@%");
    assert_eq!(listed[0]["queues"], json!(["celery", "slow"]));
    assert!(shop.done(&["status"]).starts_with("WORKER"));
    worker.signal("TERM");
    worker.ended();
    assert_eq!(shop.done(&["status"]), "no worker is running");
}

#[test]
fn dead_messages_are_listed_shown_retried_and_dropped() {
    let shop = Shop::new();
    for _ in 0..2 {
        shop.done(&["send", "nobody.knows", "7", "--unchecked"]);
    }
    let worker = shop.worker(&["--stop-when-idle", "100ms"]);
    worker.ended();

    let dead = shop.document(&["dead", "list"]);
    assert_eq!(dead.as_array().unwrap().len(), 2);
    assert_eq!(dead[0]["task"], "nobody.knows");
    assert_eq!(dead[0]["reason"], "unregistered");
    let number = dead[0]["number"].to_string();
    let shown = shop.document(&["dead", "show", &number]);
    assert_eq!(shown["body"][0], json!([7]));
    assert!(
        shop.done(&["dead", "show", &number])
            .contains("reason      unregistered")
    );
    assert!(shop.done(&["dead", "list"]).contains("nobody.knows"));

    assert_eq!(shop.done(&["dead", "retry", &number]), "retried 1");
    assert_eq!(shop.counts("celery"), (1, 0));
    let ran = shop.run(&["dead", "retry", &number]);
    assert_eq!(ran.code, 1, "it is dead no more");
    assert_eq!(
        shop.run(&["dead", "drop", "--all"]).code,
        2,
        "nobody is there to ask"
    );
    assert_eq!(shop.done(&["dead", "drop", "--all", "--yes"]), "dropped 1");
    assert_eq!(shop.done(&["dead", "list"]), "no message is dead");
    assert_eq!(shop.run(&["dead", "show", "99"]).code, 2);
}

#[test]
fn a_purge_asks_first_and_drops_what_waits() {
    let shop = Shop::new();
    shop.done(&["send", "add", "1", "2"]);
    shop.done(&["send", "add", "1", "2", "--countdown", "1h"]);
    assert_eq!(shop.run(&["purge", "celery"]).code, 2);
    assert_eq!(shop.counts("celery"), (2, 0));
    assert_eq!(
        shop.done(&["purge", "celery", "--yes"]),
        "dropped 2 messages of queue `celery`"
    );
    assert_eq!(shop.counts("celery"), (0, 0));
    let ran = shop.run(&["purge", "typo", "--yes"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("there is no queue `typo`"), "{}", ran.err);
}

#[test]
fn a_worker_that_may_stop_when_idle_leaves_nothing_behind() {
    let shop = Shop::new();
    for n in 0..20 {
        shop.done(&["send", "add", &n.to_string(), "1"]);
    }
    shop.done(&["send", "fail", "once more", "--countdown", "300ms"]);
    let log = shop
        .worker(&["--stop-when-idle", "100ms", "--log-format", "json"])
        .ended();
    assert_eq!(
        shop.counts("celery"),
        (0, 0),
        "the delayed call and its retry ran too"
    );
    for line in log.lines() {
        serde_json::from_str::<Value>(line).expect("each line of the log is an object");
    }
    assert!(log.contains("succeeded: 20, failed: 1"), "{log}");
}
