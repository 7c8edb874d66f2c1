//! The span that a call is sent from.

use celeriac_core::Message;
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;

use crate::headers;

/// The span that was current when it was asked for, if there was one.
#[derive(Debug, Clone, Default)]
pub struct Origin(Option<Context>);

impl Origin {
    /// That of this thread, now. A span of `tracing` is one if a layer of OpenTelemetry sees it.
    pub fn current() -> Self {
        let is_valid = Context::map_current(|context| context.span().span_context().is_valid());
        Self(is_valid.then(Context::current))
    }

    /// Has the message say that it was sent from there, unless it says already what caused it.
    pub fn mark(&self, message: &mut Message) {
        let extra = &mut message.headers.extra;
        if let Some(context) = &self.0
            && !extra.contains_key("traceparent")
        {
            headers::write(context, extra);
        }
    }
}
