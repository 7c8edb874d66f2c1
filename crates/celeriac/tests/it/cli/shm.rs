//! What the command line does for locks, queues and data that are shared.

use std::fs::File;
use std::process::{self, Stdio};

use celeriac::sync::SyncError;
use celeriac::sync::cluster::{Cluster, Lock};
use celeriac::sync::process as memory;
use serde_json::{Deserializer, Value};

use super::{Shop, Worker};

#[test]
fn a_manager_is_held_by_programs_until_it_is_told_to_stop() {
    let shop = Shop::new();
    let mut command = shop.command(&["manager", "--bind", "127.0.0.1:0", "--json"]);
    let log = shop.path("worker.log");
    command.stdout(Stdio::piped());
    let mut child = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
    let printed = child.stdout.take().unwrap();
    let manager = Worker { child, log };
    let mut documents = Deserializer::from_reader(printed).into_iter::<Value>();
    let told = documents.next().unwrap().unwrap();
    let place = told["place"].as_str().unwrap();

    // Two programs, as far as the manager knows.
    let [first, second] = [(), ()].map(|()| Cluster::connect(place).unwrap());
    let held = Lock::named(&first, "till").unwrap().lock().unwrap().fence();
    let till = Lock::named(&second, "till").unwrap();
    assert!(till.lock().unwrap().fence() > held);

    manager.signal("TERM");
    manager.ended();
}

#[test]
fn a_manager_that_others_can_reach_needs_a_key() {
    let shop = Shop::new();
    let ran = shop.run(&["manager", "--bind", "0.0.0.0:0"]);
    assert_eq!(ran.code, 3);
    assert!(
        ran.err.contains("give it a key with --key-file"),
        "{}",
        ran.err
    );

    std::fs::write(shop.path("key"), "too short").unwrap();
    let key = shop.path("key");
    let ran = shop.run(&["manager", "--key-file", key.to_str().unwrap()]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("umask 077"), "{}", ran.err);
}

#[test]
fn what_processes_share_by_name_is_listed_and_stays_while_it_is_used() -> Result<(), SyncError> {
    let shop = Shop::new();
    let name = format!("till-{}", process::id());
    let of_that_name = || {
        let all = shop.document(&["shm", "list"]);
        let mut all = all.as_array().unwrap().iter();
        all.find(|one| one["name"] == *name).cloned()
    };
    let till = memory::named(&name, memory::Lock::new)?;
    let listed = of_that_name().unwrap();
    assert_eq!(listed["type"], "Lock");
    assert_eq!(listed["users"], serde_json::json!([process::id()]));
    assert!(shop.done(&["shm", "list"]).contains(&name));

    let removed = shop.document(&["shm", "clean"])["removed"].clone();
    assert!(!removed.as_array().unwrap().iter().any(|it| *it == *name));
    assert!(of_that_name().is_some());
    drop(till);
    assert_eq!(of_that_name(), None);
    Ok(())
}
