//! A program in Rust that has no task of its own asks one in Python.

use super::fleet::Fleet;
use super::in_fleets;
use crate::support::example;

in_fleets! { a_program_without_tasks_asks_python: client_redis_celery_5_7 = Redis, V57; }

async fn a_program_without_tasks_asks_python(fleet: &Fleet) {
    let _worker = fleet.python.worker(&["-Q", "to_python"]);
    let broker = fleet.app.place().to_string();
    let client = tokio::task::spawn_blocking(move || {
        let mut client = std::process::Command::new(example("client"));
        client.arg(broker).output().unwrap()
    });
    let ran = client.await.unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "5\n", "{said}");
    assert!(ran.status.success(), "{said}");
}
