//! The command line, as the example `app` carries it: what it prints, how it exits, how it stops.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than anything here takes unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with a queue file, and the program that works on it.
struct Shop(TempDir);

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Shop {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(app());
        command
            .args(words)
            .current_dir(self.0.path())
            .env("CELERIAC_ON", "sqlite:jobs.db")
            .env_remove("COLUMNS")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Ran {
        run(&mut self.command(words))
    }

    /// Runs a command that must succeed, and returns what it printed.
    fn done(&self, words: &[&str]) -> String {
        let ran = self.run(words);
        assert_eq!(ran.code, 0, "{words:?}: {}", ran.err);
        ran.out.trim_end().to_owned()
    }

    /// Runs a command that must succeed, and returns its JSON document.
    fn document(&self, words: &[&str]) -> Value {
        let mut words = words.to_vec();
        words.push("--json");
        serde_json::from_str(&self.done(&words)).unwrap()
    }

    /// How many calls of `queue` are ready and held.
    fn counts(&self, queue: &str) -> (u64, u64) {
        let queues = self.document(&["queues"]);
        let queue = queues
            .as_array()
            .unwrap()
            .iter()
            .find(|info| info["queue"] == queue);
        let count = |name: &str| queue.map_or(0, |info| info[name].as_u64().unwrap());
        (count("ready") + count("delayed"), count("held"))
    }

    /// Starts a worker on one thread and waits until it is ready.
    fn worker(&self, words: &[&str]) -> Worker {
        let log = self.path("worker.log");
        let mut command = self.command(&["worker", "-Q", "celery,slow"]);
        if !words.contains(&"-P") {
            command.args(["-P", "threads=1"]);
        }
        let child = command
            .args(words)
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut worker = Worker { child, log };
        worker.logged("worker is ready");
        worker
    }
}

struct Worker {
    child: Child,
    log: PathBuf,
}

impl Worker {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it has logged `words`.
    fn logged(&mut self, words: &str) {
        until(words, || {
            let found = self.log().contains(words);
            let ended = self.child.try_wait().unwrap();
            assert!(found || ended.is_none(), "it ended: {}", self.log());
            found.then_some(())
        });
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for its end: exit code, how long it took from now, and its log.
    fn ended(mut self) -> (Option<i32>, Duration, String) {
        let start = Instant::now();
        let status = until("the worker ends", || self.child.try_wait().unwrap());
        (status.code(), start.elapsed(), self.log())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The example, which `cargo test` builds beside the tests.
fn app() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let app = tests
        .parent()
        .and_then(Path::parent)
        .unwrap()
        .join("examples/app");
    assert!(app.exists(), "build it first: cargo build --example app");
    app
}

fn run(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

fn until<R>(what: &str, mut ready: impl FnMut() -> Option<R>) -> R {
    let start = Instant::now();
    loop {
        if let Some(result) = ready() {
            return result;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn until_exists(path: &Path) {
    until(&format!("{} exists", path.display()), || {
        path.exists().then_some(())
    });
}

// What it prints

#[test]
fn the_help_is_as_reviewed() {
    let shop = Shop::new();
    for words in [
        &["--help"][..],
        &["worker", "--help"],
        &["send", "--help"],
        &["dead", "--help"],
    ] {
        let name = format!("help_{}", words[0].trim_start_matches('-'));
        insta::assert_snapshot!(name, shop.done(words));
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
    assert_eq!(worker.ended().0, Some(0));
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
    assert_eq!(worker.ended().0, Some(0));

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
    let (code, _, log) = shop
        .worker(&["--stop-when-idle", "100ms", "--log-format", "json"])
        .ended();
    assert_eq!(code, Some(0));
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

// How it stops

/// A worker that runs one call of `task` for `ms`, with three more behind it.
fn busy(shop: &Shop, task: &str, ms: u64, words: &[&str]) -> (Worker, String) {
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
    let (code, _, log) = worker.ended();
    assert_eq!(code, Some(0), "{log}");
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
    let (code, took, log) = worker.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(5), "{took:?}");
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
    let (code, took, log) = worker.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(5), "{took:?}");
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
    let (code, took, log) = worker.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(shop.counts("slow"), (4, 0));
}

#[test]
fn on_sigquit_everything_is_given_back_now() {
    let shop = Shop::new();
    let (worker, first) = busy(&shop, "shop.sleep", 60_000, &[]);
    worker.signal("QUIT");
    let (code, took, log) = worker.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(shop.counts("slow"), (4, 0));
    assert_eq!(shop.run(&["result", &first]).out, "PENDING\n");
}

#[test]
fn what_a_killed_worker_held_is_run_by_the_next() {
    let shop = Shop::new();
    let (worker, first) = busy(&shop, "shop.nap", 200, &[]);
    worker.signal("KILL");
    assert_eq!(worker.ended().0, None);
    let next = shop.worker(&["--stop-when-idle", "100ms"]);
    let (code, took, log) = next.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(shop.done(&["result", &first]), "200");
    assert_eq!(shop.counts("slow"), (0, 0));
}

// In child processes

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
    let (code, _, log) = shop.worker(&words).ended();
    assert_eq!(code, Some(0), "{log}");
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
    let (code, took, log) = worker.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(shop.counts("slow"), (4, 0));
    assert_eq!(shop.run(&["result", &first]).out, "PENDING\n");
}

#[test]
fn on_sigterm_children_finish_what_they_run() {
    let shop = Shop::new();
    let (worker, first) = busy(&shop, "shop.nap", 1500, &["-P", "processes=1"]);
    worker.signal("TERM");
    let (code, _, log) = worker.ended();
    assert_eq!(code, Some(0), "{log}");
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
    let (code, _, log) = shop.worker(&words).ended();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(shop.done(&["result", &other]), "42");
    let ran = shop.run(&["result", &poison]);
    assert_eq!(ran.code, 5);
    assert!(ran.err.contains("SIGABRT"), "{}", ran.err);
    let dead = shop.document(&["dead", "list"]);
    assert_eq!(dead[0]["reason"], "delivery_limit");
    assert_eq!(dead[0]["deliveries"], 3);
}

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
