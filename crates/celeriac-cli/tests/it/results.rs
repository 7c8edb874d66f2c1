//! What becomes of calls: their results, failures, retries and canvases are those of Celery.

use celeriac_testkit::peers::CeleryVersion;
use serde_json::json;

use crate::support::{On, Project};

/// What every broker has to get right.
fn results(project: &Project) {
    let worker = project.worker("-c 2");
    let answer = project.run(
        "
answer = {}
answer['add'] = add.delay(2, 2).get(timeout=30)
failed = fail.delay('broken')
try:
    failed.get(timeout=30)
except Exception as error:
    answer['fail'] = [type(error).__name__, str(error), failed.state, 'ValueError' in failed.traceback]
answer['stubborn'] = stubborn.delay(2).get(timeout=30)
answer['chain'] = (add.s(1, 2) | add.s(10) | add.s(100)).delay().get(timeout=30)
answer['pickle'] = add.apply_async(([1], [2]), serializer='pickle').get(timeout=30)
request = request_of.apply_async((1,), {}, headers={'colour': 'red'}) if False else request_of.apply_async(headers={'colour': 'red'})
found = request.get(timeout=30)
answer['request'] = [found['id'] == request.id, found['root'] == request.id, found['headers'], found['retries']]
",
    );
    assert_eq!(
        answer,
        json!({
            "add": 4,
            "fail": ["ValueError", "broken", "FAILURE", true],
            "stubborn": 2,
            "chain": 113,
            "pickle": [1, 2],
            "request": [true, true, "red", 0],
        })
    );
    worker.wait_for_line("succeeded in");
}

#[test]
fn calls_through_redis_end_as_with_celery() {
    results(&Project::new("plain", On::Redis));
}

#[test]
fn calls_through_rabbitmq_end_as_with_celery() {
    results(&Project::new("plain", On::RabbitMq));
}

#[test]
fn calls_through_rabbitmq_send_their_results_to_the_caller() {
    results(&Project::new("plain", On::RabbitMqRpc));
}

#[test]
fn older_celerys_run_alike() {
    for version in [CeleryVersion::V55, CeleryVersion::V54, CeleryVersion::V53] {
        results(&Project::with("plain", On::Redis, version));
    }
}

#[test]
fn groups_and_chords_are_joined() {
    for on in [On::Redis, On::RabbitMq] {
        let project = Project::new("plain", on);
        let _worker = project.worker("-c 2");
        let answer = project.run(
            "
answer = {}
answer['group'] = group(add.s(i, i) for i in range(20)).delay().get(timeout=60)
answer['chord'] = chord((add.s(i, i) for i in range(20)), total.s()).delay().get(timeout=60)
answer['replaced'] = replaced.delay(5).get(timeout=60)
answer['fan_out'] = fan_out.delay(10).get(timeout=60)
answer['chain of groups'] = (group(add.s(1, 1), add.s(2, 2)) | total.s() | add.s(10)).delay().get(timeout=60)
",
        );
        assert_eq!(
            answer,
            json!({
                "group": (0..20).map(|i| 2 * i).collect::<Vec<_>>(),
                "chord": 380,
                "replaced": 105,
                "fan_out": 90,
                "chain of groups": 16,
            })
        );
    }
}

#[test]
fn states_between_start_and_end_are_seen() {
    let project = Project::new("plain", On::Redis);
    let _worker = project.worker("-c 1");
    let answer = project.run(
        "
call = in_steps.delay()
while not os.path.exists(os.path.join(FOLDER, 'in_steps')):
    time.sleep(0.01)
deadline = time.monotonic() + 30
while call.state != 'HALFWAY' and time.monotonic() < deadline:
    time.sleep(0.01)
seen = [call.state, call.info]
open(os.path.join(FOLDER, 'go_on'), 'w').close()
answer = seen + [call.get(timeout=30)]
",
    );
    assert_eq!(answer, json!(["HALFWAY", {"done": 50}, "done"]));
}

#[test]
fn errbacks_hooks_and_policies_are_called() {
    let project = Project::new("plain", On::Redis);
    let _worker = project.worker("-c 1");
    let answer = project.run(
        "
from celery.exceptions import Ignore
failed = fail.apply_async(('broken',), link_error=[errback.s(), old_errback.s()])
failed.get(timeout=30, propagate=False)
audited.delay(2).get(timeout=30)
audited.delay(0).get(timeout=30, propagate=False)
gone = restless.delay()
gone.get(timeout=30, propagate=False)
silent.delay()
add.delay(1, 1).get(timeout=30)
answer = [gone.state, ignored.delay().id != '']
",
    );
    assert_eq!(answer, json!(["FAILURE", true]));
    assert_eq!(project.notes("restless").len(), 3);
    assert_eq!(project.notes("silent"), ["ran"]);
    let audit = project.notes("audit");
    assert_eq!(
        audit,
        [
            "success 5.0",
            "after SUCCESS",
            "failure division by zero",
            "after FAILURE"
        ]
    );
    project.wait_for_note_with("errbacks", "ValueError('broken')");
    project.wait_for_note_with("errbacks", "old ");
}

#[test]
fn signals_reach_the_apps_handlers() {
    let project = Project::new("plain", On::Redis);
    let mut worker = project.worker("-c 1");
    project.run(
        "
add.delay(1, 1).get(timeout=30)
fail.delay('x').get(timeout=30, propagate=False)
app.send_task('proj.nobody', queue=os.environ['QUEUE'])
add.apply_async((1, 1), expires=-1)
answer = add.delay(1, 1).get(timeout=30)
",
    );
    for note in [
        "worker_process_init",
        "worker_ready",
        "task_received proj.add",
        "task_prerun proj.add",
        "task_success proj.add",
        "task_failure proj.fail ValueError",
        "task_unknown proj.nobody",
        "task_revoked expired",
    ] {
        project.wait_for_note("signals", note);
    }
    worker.signal(rustix::process::Signal::TERM);
    assert!(worker.wait().success());
    project.wait_for_note("signals", "worker_shutdown");
}
