//! How a worker starts, and what it says when it cannot.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::{On, Project, celeriac, wait_until};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_banner_and_the_lines_of_a_start_are_celerys() {
    let project = Project::new("plain", On::Redis);
    let worker = project.worker("-c 1 -n w1@box -Q extra");
    let printed = worker.printed();
    for line in [
        " -------------- w1@box v5.7.0 (celeriac ",
        "- *** --- * --- .> concurrency: 1 (prefork)",
        "                .> extra            exchange=extra(direct) key=extra",
        "  . proj.add",
        ": INFO/MainProcess] Connected to redis://",
        ": INFO/MainProcess] w1@box ready.",
    ] {
        assert!(printed.contains(line), "no `{line}` in {printed}");
    }
    assert!(!printed.contains("  . celery.chord"), "{printed}");
}

#[test]
fn an_app_that_cannot_be_imported_is_told_of_with_its_traceback() {
    let project = Project::new("plain", On::Redis);
    fs::write(
        project.folder.path().join("broken.py"),
        "import nothing_of_this_name\n",
    )
    .unwrap();
    fs::write(project.folder.path().join("empty.py"), "x = 1\n").unwrap();
    for (app, texts) in [
        ("broken", ["nothing_of_this_name", "Traceback"]),
        ("missing", ["missing", "help: "]),
        ("empty", ["empty", "help: "]),
    ] {
        let output = project
            .command(&format!("-A {app} worker"))
            .output()
            .unwrap();
        let error = text(&output.stderr);
        for text in texts {
            assert!(error.contains(text), "no `{text}` in {error}");
        }
        assert_eq!(output.status.code(), Some(2), "{error}");
    }
}

#[test]
fn an_interpreter_that_is_not_there_is_named() {
    let project = Project::new("plain", On::Redis);
    let command = &mut project.command("-A proj worker --python /nowhere/python");
    let output = command.output().unwrap();
    let error = text(&output.stderr);
    assert!(error.contains("/nowhere/python"), "{error}");
    assert_eq!(output.status.code(), Some(2), "{error}");
}

#[test]
fn root_is_refused_with_pickle() {
    let project = Project::new("plain", On::Redis);
    let mut command = project.command("-A proj worker");
    if !rustix::process::geteuid().is_root() {
        // Root is then who is root in a namespace of its own.
        command = Command::new("unshare");
        command.arg("--map-root-user").arg(celeriac());
        command.args(["-A", "proj", "worker"]);
        project.configure(&mut command);
    }
    let output = command.env_remove("C_FORCE_ROOT").output().unwrap();
    let error = text(&output.stderr);
    assert!(error.contains("C_FORCE_ROOT"), "{error}");
    assert_eq!(output.status.code(), Some(1), "{error}");
}

#[test]
fn other_commands_are_the_apps_own_celery() {
    let project = Project::new("plain", On::Redis);
    let output = project.command("-A proj report").output().unwrap();
    assert!(text(&output.stdout).contains("software -> celery:5.7.0"));
    let output = project
        .command("call proj.add -A proj -a [1,2]")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let _worker = project.worker("-c 1");
    let id = text(&output.stdout);
    let answer = project.run(&format!(
        "answer = app.AsyncResult({:?}).get(timeout=30)",
        id.trim()
    ));
    assert_eq!(answer, json!(3));
}

#[test]
fn a_worker_in_the_background_has_its_files_and_ends_by_its_pid() {
    let project = Project::new("plain", On::Redis);
    let words = "-A proj worker -D -l INFO -c 1 -n w1@%h --pidfile %n.pid -f %n.log";
    let output = project.command(words).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let pid = fs::read_to_string(project.folder.path().join("w1.pid")).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    let answer = project.run("answer = add.delay(1, 2).get(timeout=30)");
    assert_eq!(answer, json!(3));
    // Another of the same name is refused while it runs.
    let second = project
        .command("-A proj worker -n w1@%h --pidfile %n.pid")
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(73));
    assert!(text(&second.stderr).contains("Seems we're already running?"));
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    wait_until("it does not end", || {
        !project.folder.path().join("w1.pid").exists()
    });
    let log = fs::read_to_string(project.folder.path().join("w1.log")).unwrap();
    assert!(
        log.contains("INFO/MainProcess] w1@") && log.contains(" ready."),
        "{log}"
    );
    assert!(log.contains("ForkPoolWorker-"), "{log}");
}

#[test]
fn an_error_at_the_start_in_the_background_reaches_the_terminal() {
    let project = Project::new("plain", On::Redis);
    let output = project.command("-A missing worker -D").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("missing"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn an_error_in_the_background_after_the_import_reaches_the_terminal_too() {
    let project = Project::new("plain", On::Redis);
    let app = "from proj import *\n\n\n@signals.worker_process_init.connect\ndef die(**_):\n    os._exit(5)\n";
    fs::write(project.folder.path().join("stillborn.py"), app).unwrap();
    let words = "-A stillborn worker -D -c 1 -f w.log";
    let output = project.command(words).output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("exitcode 5"), "{error}");
    let log = fs::read_to_string(project.folder.path().join("w.log")).unwrap();
    assert!(
        log.contains("CRITICAL/MainProcess]") && log.contains("exitcode 5"),
        "{log}"
    );
}

#[test]
fn a_worker_in_the_background_waits_for_its_broker_alone() {
    let mut project = Project::new("plain", On::Redis);
    project.set("BROKER", "redis://127.0.0.1:1/0");
    let words = "-A proj worker -D -c 1 --pidfile w.pid";
    let output = project.command(words).output().unwrap();
    let error = text(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert!(error.contains("Cannot connect to redis://"), "{error}");
    let pid = fs::read_to_string(project.folder.path().join("w.pid")).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    wait_until("it does not end", || {
        !project.folder.path().join("w.pid").exists()
    });
}

#[test]
fn messages_are_purged_before_the_start() {
    let project = Project::new("plain", On::Redis);
    project.run("[nap.delay(0) for _ in range(3)]\nanswer = 0");
    let worker = project.worker("-c 1 --purge");
    assert!(
        worker
            .printed()
            .contains("purge: Erased 3 messages from the queue.")
    );
    assert_eq!(
        project.run("answer = add.delay(1, 2).get(timeout=30)"),
        json!(3)
    );
    assert!(project.notes("naps").is_empty());
}

#[test]
fn beat_runs_beside_the_worker_and_ends_with_it() {
    let project = Project::new("plain", On::Redis);
    let app = project.folder.path().join("proj.py");
    let source = fs::read_to_string(&app).unwrap();
    let plan = "app.conf.beat_schedule = {'x': {'task': 'proj.silent', 'schedule': 0.2}}\n";
    fs::write(&app, format!("{source}\n{plan}")).unwrap();
    let mut worker = project.worker("-c 1 -B -s plan.db");
    project.wait_for_note("silent", "ran");
    let beat = processes_in(project.folder.path(), "beat");
    assert_eq!(beat.len(), 1, "{beat:?}");
    worker.signal(rustix::process::Signal::TERM);
    assert!(worker.wait().success());
    wait_until("beat outlives its worker", || {
        processes_in(project.folder.path(), "beat").is_empty()
    });
}

/// The processes that work in `folder` and have `word` in their command line.
fn processes_in(folder: &Path, word: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc")
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let found = processes.filter(|process| {
        let works_there = fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == folder);
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        works_there && words.any(|one| one == word.as_bytes())
    });
    found.map(|process| process.display().to_string()).collect()
}
