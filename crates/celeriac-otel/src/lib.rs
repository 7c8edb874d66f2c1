//! Traces that go through tasks, whoever sent them, exported by OTLP over HTTP.
//!
//! A worker makes a span of each run, the child of what the message's `traceparent` names; spans of
//! `tracing` that a task opens are children of it. What is sent from within a span says so.
//!
//! Nothing of it is on unless the environment says where traces go. Spans wait in a bounded queue for a
//! thread that sends them; what does not fit is dropped.
//!
//! # Sources
//!
//! W3C Trace Context for the headers `traceparent` and `tracestate`, which stand among a message's headers as
//! `opentelemetry-instrumentation-celery` writes them; the variables of the OpenTelemetry
//! specification; its semantic conventions for messaging.

mod client;
mod environment;
mod headers;
mod origin;
mod run;

use std::fmt;
use std::sync::Arc;

use celeriac_worker::Tracer;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::registry::LookupSpan;

use self::client::Client;
use self::environment::Environment;
pub use self::origin::Origin;
use self::run::Runs;

/// What spans are known to be made by.
const SCOPE: &str = "celeriac";

/// Why no traces are exported although the environment asks for it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TracesError {
    /// A protocol that this program does not speak.
    #[error("{variable} asks for `{protocol}`, and only `http/protobuf` is spoken")]
    Protocol {
        /// Which variable asks for it.
        variable: &'static str,
        /// What it asks for.
        protocol: String,
    },
    /// A certificate that cannot be used.
    #[error("the certificates that collectors are trusted by cannot be read")]
    Certificate(#[source] std::io::Error),
    /// Something else that was set does not make sense.
    #[error("the exporter of traces cannot be set up")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The system gives no thread or no descriptor.
    #[error("the exporter of traces cannot be started")]
    Start(#[source] std::io::Error),
}

/// Spans on their way to a collector. Dropping it sends those that wait, for 5 s at most.
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// What the environment asks for: nothing, unless `OTEL_EXPORTER_OTLP_ENDPOINT` or
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set.
    ///
    /// # Errors
    ///
    /// [`TracesError`] if it does not make sense.
    pub fn from_environment() -> Result<Option<Self>, TracesError> {
        let environment = Environment::of(|name| std::env::var(name).ok());
        let Some(settings) = environment.settings()? else {
            return Ok(None);
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(&settings)?)
            .build()?;
        let mut resource = Resource::builder();
        if !settings.is_named {
            resource = resource.with_service_name(SCOPE);
        }
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_batch_exporter(exporter)
            .build();
        Ok(Some(Self { provider }))
    }

    /// Exports spans of `tracing`, from the level INFO on.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.sdk())
            .with_location(false)
            .with_threads(false)
            .with_filter(LevelFilter::INFO)
    }

    /// Makes spans of what a worker runs; `scheme` is that of its broker's URL, and `worker` its name.
    pub fn tracer(&self, scheme: &str, worker: &str) -> Arc<dyn Tracer> {
        let of_all = vec![
            KeyValue::new("messaging.system", system(scheme).to_owned()),
            KeyValue::new("messaging.client.id", worker.to_owned()),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.operation.name", run::OPERATION),
            KeyValue::new("celery.action", run::OPERATION),
        ];
        Arc::new(Runs::new(self.sdk(), of_all))
    }

    fn sdk(&self) -> SdkTracer {
        self.provider.tracer(SCOPE)
    }
}

/// What the conventions call the broker of URLs with this scheme.
fn system(scheme: &str) -> &str {
    let is = |name| scheme.contains(name);
    if is("amqp") {
        "rabbitmq"
    } else if is("redis") || is("sentinel") {
        "redis"
    } else {
        scheme
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Traces").finish_non_exhaustive()
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // What could not be sent was told by the client.
        let _ = self.provider.shutdown();
    }
}
