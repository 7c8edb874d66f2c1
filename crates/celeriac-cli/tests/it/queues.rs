//! Which queues a worker takes from, what it imports, and how fast it starts the calls of a task.

use std::fs;

use celeriac_testkit::peers::unique;
use rustix::process::Signal;
use serde_json::json;

use crate::support::{On, Project};

/// Has an app with these lines beside those of the project.
fn app(project: &Project, name: &str, lines: &str) {
    let text = format!("from proj import *\n{lines}\n");
    fs::write(project.folder.path().join(format!("{name}.py")), text).unwrap();
}

/// A task that all workers run, each once.
const TOLD: &str = "
from kombu import Queue
from kombu.common import Broadcast

ALL = 'all-' + os.environ['QUEUE']
app.conf.task_queues = (Queue(os.environ['QUEUE']), Broadcast(ALL))
app.conf.task_routes = {'told.reload': {'queue': ALL}}


@app.task(bind=True, ignore_result=True)
def reload(self, what):
    note('told', f'{self.request.hostname} {what}')
";

#[test]
fn a_broadcast_reaches_every_worker_once() {
    for on in [On::Redis, On::RabbitMq] {
        let project = Project::new("plain", on);
        app(&project, "told", TOLD);
        let worker = |node: &str| {
            let worker = project.start(&format!("-A told worker -l INFO -c 1 -n {node}@box"));
            worker.wait_for_line(" ready.");
            worker
        };
        let (_one, mut two) = (worker("one"), worker("two"));
        let send = |what: &str| {
            project.run_plain(&format!(
                "from told import *\nreload.delay({what:?})\nanswer = add.delay(1, 2).get(timeout=60)"
            ))
        };
        assert_eq!(send("first"), json!(3));
        for node in ["one", "two"] {
            project.wait_for_note("told", &format!("{node}@box first"));
        }
        // What is told while a worker is away is not told to it later.
        two.signal(Signal::TERM);
        assert!(two.wait().success());
        send("second");
        project.wait_for_note("told", "one@box second");
        let _two = worker("two");
        send("third");
        for node in ["one", "two"] {
            project.wait_for_note("told", &format!("{node}@box third"));
        }
        let mut told = project.notes("told");
        told.sort_unstable();
        let expected = [
            "one@box first",
            "one@box second",
            "one@box third",
            "two@box first",
            "two@box third",
        ];
        assert_eq!(told, expected, "{on:?}");
    }
}

#[test]
fn a_queue_that_is_left_out_waits_for_another_worker() {
    let project = Project::new("plain", On::Redis);
    let other = unique("other");
    let lines = format!(
        "from kombu import Queue\napp.conf.task_queues = [Queue(os.environ['QUEUE']), Queue({other:?})]"
    );
    app(&project, "queued", &lines);
    project.run_plain(&format!(
        "from queued import *\nnap.apply_async((0,), queue={other:?})\nanswer = 0"
    ));
    let node = format!("{}@box", unique("w"));
    let words = format!("-A queued worker -l INFO -c 1 -n {node}");
    let mut worker = project.start(&format!("{words} -X {other}"));
    worker.wait_for_line(" ready.");
    let active = project.run_plain(&format!(
        "from queued import *\n\
         add.delay(1, 2).get(timeout=60)\n\
         queues = app.control.inspect([{node:?}], timeout=30, limit=1).active_queues()\n\
         answer = [queue['name'] for queue in queues[{node:?}]] == [os.environ['QUEUE']]"
    ));
    assert_eq!(active, json!(true));
    worker.signal(Signal::TERM);
    assert!(worker.wait().success());
    assert!(project.notes("naps").is_empty());
    let _worker = project.start(&words);
    project.wait_for_note("naps", "ended");
}

#[test]
fn modules_are_imported_that_only_the_command_line_names() {
    let project = Project::new("plain", On::Redis);
    app(
        &project,
        "further",
        "@app.task\ndef sixfold(x):\n    return 6 * x",
    );
    app(
        &project,
        "furthest",
        "@app.task\ndef sevenfold(x):\n    return 7 * x",
    );
    let _worker = project.worker("-c 1 -I further,furthest");
    let answer = project.run(
        "
answer = [app.send_task(name, (6,)).get(timeout=60) for name in ('further.sixfold', 'furthest.sevenfold')]
",
    );
    assert_eq!(answer, json!([36, 42]));
}

#[test]
fn a_task_runs_no_faster_than_its_rate() {
    let project = Project::new("plain", On::Redis);
    app(
        &project,
        "rated",
        "@app.task(rate_limit='2/s')\ndef rated():\n    return time.monotonic()",
    );
    let worker = project.start("-A rated worker -l INFO -c 2");
    worker.wait_for_line(" ready.");
    let answer = project.run_plain(
        "
from rated import *
calls = [rated.delay() for _ in range(5)]
# Others are not held up.
begun = time.monotonic()
sums = [add.delay(i, i).get(timeout=60) for i in range(5)]
others = time.monotonic()
times = sorted(call.get(timeout=60) for call in calls)
answer = [times[-1] - times[0], others < times[-1], all(b - a > 0.3 for a, b in zip(times, times[1:]))]
",
    );
    let took = answer[0].as_f64().unwrap();
    assert!(took > 1.8, "{answer}");
    assert_eq!([&answer[1], &answer[2]], [true, true], "{answer}");
}

#[test]
fn an_app_that_disables_rates_has_none() {
    let project = Project::new("plain", On::Redis);
    app(
        &project,
        "rated",
        "app.conf.worker_disable_rate_limits = True\n\
         @app.task(rate_limit='1/h')\ndef rated():\n    return 1",
    );
    let worker = project.start("-A rated worker -l INFO -c 1");
    worker.wait_for_line(" ready.");
    let answer = project.run_plain(
        "from rated import *\n\
         calls = [rated.delay() for _ in range(5)]\n\
         answer = sum(call.get(timeout=60) for call in calls)",
    );
    assert_eq!(answer, json!(5));
}

#[test]
fn what_was_revoked_is_known_to_a_worker_that_starts_later() {
    for on in [On::Redis, On::RabbitMq] {
        let project = Project::new("plain", on);
        let id = unique("revoked");
        let node = format!("{}@box", unique("w"));
        let words = format!("-c 1 -n {node} -S revoked.db");
        let mut worker = project.worker(&words);
        project.run(&format!(
            "
app.control.revoke({id:?})
inspect = app.control.inspect([{node:?}], timeout=30, limit=1)
deadline = time.monotonic() + 60
while {id:?} not in (inspect.revoked() or {{}}).get({node:?}, []) and time.monotonic() < deadline:
    time.sleep(0.05)
answer = 0
"
        ));
        worker.signal(Signal::TERM);
        assert!(worker.wait().success());
        let worker = project.worker(&words);
        let answer = project.run(&format!(
            "
call = nap.apply_async((0,), task_id={id:?})
try:
    call.get(timeout=60)
except Exception as error:
    answer = [type(error).__name__, add.delay(1, 2).get(timeout=60)]
"
        ));
        assert_eq!(answer, json!(["TaskRevokedError", 3]), "{on:?}");
        assert!(project.notes("naps").is_empty(), "{on:?}");
        drop(worker);
    }
}
