//! How calls and workers come to an end that nobody wished for: limits, deaths, signals.

use celeriac_testkit::peers::OwnedChild;
use rustix::process::Signal;
use serde_json::json;

use crate::support::{On, Project};

#[test]
fn time_limits_hold() {
    let project = Project::new("plain", On::Redis);
    let _worker = project.worker("-c 1");
    let answer = project.run(
        "
answer = [soft.delay().get(timeout=30)]
for task in (hard, deaf):
    call = task.apply_async(time_limit=0.5)
    try:
        call.get(timeout=30)
    except Exception as error:
        answer.append([type(error).__name__, call.state])
answer.append(add.delay(1, 2).get(timeout=30))
",
    );
    let limit = json!(["TimeLimitExceeded", "FAILURE"]);
    assert_eq!(answer, json!(["cleaned up", limit, limit, 3]));
}

#[test]
fn a_lost_child_is_told_of_and_its_call_runs_again_if_the_app_wants_it() {
    for on in [On::Redis, On::RabbitMq] {
        let project = Project::new("plain", on);
        let _worker = project.worker("-c 2");
        let answer = project.run(
            "
answer = [fragile.delay('fragile').get(timeout=60)]
for call in (exits.delay(3), exits.delay(0), crashes_in_c.delay()):
    try:
        call.get(timeout=30)
    except Exception as error:
        answer.append([type(error).__name__, call.state])
answer.append(add.delay(1, 2).get(timeout=30))
",
        );
        let lost = json!(["WorkerLostError", "FAILURE"]);
        assert_eq!(answer, json!(["survived", lost, lost, lost, 3]));
        assert_eq!(project.notes("fragile").len(), 2);
    }
}

#[test]
fn a_task_that_kills_its_child_each_time_is_dead_after_its_limit() {
    let project = Project::new("plain", On::Redis);
    let _worker = project.worker("-c 1 --delivery-limit 3");
    let answer = project.run(
        "
call = deadly.delay()
try:
    call.get(timeout=60)
except Exception as error:
    answer = [type(error).__name__, 'SIGKILL' in str(error)]
",
    );
    assert_eq!(answer, json!(["WorkerLostError", true]));
    assert_eq!(project.notes("deadly").len(), 3);
}

#[test]
fn a_child_is_replaced_after_its_number_of_calls() {
    let project = Project::new("plain", On::Redis);
    let _worker = project.worker("-c 1 --max-tasks-per-child 2");
    let answer = project.run("answer = [pid.delay().get(timeout=30) for _ in range(6)]");
    let pids = answer.as_array().unwrap();
    assert_eq!(pids[0], pids[1]);
    assert_ne!(pids[1], pids[2]);
    assert_eq!(pids[4], pids[5]);
    let mut different = pids.clone();
    different.dedup();
    assert_eq!(different.len(), 3, "{pids:?}");
}

#[test]
fn revoked_and_expired_calls_do_not_run() {
    let project = Project::new("plain", On::Redis);
    let worker = project.worker("-c 1");
    let answer = project.run(
        "
expired = add.apply_async((1, 1), expires=-1)
try:
    expired.get(timeout=30)
except Exception as error:
    answer = [type(error).__name__, expired.state]
later = add.apply_async((3, 4), countdown=0.5)
begun = time.monotonic()
answer.append([later.get(timeout=30), time.monotonic() - begun > 0.3])
",
    );
    assert_eq!(answer, json!(["TaskRevokedError", "REVOKED", [7, true]]));
    drop(worker);
}

#[test]
fn a_task_that_nobody_registered_fails() {
    let project = Project::new("plain", On::Redis);
    let _worker = project.worker("-c 1");
    let answer = project.run(
        "
call = app.send_task('proj.nobody', queue=os.environ['QUEUE'])
try:
    call.get(timeout=30)
except Exception as error:
    answer = [type(error).__name__, call.state]
",
    );
    assert_eq!(answer, json!(["NotRegistered", "FAILURE"]));
}

/// Starts a call that naps, and waits until it does.
fn nap(project: &Project, seconds: &str) {
    project.run(&format!("nap.delay({seconds})\nanswer = 0"));
    project.wait_for_note("naps", "began");
}

fn code(worker: &mut OwnedChild) -> Option<i32> {
    worker.wait().code()
}

#[test]
fn sigterm_lets_what_runs_finish() {
    let project = Project::new("plain", On::Redis);
    let mut worker = project.worker("-c 1");
    nap(&project, "1.5");
    worker.signal(Signal::TERM);
    assert_eq!(code(&mut worker), Some(0));
    assert_eq!(project.notes("naps"), ["began", "ended"]);
    assert!(
        worker
            .printed()
            .contains("worker: Warm shutdown (MainProcess)")
    );
}

#[test]
fn a_second_sigint_ends_what_runs() {
    let project = Project::new("plain", On::Redis);
    let mut worker = project.worker("-c 1");
    nap(&project, "60");
    worker.signal(Signal::INT);
    worker.wait_for_line("Hitting Ctrl+C again will initiate cold shutdown");
    worker.wait_for_line("worker: Warm shutdown (MainProcess)");
    worker.signal(Signal::INT);
    worker.wait_for_line("worker: Cold shutdown (MainProcess)");
    assert_eq!(code(&mut worker), Some(1));
    assert_eq!(project.notes("naps"), ["began"]);
}

#[test]
fn sigquit_is_cold_and_sigterm_can_be() {
    for (remap, signal) in [(None, Signal::QUIT), (Some("SIGQUIT"), Signal::TERM)] {
        let mut project = Project::new("plain", On::Redis);
        if let Some(remap) = remap {
            project.set("REMAP_SIGTERM", remap);
        }
        let mut worker = project.worker("-c 1");
        nap(&project, "60");
        worker.signal(signal);
        assert_eq!(code(&mut worker), Some(0));
        assert_eq!(project.notes("naps"), ["began"]);
    }
}

#[test]
fn sighup_starts_the_worker_again() {
    let project = Project::new("plain", On::Redis);
    let worker = project.worker("-c 1");
    worker.signal(Signal::HUP);
    worker.wait_for_line("Restarting celery worker");
    worker.wait_for_line(" ready.");
    let answer = project.run("answer = add.delay(1, 2).get(timeout=30)");
    assert_eq!(answer, json!(3));
}
