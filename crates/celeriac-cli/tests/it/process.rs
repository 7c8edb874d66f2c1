//! The worker as a process: its files, its group, its memory, its size and its end.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{On, Project, lives, wait_until};

/// A user, and a group, that nobody is.
const NOBODY: u32 = 65_534;

#[test]
fn the_apps_settings_name_files_formats_and_a_mask() {
    let project = Project::new("plain", On::Redis);
    let app = "from proj import *\n\n\
               app.conf.update(worker_logfile='%n.log', worker_pidfile='%n.pid', worker_umask='077',\n    \
               worker_log_format='<%(asctime)s %(levelname)s> %(message)s', worker_log_datefmt='%H')\n";
    fs::write(project.folder.path().join("daemonic.py"), app).unwrap();
    let mut worker = project.start("-A daemonic worker -l INFO -c 1 -n w1@box");
    let log = project.folder.path().join("w1.log");
    let text = || fs::read_to_string(&log).unwrap_or_default();
    wait_until("it is not ready", || text().contains("w1@box ready."));
    let answer = project.run("answer = nap.delay(0).get(timeout=30)");
    assert_eq!(answer, json!(0));
    for line in text().lines().filter(|line| line.starts_with('<')) {
        let (time, _) = line[1..].split_once(' ').unwrap();
        assert!(time.len() == 2 && time.parse::<u8>().is_ok(), "{line}");
    }
    let pid = fs::read_to_string(project.folder.path().join("w1.pid")).unwrap();
    assert_eq!(pid.trim(), worker.id().to_string());
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = project.folder.path().join(name);
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    // What a child has made, and what the worker has.
    assert_eq!((mode("naps"), mode("w1.log")), (0o600, 0o600));
    worker.signal(Signal::TERM);
    assert!(worker.wait().success());
    assert!(!project.folder.path().join("w1.pid").exists());
}

#[test]
fn another_user_in_the_apps_settings_is_refused_with_the_remedy() {
    let project = Project::new("plain", On::Redis);
    let app = "from proj import *\n\napp.conf.worker_uid = 'nobody'\n";
    fs::write(project.folder.path().join("daemonic.py"), app).unwrap();
    let output = project.command("-A daemonic worker").output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("say it with --uid"), "{error}");
    assert_eq!(output.status.code(), Some(2), "{error}");
}

#[test]
fn a_worker_becomes_the_group_that_it_is_told() {
    // Root may become any; others are their own already.
    let group = match rustix::process::getegid().as_raw() {
        0 => 1,
        own => own,
    };
    let project = Project::new("plain", On::Redis);
    let _worker = project.worker(&format!("-c 1 --gid {group}"));
    let answer = project.run("answer = group_id.delay().get(timeout=30)");
    assert_eq!(answer, json!(group));
}

