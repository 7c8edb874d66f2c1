//! The span of one run.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use celeriac_core::{Delivery, Message, Scope};
use celeriac_worker::{Reason, Span, SpanEnd, Tracer};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;

use crate::headers;

/// What a worker does with a message, by the name that Celery's own instrumentation gives it.
pub(crate) const OPERATION: &str = "run";

/// Makes spans of runs.
pub(crate) struct Runs {
    sdk: SdkTracer,
    /// What all of them have in common.
    of_all: Vec<KeyValue>,
}

impl Runs {
    pub(crate) fn new(sdk: SdkTracer, of_all: Vec<KeyValue>) -> Self {
        Self { sdk, of_all }
    }
}

impl fmt::Debug for Runs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Runs").finish_non_exhaustive()
    }
}

impl Tracer for Runs {
    fn begin(&self, delivery: &Delivery) -> Arc<dyn Span> {
        let begun = SystemTime::now();
        let head = &delivery.message.headers;
        let parent = headers::read(&head.extra);
        let mut attributes = self.of_all.clone();
        attributes.extend([
            KeyValue::new("messaging.destination.name", delivery.queue.to_string()),
            KeyValue::new("messaging.message.id", head.id.to_string()),
            KeyValue::new("celery.task_name", head.task.clone()),
        ]);
        if head.retries > 0 {
            attributes.push(KeyValue::new("celery.retries", i64::from(head.retries)));
        }
        let span = self
            .sdk
            .span_builder(format!("{OPERATION}/{}", head.task))
            .with_kind(SpanKind::Consumer)
            .with_start_time(begun)
            .with_attributes(attributes)
            .start_with_context(&self.sdk, &parent);
        Arc::new(Run {
            context: parent.with_span(span),
            begun,
        })
    }
}

/// One run, as what happens in it sees it.
struct Run {
    context: Context,
    begun: SystemTime,
}

impl Scope for Run {
    fn within(&self, step: &mut dyn FnMut()) {
        let _within = self.context.clone().attach();
        step();
    }
}

impl Span for Run {
    fn mark(&self, message: &mut Message) {
        headers::write(&self.context, &mut message.headers.extra);
    }

    fn end(&self, end: SpanEnd<'_>, after: Option<Duration>) {
        let ended = after.map_or_else(SystemTime::now, |after| self.begun + after);
        let span = self.context.span();
        let (state, reason) = match end {
            SpanEnd::Succeeded => ("SUCCESS", None),
            SpanEnd::Failed(reason) => ("FAILURE", Some(reason)),
            SpanEnd::Retried(reason) => ("RETRY", Some(reason)),
            SpanEnd::GivenBack(reason) => ("REQUEUED", Some(reason)),
            _ => ("", None),
        };
        span.set_attribute(KeyValue::new("celery.state", state));
        if let Some(reason) = reason {
            if reason.kind.is_empty() {
                span.set_status(Status::error(state));
            } else {
                span.set_attribute(KeyValue::new("error.type", reason.kind.to_owned()));
                span.set_status(Status::error(reason.message.to_owned()));
                span.add_event_with_timestamp("exception", ended, exception(&reason));
            }
        }
        span.end_with_timestamp(ended);
    }
}

/// An exception, by the conventions for events of that name.
fn exception(reason: &Reason<'_>) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("exception.type", reason.kind.to_owned()),
        KeyValue::new("exception.message", reason.message.to_owned()),
    ];
    if let Some(traceback) = reason.traceback {
        attributes.push(KeyValue::new("exception.stacktrace", traceback.to_owned()));
    }
    attributes
}
