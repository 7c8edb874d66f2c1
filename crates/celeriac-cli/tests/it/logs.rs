//! What a drop-in worker logs for programs to read.

use std::fs;

use celeriac_testkit::peers::{CeleryVersion, OwnedChild};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{On, Project, wait_until};

/// An app that says something by each of the ways there are.
const TOLD: &str = "
import sys
from proj import *


@app.task
def tell(secret):
    print('printed')
    print('to the error', file=sys.stderr)
    log.warning('said', extra={'cart': [1, 2]})
    return 'told'
";

/// The objects that it has printed, each on a line.
fn objects(printed: &str) -> Vec<Value> {
    let object = |line| match serde_json::from_str::<Value>(line) {
        Ok(object) if object["timestamp"].is_string() => object,
        _ => panic!("not as it should be: {line}"),
    };
    printed.lines().map(object).collect()
}

/// The first of them whose message contains `text`.
fn with<'a>(objects: &'a [Value], text: &str) -> &'a Value {
    let mut all = objects.iter();
    let is_it = |object: &&Value| {
        let message = object["fields"]["message"].as_str();
        message.is_some_and(|message| message.contains(text))
    };
    let found = all.find(is_it);
    found.unwrap_or_else(|| panic!("no `{text}` in {objects:?}"))
}

fn worker(project: &Project) -> OwnedChild {
    let words = "-A told worker -l INFO -c 1 --purge --log-format json";
    let worker = project.start(words);
    worker.wait_for_line(" ready.");
    worker
}

#[test]
fn each_line_is_an_object_whoever_writes_it() {
    for version in [CeleryVersion::V57, CeleryVersion::V53] {
        let project = Project::with("plain", On::Redis, version);
        fs::write(project.folder.path().join("told.py"), TOLD).unwrap();
        project.run("answer = add.delay(1, 2).id");
        let mut worker = worker(&project);
        let ids = project.run(
            "from told import tell\n\
             told, failed = tell.delay('secret'), fail.delay('no')\n\
             told.get(timeout=60), failed.get(timeout=60, propagate=False)\n\
             answer = [told.id, failed.id]",
        );
        worker.signal(Signal::USR1);
        worker.wait_for_line("1 children of 1");
        worker.signal(Signal::TERM);
        assert!(worker.wait().success());
        wait_until("it does not say how it ends", || {
            worker.printed().contains("Warm shutdown")
        });

        let printed = worker.printed();
        let objects = objects(&printed);
        with(&objects, "purge: Erased 1 message from the queue.");
        let received = with(&objects, "Task told.tell[");
        assert_eq!(received["process"], "MainProcess");
        assert_eq!(received["fields"]["task.id"], ids[0]);
        for text in ["printed", "to the error", "said", " succeeded in "] {
            let line = with(&objects, text);
            assert_eq!(line["process"], "ForkPoolWorker-1", "{line}");
            assert_eq!(line["fields"]["task.id"], ids[0], "{line}");
            assert_eq!(line["fields"]["task.name"], "told.tell", "{line}");
        }
        let cart = &with(&objects, "said")["fields"]["cart"];
        assert_eq!(*cart, serde_json::json!([1, 2]));
        let done = &with(&objects, " succeeded in ")["fields"];
        assert_eq!(done["return_value"], "'told'");
        assert!(done["runtime"].is_f64(), "{done}");
        let failed = with(&objects, " raised unexpected: ");
        assert_eq!(failed["level"], "ERROR");
        assert_eq!(failed["fields"]["task.id"], ids[1]);
        assert_eq!(failed["fields"]["exception"], "ValueError('no')");
        let traceback = failed["fields"]["traceback"].as_str().unwrap();
        assert!(traceback.contains("proj.py"), "{traceback}");
        assert!(!printed.contains("secret"), "{printed}");
    }
}
