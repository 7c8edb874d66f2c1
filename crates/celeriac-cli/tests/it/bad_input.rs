//! Tasks that do what no task should: each has its own end, and its neighbours do not notice.

use std::fs;

use celeriac_testkit::peers::http_get;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{On, Project, lives, wait_until};

#[test]
fn each_has_its_own_end_and_the_neighbours_theirs() {
    let project = Project::new("plain", On::Redis);
    let worker = project.worker("-c 2");
    let answer = project.run(
        "
calls = dict(
    fail_badly=fail_badly.delay(), unserialisable=unserialisable.delay(), recurse=recurse.delay(),
    closes_stdio=closes_stdio.delay(), forks=forks.delay(), prints_much=prints_much.delay(3),
    exits=exits.delay(0),
)
sums = [add.delay(i, i) for i in range(50)]
answer = {}
for name, call in calls.items():
    try:
        answer[name] = call.get(timeout=60)
    except Exception as error:
        answer[name] = type(error).__name__
answer['sums'] = sum(call.get(timeout=60) for call in sums)
",
    );
    assert_eq!(answer["sums"], json!(2450), "{answer}");
    assert_eq!(answer["closes_stdio"], json!("closed"), "{answer}");
    assert_eq!(answer["forks"], json!(0), "{answer}");
    assert_eq!(answer["prints_much"], json!(3), "{answer}");
    assert_eq!(answer["recurse"], json!("RecursionError"), "{answer}");
    assert_eq!(answer["exits"], json!("WorkerLostError"), "{answer}");
    assert_eq!(answer["unserialisable"], json!("EncodeError"), "{answer}");
    // Celery stands something of the same name in for an exception that cannot be stored.
    assert_ne!(answer["fail_badly"], json!(null), "{answer}");
    assert!(
        !worker.printed().contains("panicked"),
        "{}",
        worker.printed()
    );
}

#[test]
fn in_every_pool_each_has_its_own_end_and_the_neighbours_theirs() {
    let expected = [
        ("proj.fail_badly", "UnpickleableExceptionWrapper"),
        ("proj.unserialisable", "EncodeError"),
        ("proj.recurse", "RecursionError"),
        ("proj.forks", "0"),
        ("bad.raises_what_has_no_repr", "Unspeakable"),
        ("bad.raises_with_arguments_without_repr", "ValueError"),
        ("bad.returns_what_has_no_repr", "EncodeError"),
        ("bad.daemonises", "left one behind"),
        ("proj.prints_much", "3"),
        ("proj.closes_stdio", "closed"),
    ];
    for pool in ["solo", "threads -c 4", "coroutines -c 20 --processes 2"] {
        let project = Project::new("plain", On::Redis);
        let worker = project.worker(&format!("-P {pool}"));
        let names: Vec<_> = expected.iter().map(|(name, _)| *name).collect();
        let answer = project.run(&format!(
            "
answer = {{}}
for name in {names:?}:
    call = app.send_task(name, (3,) if name.endswith('much') else ())
    sums = [add.delay(i, i) for i in range(10)]
    try:
        answer[name] = str(call.get(timeout=60))
    except Exception as error:
        answer[name] = type(error).__name__
    assert sum(call.get(timeout=60) for call in sums) == 90
# What ends its process costs no call that comes later.
for name, args in [('proj.exits', (0,)), ('proj.crashes_in_c', ())]:
    try:
        app.send_task(name, args).get(timeout=60)
    except Exception as error:
        answer[name] = type(error).__name__
    assert add.delay(1, 2).get(timeout=60) == 3
"
        ));
        for (name, end) in expected {
            assert_eq!(answer[name], end, "{pool}: {answer}");
        }
        for name in ["proj.exits", "proj.crashes_in_c"] {
            assert_eq!(answer[name], "WorkerLostError", "{pool}: {answer}");
        }
        let daemon = project.notes("daemon")[0].parse().unwrap();
        let daemon = rustix::process::Pid::from_raw(daemon).unwrap();
        rustix::process::kill_process(daemon, Signal::KILL).unwrap();
        let printed = worker.printed();
        assert!(!printed.contains("panicked"), "{printed}");
    }
}

/// Runs the tasks of `bad`, each between calls of others, and says how each ended.
fn ends_of(project: &Project, tasks: &str) -> Value {
    project.run(&format!(
        "
import bad
calls, sums = {{}}, []
for name in {tasks:?}.split():
    calls[name] = getattr(bad, name).delay()
    sums += [add.delay(i, i) for i in range(10)]
answer = {{}}
for name, call in calls.items():
    try:
        answer[name] = call.get(timeout=60)
    except Exception as error:
        answer[name] = type(error).__name__
for i, call in enumerate(sums):
    assert call.get(timeout=60) == 2 * (i % 10)
"
    ))
}

