//! Traces of what runs in an app of Celery's.

use celeriac_testkit::peers::Collector;

use crate::support::{On, Project};

/// What a caller says it is.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Calls that say who caused them, and a task that says what it sees of that.
const CALLS: &str = "
ours = {'headers': {'traceparent': PARENT}}
seen = sees.apply_async(**ours)
failed = fail.apply_async(('no',), **ours)
stubborn.apply_async((1,), **ours).get(timeout=60)
failed.get(timeout=60, propagate=False)
answer = [seen.get(timeout=60), failed.id]
";

#[test]
fn runs_continue_the_trace_of_their_caller_and_tasks_see_it_as_it_came() {
    for (on, system) in [(On::Redis, "redis"), (On::RabbitMq, "rabbitmq")] {
        let (collector, mut project) = (Collector::start(), Project::new("plain", on));
        let task = "from proj import *\n\n@app.task(bind=True)\ndef sees(self):\n    return self.request.traceparent\n";
        std::fs::write(project.folder.path().join("seeing.py"), task).unwrap();
        project.set("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint());
        project.set("OTEL_SERVICE_NAME", "shop");
        project.set("OTEL_BSP_SCHEDULE_DELAY", "100");
        let worker = project.start("-A seeing worker -l INFO -c 1 -n w@shop.example");
        worker.wait_for_line(" ready.");
        let parent = format!("00-{TRACE}-{CALLER}-01");
        let answer = project.run(&format!(
            "from seeing import sees\nPARENT = {parent:?}\n{CALLS}"
        ));
        assert_eq!(answer[0], parent);

        let run = |name: &str, state: &str| {
            let span = collector.wait_for(name, |span| span.attributes["celery.state"] == state);
            assert_eq!((&*span.trace, &*span.parent), (TRACE, CALLER), "{on:?}");
            span
        };
        let seen = run("run/seeing.sees", "SUCCESS");
        assert_eq!((&*seen.service, seen.kind), ("shop", 5));
        assert_eq!(seen.attributes["messaging.system"], system);
        assert_eq!(seen.attributes["messaging.client.id"], "w@shop.example");
        assert_eq!(seen.error, None);
        let failed = run("run/proj.fail", "FAILURE");
        assert_eq!(failed.attributes["messaging.message.id"], answer[1]);
        assert_eq!(failed.attributes["error.type"], "ValueError");
        assert_eq!(failed.error.as_deref(), Some("ValueError('no')"));
        let (name, exception) = &failed.events[0];
        assert_eq!(name, "exception");
        assert!(exception["exception.stacktrace"].contains("proj.py"));
        run("run/proj.stubborn", "RETRY");
        run("run/proj.stubborn", "SUCCESS");
    }
}
