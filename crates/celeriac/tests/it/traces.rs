//! Traces that go from program to program, and through the tasks of a worker.

use celeriac_testkit::peers::{
    CeleryApp, CeleryVersion, CollectedSpan, Collector, OwnedChild, redis_url, unique,
};
use serde_json::Value;

use crate::support::example;

/// What an instrumented producer begins with: tasks of the same names as in Rust, whose calls are spans.
const PRODUCER: &str = "
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider(resource=Resource.create({'service.name': 'shop'}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(COLLECTOR + '/v1/traces')))
trace.set_tracer_provider(provider)
CeleryInstrumentor().instrument()

@app.task(name='outer')
def outer(n): pass

@app.task(name='double')
def double(n): pass

@app.task(name='stubborn')
def stubborn(): pass

@app.task(name='refuse')
def refuse(reason): pass

def within(name, call):
    with trace.get_tracer('shop').start_as_current_span(name):
        return call()
";

struct Site {
    collector: Collector,
    python: CeleryApp,
    broker: String,
}

impl Site {
    fn new() -> Self {
        let (collector, prefix) = (Collector::start(), unique("traces"));
        let source = format!(
            "app.conf.broker_transport_options = {{'global_keyprefix': {prefix:?}}}\n\
             app.conf.result_backend_transport_options = {{'global_keyprefix': {prefix:?}}}\n\
             COLLECTOR = {:?}\n{PRODUCER}",
            collector.endpoint()
        );
        let (redis, version) = (redis_url(), CeleryVersion::V57);
        Self {
            collector,
            python: CeleryApp::new(version, &redis, &redis, &source),
            // Celery puts `_` after the prefix of results.
            broker: format!("{redis}?global_keyprefix={prefix}&result_keyprefix={prefix}_"),
        }
    }

    fn worker(&self, pool: &str, endpoint: &str) -> OwnedChild {
        let program = example("traced");
        let words = ["worker", "-P", pool];
        let worker = OwnedChild::start("the worker", program.to_str().unwrap(), words, |command| {
            command
                .env("CELERIAC_ON", &self.broker)
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
                .env("OTEL_EXPORTER_OTLP_TIMEOUT", "2000")
                .env("OTEL_BSP_SCHEDULE_DELAY", "100");
        });
        worker.wait_for_line("worker is ready");
        worker
    }

    /// Runs a script that exports what it has to export.
    fn run(&self, script: &str) -> Value {
        self.python.run(&format!("{script}\nprovider.shutdown()"))
    }

    fn child(&self, name: &str, parent: &CollectedSpan) -> CollectedSpan {
        let child = self
            .collector
            .wait_for(name, |span| span.parent == parent.id);
        assert_eq!(child.trace, parent.trace);
        child
    }

    fn root(&self, name: &str) -> CollectedSpan {
        self.collector.wait_for(name, |span| span.parent.is_empty())
    }
}

#[test]
fn a_trace_goes_from_python_through_tasks_to_the_calls_that_they_send() {
    for pool in ["threads=2", "coroutines=2"] {
        let site = Site::new();
        let _worker = site.worker(pool, &site.collector.endpoint());
        let value = site.run("answer = within('shop', lambda: outer.delay(3).get(timeout=60))");
        assert_eq!(value, 7);

        let shop = site.root("shop");
        let sent = site.child("apply_async/outer", &shop);
        let run = site.child("run/outer", &sent);
        let inside = site.child("inside", &run);
        let next = site.child("run/double", &inside);
        let doubling = site.child("doubling", &next);
        assert_eq!((&*shop.service, &*run.service), ("shop", "celeriac"));
        assert_eq!((run.kind, inside.kind), (5, 1));
        assert_eq!(doubling.attributes["n"], "3");
        assert!(run.time.0 <= inside.time.0 && inside.time.1 <= run.time.1 + 1_000_000);
        for (name, value) in [
            ("messaging.system", "redis"),
            ("messaging.destination.name", "celery"),
            (
                "messaging.message.id",
                &*sent.attributes["messaging.message.id"],
            ),
            ("messaging.operation.type", "process"),
            ("celery.task_name", "outer"),
            ("celery.state", "SUCCESS"),
        ] {
            assert_eq!(run.attributes[name], value, "{name}");
        }
        assert_eq!(run.error, None);
    }
}

#[test]
fn failures_and_retries_are_told_in_their_spans() {
    let site = Site::new();
    let _worker = site.worker("threads=1", &site.collector.endpoint());
    let value = site.run(
        "refused = within('refusing', lambda: refuse.delay('no').get(timeout=60, propagate=False))\n\
         tried = within('trying', lambda: stubborn.delay().get(timeout=60))\n\
         answer = [type(refused).__name__, tried]",
    );
    assert_eq!(value[1], 2);

    let sent = site.child("apply_async/refuse", &site.root("refusing"));
    let run = site.child("run/refuse", &sent);
    assert_eq!(run.error.as_deref(), Some("no"));
    assert_eq!(run.attributes["celery.state"], "FAILURE");
    let (name, exception) = &run.events[0];
    assert_eq!(
        (&**name, &*exception["exception.message"]),
        ("exception", "no")
    );
    assert_eq!(exception["exception.type"], run.attributes["error.type"]);

    let sent = site.child("apply_async/stubborn", &site.root("trying"));
    let first = site.child("run/stubborn", &sent);
    assert_eq!(first.attributes["celery.state"], "RETRY");
    assert!(first.error.is_some());
    let second = site.child("run/stubborn", &first);
    assert_eq!(second.attributes["celery.state"], "SUCCESS");
    assert_eq!(second.attributes["celery.retries"], "1");
}

#[test]
fn a_collector_that_is_away_delays_no_task_and_is_told_of_once() {
    let site = Site::new();
    // It is bound, so nobody else is there, and takes no connection from its queue.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", deaf.local_addr().unwrap());
    let worker = site.worker("threads=1", &endpoint);
    let value = site.run("answer = sum(double.delay(n).get(timeout=60) for n in range(100))");
    assert_eq!(value, 9900);
    worker.wait_until_printed("traces cannot be exported, their spans are dropped");
    let value = site.run("answer = sum(double.delay(n).get(timeout=60) for n in range(100))");
    assert_eq!(value, 9900);
    let printed = worker.printed();
    assert_eq!(
        printed.matches("traces cannot be exported").count(),
        1,
        "{printed}"
    );
}
