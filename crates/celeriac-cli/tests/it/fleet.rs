//! A fleet of Celery's workers and ours answers as one: every command, from either side, reaches both.

use celeriac_testkit::peers::unique;
use serde_json::{Value, json};

use crate::support::{On, Project};

/// What is answered in an order or in words of each worker's own.
const OWN: [&str; 6] = [
    "pool",
    "total",
    "rusage",
    "clock",
    "worker_pid",
    "transport_options",
];

/// A setting that Celery's own program makes, whatever the app says.
const THEIRS: &str = "worker_disable_prefetch";

/// Commands that ask, and whose answers have the same shape.
const ASKING: [&str; 12] = [
    "active",
    "reserved",
    "scheduled",
    "active_queues",
    "stats",
    "conf",
    "report",
    "clock",
    "memsample",
    "registered",
    "revoked",
    "ping",
];

/// Commands that are answered in the same words: our own words for each, and Python's arguments.
fn orders(queue: &str) -> Vec<(String, Value)> {
    let order = |words: &str, arguments| (words.to_owned(), arguments);
    let rate = json!({"task_name": "proj.add", "rate_limit": "5/m"});
    let time = json!({"task_name": "proj.add", "soft": 5, "hard": 10});
    let stamped = "control revoke_by_stamped_headers headers={\"of\":[\"c1\"]}";
    vec![
        order("inspect query_task none", json!({"ids": ["none"]})),
        order("control rate_limit proj.add 5/m", rate),
        order("control time_limit proj.add 5 10", time),
        order("control revoke one", json!({"task_id": ["one"]})),
        order(
            "control terminate TERM two",
            json!({"signal": "TERM", "task_id": ["two"]}),
        ),
        order(stamped, json!({"headers": {"of": ["c1"]}})),
        order("control pool_grow 1", json!({"n": 1})),
        order("control pool_shrink 1", json!({"n": 1})),
        order("control pool_restart", json!({})),
        order("control autoscale 3 1", json!({"max": 3, "min": 1})),
        order(
            &format!("control add_consumer {queue}"),
            json!({"queue": queue}),
        ),
        order(
            &format!("control cancel_consumer {queue}"),
            json!({"queue": queue}),
        ),
        order("control enable_events", json!({})),
        order("control disable_events", json!({})),
        order("control heartbeat", json!({})),
        order("control no_such_command", json!({})),
    ]
}

/// Where one answer has not the shape of another: the way there. What is null or empty fits anything.
fn misfit(ours: &Value, theirs: &Value) -> Option<String> {
    match (ours, theirs) {
        (Value::Null, _) | (_, Value::Null) => None,
        (Value::Object(ours), Value::Object(theirs)) => {
            let mut known = theirs.keys().filter(|key| *key != THEIRS);
            let missing = known.find(|key| !ours.contains_key(*key));
            let strange = ours.keys().find(|key| !theirs.contains_key(*key));
            if let Some(key) = missing.or(strange) {
                return Some(format!(".{key}"));
            }
            let mut parts = ours.iter().filter(|(key, _)| !OWN.contains(&key.as_str()));
            parts.find_map(|(key, value)| Some(format!(".{key}{}", misfit(value, &theirs[key])?)))
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            let (ours, theirs) = (ours.first()?, theirs.first()?);
            Some(format!("[0]{}", misfit(ours, theirs)?))
        }
        _ if std::mem::discriminant(ours) == std::mem::discriminant(theirs) => None,
        _ => Some(format!(": {ours} and {theirs}")),
    }
}

/// A fleet of two.
struct Fleet {
    project: Project,
    ours: String,
    theirs: String,
}

impl Fleet {
    /// What our own command prints that asks both.
    fn run(&self, form: &str, words: &str) -> Vec<u8> {
        let mut command = self.project.command(form);
        command
            .args(["-b", &self.project.broker()])
            .args(words.split(' '));
        let to = format!("{},{}", self.ours, self.theirs);
        let output = command.args(["-t", "60s", "-d", &to]).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}: {error}");
        output.stdout
    }

    /// What both say to it.
    fn ask(&self, words: &str) -> Value {
        serde_json::from_slice(&self.run("--json", words)).unwrap()
    }

    /// Both have said something to `command`, and the same.
    fn agrees(&self, command: &str, answer: &Value) {
        let [ours, theirs] = [&answer[&self.ours], &answer[&self.theirs]];
        let alike = match command {
            // A busy pool of Celery's does not shrink; one of ours does when its calls end.
            "pool_shrink" => None,
            asking if ASKING.contains(&asking) => misfit(ours, theirs),
            _ => (ours != theirs).then(String::new),
        };
        assert_eq!(alike, None, "{command}: {ours:#} and {theirs:#}");
        assert_eq!(
            answer.as_object().map(serde_json::Map::len),
            Some(2),
            "{command}"
        );
    }
}

#[test]
fn every_command_of_either_side_reaches_workers_of_both_kinds() {
    for on in [On::Redis, On::RabbitMq] {
        let project = Project::new("operated", on);
        let node = |name| format!("{}@here", unique(name));
        let (ours, theirs) = (node("ours"), node("theirs"));
        let (own, foreign) = (unique("ours"), unique("theirs"));
        let _ours = project.worker(&format!("-n {ours} -c 1 -Q {own}"));
        let words = format!("-A proj worker -l INFO -c 1 -n {theirs} -Q {foreign}");
        let their_worker = project.start_celery(&words);
        their_worker.wait_for_line(" ready.");
        let fleet = Fleet {
            project,
            ours,
            theirs,
        };
        // So that there is something to ask about: one call runs and one waits with each.
        let naps = include_str!("fleet.py");
        let orders = orders(&unique("queue"));
        let asked = ASKING
            .iter()
            .map(|name| (format!("inspect {name}"), json!({})));
        let all: Vec<_> = asked.chain(orders).collect();
        let method = |words: &str| words.split(' ').nth(1).unwrap().to_owned();
        let asks: Vec<_> = all
            .iter()
            .map(|(words, given)| json!([method(words), given]))
            .collect();
        let script = format!(
            "OURS, THEIRS = {:?}, {:?}\nQUEUES = [{own:?}, {foreign:?}]\nASKS = json.loads({:?})\n{naps}",
            fleet.ours,
            fleet.theirs,
            Value::from(asks).to_string(),
        );
        let answers = fleet.project.run(&script);
        for ((words, _), answer) in all.iter().zip(answers.as_array().unwrap()) {
            fleet.agrees(&method(words), answer);
        }
        for (words, _) in &all {
            fleet.agrees(&method(words), &fleet.ask(words));
        }
        fleet.agrees("ping", &fleet.ask("status"));
        let lines = fleet.run("", "status");
        let [ours, theirs] = [&fleet.ours, &fleet.theirs];
        let expected = format!("->  {ours}: OK\n->  {theirs}: OK\n\n2 nodes online.\n");
        assert_eq!(String::from_utf8(lines).unwrap(), expected);
    }
}
