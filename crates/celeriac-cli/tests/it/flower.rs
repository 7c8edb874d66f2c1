//! Flower shows workers of ours as it shows Celery's, and its buttons do what they say.

use celeriac_testkit::peers::unique;
use serde_json::json;

use crate::support::{On, Project};

#[test]
fn flower_shows_and_operates_workers() {
    for on in [On::Redis, On::RabbitMq] {
        let mut project = Project::new("operated", on);
        project.set("FLOWER_UNAUTHENTICATED_API", "true");
        project.set("POOL_RESTARTS", "1");
        let socket = project.folder.path().join("flower");
        let socket = socket.to_str().expect("it is ours").to_owned();
        let flower = project.start_celery(&format!("-A proj flower --unix-socket={socket}"));
        flower.wait_for_line("Connected to ");
        let [fixed, scaled] = ["fixed", "scaled"].map(|name| format!("{}@here", unique(name)));
        let mut workers = [
            project.worker(&format!("-n {fixed} -E -c 2")),
            project.worker(&format!("-n {scaled} -E --autoscale 3,1")),
        ];
        let script = include_str!("flower.py");
        let names = format!("SOCKET, FIXED, SCALED = {socket:?}, {fixed:?}, {scaled:?}\n");
        let queue = "QUEUE = os.environ['QUEUE']\n";
        let answer = project.run(&format!("import os\n{names}{queue}{script}"));
        let done = |text: &str| json!([200, text]);
        let expected = [
            (
                "pages",
                json!([true, true, true, true, true, true, true, true]),
            ),
            ("rows", json!(["FAILURE", "STARTED", "STARTED", "SUCCESS"])),
            ("info", json!(["proj.add", "5", "(2, 3)"])),
            ("queues", json!(true)),
            ("more", done("Growing 'NODE' worker's pool by 1")),
            ("less", done("Shrinking 'NODE' worker's pool by 1")),
            ("scale", done("Autoscaling 'NODE' worker (min=1, max=2)")),
            ("restart", done("Restarting 'NODE' worker's pool")),
            ("add", done("add consumer more")),
            ("cancel", done("no longer consuming from more")),
            ("rate", done("new rate limit set successfully")),
            ("time", done("time limits set successfully")),
            ("revoke", json!([200, 200])),
            (
                "shutdown",
                json!([done("Shutting down!"), done("Shutting down!")]),
            ),
        ];
        let mut wrong = Vec::from(expected);
        wrong.retain(|(case, expected)| answer[case] != *expected);
        assert_eq!(wrong, [], "{on:?}: {answer:#}");
        for worker in &mut workers {
            assert!(worker.wait().success());
        }
        let printed = flower.printed();
        let bad = |line: &&str| {
            ["Traceback", "[E ", "ERROR"]
                .iter()
                .any(|word| line.contains(word))
        };
        // What it wants of RabbitMQ is asked of the server's own pages, which is no part of this.
        let bad = printed
            .lines()
            .filter(bad)
            .filter(|line| !line.contains("RabbitMQ"));
        assert_eq!(bad.collect::<Vec<_>>(), [""; 0], "{on:?}: {printed}");
    }
}
