//! How a drop-in worker says how it is, to whoever runs it.

use celeriac_testkit::peers::http_get;
use rustix::process::Signal;

use crate::support::{On, Project, wait_until};

#[test]
fn probes_and_metrics_are_those_of_any_worker() {
    for on in [On::Redis, On::RabbitMq] {
        let project = Project::new("operated", on);
        let mut worker = project.start(
            "-A proj worker -l INFO -c 2 --http 127.0.0.1:0 --health-file alive --grace 60s",
        );
        let line = worker.wait_for_line("Health is served at http://");
        let (_, address) = line.trim().split_once("http://").unwrap();
        worker.wait_for_line(" ready.");
        let status = |path: &str| http_get(address, path).0;
        let page = || http_get(address, "/metrics").1;
        assert_eq!((status("/livez"), status("/readyz")), (200, 200), "{on:?}");
        project.run(
            "sums = [add.delay(n, 1).get(timeout=60) for n in range(3)]\n\
             failed = type(fail.delay(\"no\").get(timeout=60, propagate=False)).__name__\n\
             answer = [sums, failed]",
        );
        let queue = project.queue();
        for (name, task, value) in [
            ("tasks_succeeded_total", "add", 3),
            ("tasks_failed_total", "fail", 1),
            ("task_runtime_seconds_count", "add", 3),
            ("task_wait_seconds_count", "fail", 1),
        ] {
            let line =
                format!("celeriac_{name}{{task=\"proj.{task}\",queue=\"{queue}\"}} {value}\n");
            wait_until(&format!("no {line} on {}", page()), || {
                page().contains(&line)
            });
        }
        assert!(page().contains("\nceleriac_pool_slots 2\n"), "{}", page());
        let waiting = format!("celeriac_queue_messages{{queue=\"{queue}\",state=\"ready\"}} 0\n");
        wait_until(&format!("no {waiting}"), || page().contains(&waiting));
        let file = project.folder.path().join("alive");
        assert!(file.exists());

        project.run("answer = nap.delay(600).id");
        let running = "\nceleriac_pool_running 1\n";
        wait_until("it does not run", || page().contains(running));
        worker.signal(Signal::TERM);
        wait_until("it is still ready", || status("/readyz") == 503);
        assert_eq!(status("/livez"), 200);
        worker.signal(Signal::QUIT);
        worker.wait();
        assert!(!file.exists());
    }
}
