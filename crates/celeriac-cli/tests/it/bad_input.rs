//! Tasks that do what no task should: each has its own end, and its neighbours do not notice.

use serde_json::json;

use crate::support::{On, Project};

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
fn junk_on_every_descriptor_costs_the_child_and_no_other_call() {
    let project = Project::new("plain", On::Redis);
    let _worker = project.worker("-c 2");
    let answer = project.run(
        "
bad = [junk_everywhere.delay() for _ in range(3)]
sums = [add.delay(i, i) for i in range(50)]
states = set()
for call in bad:
    call.get(timeout=60, propagate=False)
    states.add(call.state in ('SUCCESS', 'FAILURE'))
answer = [sum(call.get(timeout=60) for call in sums), sorted(states)]
",
    );
    assert_eq!(answer, json!([2450, [true]]));
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
