//! What an operator learns of a worker in which nothing moves.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::{On, Project, wait_until};

/// A task that waits in C for a lock that it has, and holds the interpreter; and one that is stopped.
const STUCK: &str = "
from proj import *
import ctypes


@app.task
def holds():
    note('held', os.getpid())
    mutex = ctypes.create_string_buffer(128)
    for _ in range(2):
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)


@app.task
def stops():
    note('stopped', os.getpid())
    os.kill(os.getpid(), signal.SIGSTOP)
    return 'went on'
";

#[test]
fn sigusr1_says_what_each_process_does_and_disturbs_none() {
    let project = Project::new("plain", On::Redis);
    let mut worker = project.start("-A proj worker -l ERROR -c 2");
    project.wait_for_note("signals", "worker_ready");
    project.run("nap.delay(2.5)\nanswer = 0");
    project.wait_for_note("naps", "began");
    worker.signal(Signal::USR1);
    worker.wait_for_line("service ");
    // The last of it comes in the same write.
    worker.wait_for_line("/service\", line ");
    let printed = worker.printed();
    for text in [
        "WARNING/MainProcess] pool: 2 children of 2, 0 calls wait",
        ": runs proj.nap[",
        "proj.py\", line ",
        " in nap",
        ": idle",
    ] {
        assert!(printed.contains(text), "no `{text}` in {printed}");
    }
    project.wait_for_note("naps", "ended");
    worker.signal(Signal::TERM);
    assert!(worker.wait().success());
}

#[test]
fn a_child_that_holds_the_interpreter_says_where_and_one_that_is_stopped_is_not_waited_for() {
    let project = Project::new("plain", On::Redis);
    fs::write(project.folder.path().join("stuck.py"), STUCK).unwrap();
    let worker = project.start("-A stuck worker -l INFO -c 2");
    worker.wait_for_line(" ready.");
    project.run("app.send_task('stuck.holds')\napp.send_task('stuck.stops')\nanswer = 0");
    let pid = |name: &str| {
        project.wait_for_note_with(name, "");
        let pid = project.notes(name)[0].parse().unwrap();
        Pid::from_raw(pid).unwrap()
    };
    let stopped = pid("stopped");
    let held = pid("held");
    wait_until("it is not stopped", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", stopped.as_raw_nonzero()));
        stat.unwrap().contains(") T ")
    });
    worker.signal(Signal::USR1);
    worker.wait_for_line(" in holds");
    worker.wait_for_line("it does not say where it is");
    kill_process(stopped, Signal::CONT).unwrap();
    worker.wait_for_line(": 'went on'");
    kill_process(held, Signal::KILL).unwrap();
    let answer = project.run("answer = add.delay(1, 2).get(timeout=60)");
    assert_eq!(answer, json!(3));
}
