//! How calls and workers come to an end that nobody wished for: limits, deaths, signals.

use celeriac_testkit::peers::{CeleryVersion, OwnedChild};
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
fn what_was_stored_before_a_child_was_lost_counts() {
    // A rule of Celery 5.7; here it is one for all.
    for version in [CeleryVersion::V57, CeleryVersion::V54] {
        let project = Project::with("plain", On::Redis, version);
        let worker = project.worker("-c 1");
        let answer = project.run("answer = ends_then_dies.delay().get(timeout=60)");
        assert_eq!(answer, json!(7));
        worker.wait_for_line("a call succeeded before its child was lost");
        // It would have come again before this one, which comes later.
        let answer = project.run("answer = add.apply_async((1, 2), countdown=2).get(timeout=60)");
        assert_eq!(answer, json!(3));
        assert_eq!(project.notes("afterwards"), ["ran", "after"]);
    }
}

#[test]
fn a_lost_child_is_a_retry_if_the_app_wants_it() {
    let project = Project::new("plain", On::Redis);
    let _worker = project.worker("-c 1");
    let answer = project.run(
        "
answer = [task.delay().get(timeout=60) for task in (retried_when_lost, late_and_retried_when_lost)]
",
    );
    assert_eq!(answer, json!([[1, false], [1, false]]));
    project.wait_for_note("signals", "task_retry proj.retried_when_lost");
}

#[test]
fn a_call_that_comes_again_after_it_succeeded_is_not_run_if_the_app_says_so() {
    let mut project = Project::new("plain", On::RabbitMq);
    project.set("DEDUPLICATE", "1");
    project.run(
        "
app.backend.store_result('one-that-is-done', 'before', 'SUCCESS')
late.apply_async(task_id='one-that-is-done')
with app.connection() as connection:
    channel = connection.default_channel
    channel.basic_reject(channel.basic_get(os.environ['QUEUE']).delivery_tag, requeue=True)
answer = 0
",
    );
    let worker = project.worker("-c 1");
    worker.wait_until_printed("Task already completed successfully.");
    let answer = project
        .run("answer = [late.delay().get(timeout=60), app.AsyncResult('one-that-is-done').result]");
    assert_eq!(answer, json!(["anew", "before"]));
    assert_eq!(project.notes("late"), ["ran"]);
}

#[test]
fn a_call_over_its_limit_that_is_not_acknowledged_has_failed_and_comes_again() {
    let project = Project::new("plain", On::Redis);
    let _worker = project.worker("-c 1");
    let answer = project.run(
        "
call = overruns.delay()
try:
    call.get(timeout=60)
except Exception as error:
    answer = [type(error).__name__]
deadline = time.monotonic() + 60
while app.AsyncResult(call.id).state != 'SUCCESS' and time.monotonic() < deadline:
    time.sleep(0.05)
answer.append(app.AsyncResult(call.id).result)
",
    );
    assert_eq!(answer, json!(["TimeLimitExceeded", "in time"]));
    assert_eq!(project.notes("overruns"), ["False", "True"]);
    project.wait_for_note("signals", "task_failure proj.overruns TimeLimitExceeded");
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