#[test]
fn a_worker_becomes_the_user_that_it_is_told() {
    if !rustix::process::geteuid().is_root() {
        // Nobody else may become another.
        eprintln!("not tested: only root becomes another user");
        return;
    }
    let mut project = Project::new("plain", On::Redis);
    let packages = project.run("import celery, sys\nanswer = [sys.executable, os.path.dirname(os.path.dirname(celery.__file__))]");
    let [own, packages] = [0, 1].map(|part| packages[part].as_str().unwrap().to_owned());
    std::os::unix::fs::chown(project.folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    // That of the tests may be where only root gets, and the system's so old that a client of Redis wants
    // this of a package.
    let folder = project.folder.path();
    fs::write(
        folder.join("async_timeout.py"),
        "from asyncio import timeout\n",
    )
    .unwrap();
    let packages = format!("{}:{packages}", folder.display());
    let can_run = |python: &&str| {
        let mut command = Command::new(python);
        let command = command
            .args(["-c", "import celery, redis"])
            .env("PYTHONPATH", &packages);
        let status = command
            .uid(NOBODY)
            .gid(NOBODY)
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    let Some(python) = [own.as_str(), "/usr/bin/python3"].into_iter().find(can_run) else {
        eprintln!("not tested: another user can run no Python that has Celery");
        return;
    };
    project.set("CELERIAC_PYTHON", python);
    project.set("PYTHONPATH", &packages);
    let folder = project.folder.path();
    let app = "from proj import *\n\n\n@app.task\ndef who():\n    return [os.getuid(), os.geteuid(), os.getgid(), os.getgroups()]\n";
    fs::write(folder.join("users.py"), app).unwrap();
    // Who is not root any more need not be forced.
    project.set("C_FORCE_ROOT", "");
    let worker = project.start(&format!(
        "-A users worker -l INFO -c 1 --uid {NOBODY} --gid {NOBODY} --pidfile w.pid"
    ));
    worker.wait_for_line(" ready.");
    let answer = project.run_plain("from users import *\nanswer = who.delay().get(timeout=60)");
    assert_eq!(answer, json!([NOBODY, NOBODY, NOBODY, [NOBODY]]));
    let owner = fs::metadata(project.folder.path().join("w.pid"))
        .unwrap()
        .uid();
    assert_eq!(owner, NOBODY);
}

#[test]
fn there_are_as_many_children_as_there_is_work_within_bounds() {
    let mut project = Project::new("plain", On::Redis);
    project.set("AUTOSCALE_KEEPALIVE", "0.2");
    let worker = project.worker("--autoscale 3,1");
    // The service, which is always there, and those that have said that they begin.
    let children = || {
        project
            .notes("signals")
            .iter()
            .filter(|line| *line == "worker_process_init")
            .count()
    };
    assert_eq!(children(), 1);
    let answer = project.run(
        "
calls = [meets.delay(3) for _ in range(3)]
answer = len({call.get(timeout=60) for call in calls})
",
    );
    assert_eq!(answer, json!(3));
    assert_eq!(children(), 3);
    let pids: Vec<_> = project.notes("meeting");
    let living = || {
        pids.iter()
            .filter(|pid| lives(pid.parse().unwrap()))
            .count()
    };
    wait_until("children stay that nobody needs", || living() == 1);
    // And there are more again when there is more to do.
    fs::remove_file(project.folder.path().join("meeting")).unwrap();
    let again = "calls = [meets.delay(3) for _ in range(3)]\nanswer = len({call.get(timeout=60) for call in calls})";
    assert_eq!(project.run(again), json!(3));
    assert_eq!(children(), 5);
    drop(worker);
}

#[test]
fn a_child_that_holds_too_much_is_replaced() {
    let project = Project::new("plain", On::Redis);
    let _worker = project.worker("-c 1 --max-memory-per-child 250000");
    let answer = project.run(
        "
small = [hoards.delay(1).get(timeout=60) for _ in range(3)]
large = hoards.delay(300).get(timeout=60)
answer = [len(set(small)), small[0] == large, hoards.delay(1).get(timeout=60) == large]
",
    );
    assert_eq!(answer, json!([1, true, false]));
}

#[test]
fn what_runs_longer_than_the_grace_is_given_back() {
    let project = Project::new("plain", On::Redis);
    for flag in ["--grace 1s", ""] {
        let mut worker = project.worker(&format!("-c 1 {flag}"));
        if flag.is_empty() {
            // It came back when the first one had ended.
            project.wait_for_note("long", "ended");
        } else {
            project.run("long.delay()\nanswer = 0");
            project.wait_for_note("long", "began");
        }
        worker.signal(Signal::TERM);
        assert!(worker.wait().success());
    }
    assert_eq!(project.notes("long"), ["began", "began", "ended"]);
}

#[test]
fn a_cold_shutdown_waits_as_long_as_the_app_says() {
    let project = Project::new("plain", On::Redis);
    let app = "from proj import *\n\napp.conf.worker_soft_shutdown_timeout = 60\n";
    fs::write(project.folder.path().join("softly.py"), app).unwrap();
    let mut worker = project.start("-A softly worker -l INFO -c 1");
    worker.wait_for_line(" ready.");
    project.run("nap.delay(1.5)\nanswer = 0");
    project.wait_for_note("naps", "began");
    worker.signal(Signal::QUIT);
    worker.wait_for_line("Initiating Soft Shutdown, terminating in 60.0 seconds");
    assert_eq!(worker.wait().code(), Some(0));
    assert_eq!(project.notes("naps"), ["began", "ended"]);
    // A second order does not wait.
    let mut worker = project.start("-A softly worker -l INFO -c 1");
    worker.wait_for_line(" ready.");
    project.run("nap.delay(600)\nanswer = 0");
    wait_until("it does not begin", || project.notes("naps").len() == 3);
    worker.signal(Signal::QUIT);
    worker.wait_for_line("Initiating Soft Shutdown");
    worker.signal(Signal::QUIT);
    assert_eq!(worker.wait().code(), Some(0));
    assert_eq!(project.notes("naps").len(), 3);
}

#[test]
fn brokers_that_the_worker_does_not_speak_are_refused_with_the_reason() {
    for broker in ["sqla+sqlite:///here.db", "filesystem://", "memory://"] {
        let mut project = Project::new("plain", On::Redis);
        project.set("BROKER", broker);
        let output = project.command("-A proj worker").output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("use Redis or RabbitMQ"), "{broker}: {error}");
        assert!(!output.status.success(), "{broker}: {error}");
    }
}

#[test]
fn apps_that_replace_parts_of_the_worker_are_refused_with_the_reason() {
    let project = Project::new("plain", On::Redis);
    let write = |name: &str, text: &str| {
        let path = project.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("from proj import *\n{text}\n")).unwrap();
    };
    // A stand-in of the package's name and shape.
    write(
        "celery_batches/__init__.py",
        "class Batches(Task):\n    abstract = True\n    def Strategy(self, *_): pass",
    );
    for (name, text, reason) in [
        (
            "steps",
            "from celery import bootsteps\nclass Mine(bootsteps.StartStopStep): pass\napp.steps['worker'].add(Mine)",
            "it adds steps to the worker (steps.Mine)",
        ),
        (
            "consumes",
            "from celery import bootsteps\nclass Mine(bootsteps.ConsumerStep): pass\napp.steps['consumer'].add(Mine)",
            "it adds steps to the consumer (consumes.Mine)",
        ),
        (
            "pools",
            "from celery.concurrency.solo import TaskPool\nclass Pool(TaskPool): pass\napp.conf.worker_pool = 'pools:Pool'",
            "worker_pool is 'pools.Pool'",
        ),
        (
            "consumer",
            "app.conf.worker_consumer = 'proj:Consumer'",
            "worker_consumer is 'proj:Consumer'",
        ),
        (
            "batches",
            "from celery_batches import Batches\n@app.task(base=Batches)\ndef many(requests): pass",
            "takes many messages at once (celery-batches)",
        ),
    ] {
        write(&format!("{name}.py"), text);
        let output = project.command(&format!("-A {name} worker"));
        let output = { output }.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(reason), "{name}: {error}");
        assert!(
            error.contains("this app does not run under celeriac"),
            "{error}"
        );
        assert_eq!(output.status.code(), Some(1), "{name}: {error}");
    }
    let mut custom = project.command("-A proj worker");
    let output = custom
        .env("CELERY_CUSTOM_WORKER_POOL", "x:Y")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("CELERY_CUSTOM_WORKER_POOL is 'x:Y'"),
        "{error}"
    );
}
