//! One app under two workers, `celery worker` and ours: what comes of its calls is the same.
//!
//! The app and the calls stand in `tests/apps/canvas`: each form that Celery's guides show, with all that
//! is stored of it, what its tasks see of their requests, and the signals that it is told with.

use std::collections::BTreeSet;
use std::thread;

use celeriac_testkit::peers::{CeleryVersion, OwnedChild};
use serde_json::{Value, json};

use crate::support::{On, Project};

const WORDS: &str = "-A proj worker -l INFO -c 2 -n w@box";

/// The parts that the calls stand in, in their order: each line is for one script.
const PARTS: [&str; 4] = [
    "calls",
    "requests, retries, states",
    "canvases, chords",
    "links, replacements, hooks",
];

/// Whose worker it is.
#[derive(Debug, Clone, Copy)]
enum Worker {
    Celery,
    Ours,
}

/// What comes of the calls under a worker.
fn outcomes(worker: Worker, on: On, version: CeleryVersion) -> Value {
    let project = Project::with("canvas", on, version);
    let running: OwnedChild = match worker {
        Worker::Celery => project.start_celery(WORDS),
        Worker::Ours => project.start(WORDS),
    };
    running.wait_for_line(" ready.");
    let mut cases = serde_json::Map::new();
    let mut signals = Value::Null;
    for parts in PARTS {
        let mut found = project.run_plain(&format!(
            "from outcomes import *\nanswer = [outcomes({parts}), told()]"
        ));
        signals = found[1].take();
        cases.extend(found[0].as_object().unwrap().clone());
    }
    json!({"cases": cases, "signals": signals})
}

/// What stands in only one of them, or differs.
fn differences(part: &str, celery: &Value, ours: &Value) -> Vec<String> {
    let (celery, ours) = (&celery[part], &ours[part]);
    let names = [celery, ours].map(|value| value.as_object().unwrap().keys().cloned());
    let names: BTreeSet<String> = names.into_iter().flatten().collect();
    let differ = names.into_iter().filter(|name| celery[name] != ours[name]);
    let told = differ.map(|name| {
        format!(
            "{name}\n  celery: {}\n  ours:   {}",
            celery[&name], ours[&name]
        )
    });
    told.collect()
}

fn come_to_the_same(on: On, version: CeleryVersion) {
    let (celery, ours) = thread::scope(|scope| {
        let celery = scope.spawn(|| outcomes(Worker::Celery, on, version));
        let ours = outcomes(Worker::Ours, on, version);
        (celery.join().unwrap(), ours)
    });
    let mut found = differences("cases", &celery, &ours);
    found.extend(differences("signals", &celery, &ours));
    assert!(found.is_empty(), "{}", found.join("\n"));
    // That they are equal says little if they say nothing.
    let cases = ours["cases"].as_object().unwrap();
    assert!(cases.len() > 80, "{}", cases.len());
    let untold = |value: &&Value| value.to_string().contains("could not be told");
    assert_eq!(cases.values().find(untold), None);
    assert_eq!(cases["chords: chord"][0]["result"], json!(90));
    assert_eq!(cases["retries: retries"]["result"][0], json!(2));
    assert_eq!(
        cases["calls: failure"]["result"],
        json!(["ValueError", "ValueError('broken \u{e4}')"])
    );
    let request = &cases["requests: a request"]["result"];
    assert_eq!(request["delivery_info"]["routing_key"], "QUEUE");
    assert!(ours["signals"].as_object().unwrap().len() > 40);
}

#[test]
fn all_forms_of_calls_through_redis_come_to_the_same_as_with_celery() {
    come_to_the_same(On::Redis, CeleryVersion::V57);
}

#[test]
fn all_forms_of_calls_through_rabbitmq_come_to_the_same_as_with_celery() {
    come_to_the_same(On::RabbitMq, CeleryVersion::V57);
}

#[test]
fn all_forms_of_calls_come_to_the_same_as_with_celery_5_4() {
    come_to_the_same(On::Redis, CeleryVersion::V54);
}