#[test]
fn each_task_that_goes_wild_has_its_own_end_and_the_neighbours_theirs() {
    let project = Project::new("plain", On::Redis);
    let worker = project.worker("-c 2");
    let expected = [
        ("blocks_in_c", "TimeLimitExceeded"),
        ("ignores_everything", "TimeLimitExceeded"),
        ("spawns_and_hangs", "TimeLimitExceeded"),
        ("imports_what_crashes", "WorkerLostError"),
        ("closes_everything", "WorkerLostError"),
        ("raises_no_exception", "WorkerLostError"),
        ("daemonises", "left one behind"),
        ("forks_and_returns", "the child"),
        ("raises_what_has_no_repr", "Unspeakable"),
        ("raises_with_arguments_without_repr", "ValueError"),
        ("returns_what_has_no_repr", "EncodeError"),
    ];
    let tasks: Vec<_> = expected.iter().map(|(task, _)| *task).collect();
    let answer = ends_of(&project, &tasks.join(" "));
    for (task, end) in expected {
        assert_eq!(answer[task], *end, "{task}: {answer}");
    }
    let printed = worker.printed();
    assert!(!printed.contains("panicked"), "{printed}");
    // What a call over its limit has started ends with it; a daemon is the app's own affair.
    let pid = |name: &str| project.notes(name)[0].parse().unwrap();
    wait_until("what a task has started outlives it", || {
        !lives(pid("spawned"))
    });
    let daemon = rustix::process::Pid::from_raw(pid("daemon")).unwrap();
    rustix::process::kill_process(daemon, Signal::KILL).unwrap();
}

#[test]
fn a_task_that_prints_a_gigabyte_ends_as_any_other() {
    let project = Project::new("plain", On::Redis);
    let _worker = project.start("-A proj worker -l INFO -c 2 -f /dev/null");
    let answer = project.run(
        "
import bad
call = bad.prints_endlessly.delay(1024)
sums = [add.delay(i, i) for i in range(50)]
answer = [sum(call.get(timeout=60) for call in sums), call.get(timeout=120)]
",
    );
    assert_eq!(answer, json!([2450, 1024]));
}

#[test]
fn junk_on_every_descriptor_costs_the_child_and_no_other_call() {
    let project = Project::new("plain", On::Redis);
    let _worker = project.worker("-c 2");
    let answer = project.run(
        "
bad = [junk_everywhere.delay() for _ in range(3)]
sums = [add.delay(i, i) for i in range(50)]
ends = []
for call in bad:
    try:
        call.get(timeout=60)
    except Exception as error:
        ends.append([type(error).__name__, 'junk' in str(error)])
answer = [sum(call.get(timeout=60) for call in sums), ends]
",
    );
    let lost = json!(["WorkerLostError", true]);
    assert_eq!(answer, json!([2450, [lost, lost, lost]]));
}

#[test]
fn an_import_that_kills_every_new_child_holds_calls_up_until_it_is_mended() {
    let project = Project::new("plain", On::Redis);
    // The import is the first thing that each child does; it is broken while the worker runs.
    let app = "from proj import *\nimport importlib, sys\n\n\n\
               @signals.worker_process_init.connect\ndef load(**_):\n    \
               sys.path.insert(0, FOLDER)\n    importlib.import_module('native')\n";
    let write = |name: &str, text: &str| fs::write(project.folder.path().join(name), text).unwrap();
    write("loads.py", app);
    write("native.py", "");
    let worker = project.start("-A loads worker -l INFO -c 1 --http 127.0.0.1:0");
    let line = worker.wait_for_line("Health is served at http://");
    let (_, address) = line.trim().split_once("http://").unwrap();
    worker.wait_for_line(" ready.");
    assert_eq!(http_get(address, "/readyz").0, 200);
    write("native.py", "import ctypes\nctypes.string_at(0)\n");
    project.run("exits.delay(1)\nanswer = 0");
    worker.wait_for_line("a child died and is replaced");
    let id = project.run("answer = add.delay(1, 2).id");
    let line = worker.wait_for_line("calls wait until a child starts");
    assert!(line.contains("SIGSEGV"), "{line}");
    let (status, why) = http_get(address, "/readyz");
    assert!(status == 503 && why.contains("no call can begin"), "{why}");
    write("native.py", "");
    worker.wait_for_line("children start again");
    wait_until("it is not ready", || http_get(address, "/readyz").0 == 200);
    let answer = project.run(&format!("answer = app.AsyncResult({id}).get(timeout=60)"));
    assert_eq!(answer, json!(3));
    let printed = worker.printed();
    assert_eq!(printed.matches("calls wait until").count(), 1, "{printed}");
}

#[test]
fn what_tasks_print_is_logged_in_celerys_words() {
    let project = Project::new("plain", On::Redis);
    let worker = project.worker("-c 1");
    project.run("answer = talkative.delay().get(timeout=30)");
    worker.wait_for_line(" succeeded in ");
    let printed = worker.printed();
    let with = |text: &str| {
        let line = printed.lines().find(|line| line.contains(text));
        line.unwrap_or_else(|| panic!("no `{text}` in {printed}"))
            .to_owned()
    };
    assert!(with("Task proj.talkative[").contains(": INFO/MainProcess] Task proj.talkative["));
    let own = with("printed by a task");
    assert!(own.contains(": WARNING/ForkPoolWorker-"), "{own}");
    let logged = with("logged by a task");
    assert!(logged.contains("] proj.talkative["), "{logged}");
}
