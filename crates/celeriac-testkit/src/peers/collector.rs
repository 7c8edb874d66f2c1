//! A collector of traces: what is exported to it by OTLP over HTTP can be looked at.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// How long a span is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Attributes, with their values as text.
pub type Attributes = BTreeMap<String, String>;

/// A span as it was exported; its ids are hexadecimal.
#[derive(Debug, Clone)]
pub struct CollectedSpan {
    /// The trace it belongs to.
    pub trace: String,
    /// Its id.
    pub id: String,
    /// The span that caused it; empty if there is none.
    pub parent: String,
    /// What it is called.
    pub name: String,
    /// Its kind by number: 1 within a program, 4 a producer, 5 a consumer.
    pub kind: i32,
    /// When it began and ended, in Unix time in nanoseconds.
    pub time: (u64, u64),
    /// What is said of it.
    pub attributes: Attributes,
    /// What happened in it.
    pub events: Vec<(String, Attributes)>,
    /// Whether it failed, and what is said of that.
    pub error: Option<String>,
    /// The `service.name` of its program.
    pub service: String,
}

/// Listens at a port of this machine for as long as the process lives.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    collected: Arc<Collected>,
}

#[derive(Debug, Default)]
struct Collected {
    spans: Mutex<Vec<CollectedSpan>>,
    came: Condvar,
}

impl Collector {
    /// Begins to listen.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let collected = Arc::<Collected>::default();
        let taken = collected.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let taken = taken.clone();
                thread::spawn(move || converse(stream, &taken));
            }
        });
        Self { address, collected }
    }

    /// Its URL, as `OTEL_EXPORTER_OTLP_ENDPOINT` has it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for a span of this name, about which `is_it` is true.
    ///
    /// # Panics
    ///
    /// If none comes within a minute.
    pub fn wait_for(&self, name: &str, is_it: impl Fn(&CollectedSpan) -> bool) -> CollectedSpan {
        let deadline = Instant::now() + PATIENCE;
        let spans = self.collected.spans.lock();
        let mut spans = spans.unwrap_or_else(PoisonError::into_inner);
        loop {
            let found = spans.iter().find(|span| span.name == name && is_it(span));
            if let Some(found) = found {
                return found.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no such span `{name}` among {spans:#?}");
            let waited = self.collected.came.wait_timeout(spans, left);
            spans = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Answers requests until the other side has no more.
fn converse(stream: TcpStream, collected: &Collected) {
    let Ok(mut answers) = stream.try_clone() else {
        return;
    };
    let mut requests = BufReader::new(stream);
    while let Some(body) = body(&mut requests) {
        let request = ExportTraceServiceRequest::decode(&*body).expect("it is OTLP");
        let mut spans = collected
            .spans
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        spans.extend(spans_of(request));
        drop(spans);
        collected.came.notify_all();
        let answer =
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
        if answers.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// The body of the next request.
fn body(requests: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if requests.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    requests.read_exact(&mut body).ok()?;
    Some(body)
}

fn spans_of(request: ExportTraceServiceRequest) -> impl Iterator<Item = CollectedSpan> {
    request.resource_spans.into_iter().flat_map(|of_program| {
        let resource = of_program.resource.unwrap_or_default();
        let service = attributes(resource.attributes).remove("service.name");
        let service = service.unwrap_or_default();
        let scopes = of_program.scope_spans.into_iter();
        let spans: Vec<_> = scopes
            .flat_map(|scope| scope.spans)
            .map(|span| collected(span, &service))
            .collect();
        spans
    })
}

fn collected(span: Span, service: &str) -> CollectedSpan {
    let status = span.status.unwrap_or_default();
    CollectedSpan {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        name: span.name,
        kind: span.kind,
        time: (span.start_time_unix_nano, span.end_time_unix_nano),
        attributes: attributes(span.attributes),
        events: span
            .events
            .into_iter()
            .map(|event| (event.name, attributes(event.attributes)))
            .collect(),
        error: (status.code == 2).then_some(status.message),
        service: service.to_owned(),
    }
}

fn attributes(given: Vec<KeyValue>) -> Attributes {
    let text = |value| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        other => format!("{other:?}"),
    };
    given
        .into_iter()
        .map(|one| (one.key, text(one.value.and_then(|value| value.value))))
        .collect()
}

fn hex(id: &[u8]) -> String {
    let mut text = String::with_capacity(2 * id.len());
    for byte in id {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
