//! A message's own headers, as what carries a trace.

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use serde_json::{Map, Value};

/// The headers beside those that celeriac knows.
type Extra = Map<String, Value>;

struct From<'a>(&'a Extra);

impl Extractor for From<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

struct Into<'a>(&'a mut Extra);

impl Injector for Into<'_> {
    fn set(&mut self, key: &str, value: String) {
        if value.is_empty() {
            self.0.remove(key);
        } else {
            self.0.insert(key.to_owned(), value.into());
        }
    }
}

/// What `headers` say the message is caused by.
pub(crate) fn read(headers: &Extra) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &From(headers))
}

/// Has `headers` say that the message is caused by the span of `context`, if it has one.
pub(crate) fn write(context: &Context, headers: &mut Extra) {
    TraceContextPropagator::new().inject_context(context, &mut Into(headers));
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::TraceContextExt as _;
    use serde_json::json;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(value: Value) -> Extra {
        match value {
            Value::Object(headers) => headers,
            _ => unreachable!("it is given as one"),
        }
    }

    #[test]
    fn what_is_read_is_written_again() {
        let given = headers(json!({"traceparent": PARENT, "tracestate": "a=1", "mine": 7}));
        let mut written = headers(json!({"mine": 8}));
        write(&read(&given), &mut written);
        let wanted = json!({"traceparent": PARENT, "tracestate": "a=1", "mine": 8});
        assert_eq!(Value::Object(written), wanted);
    }

    #[test]
    fn an_old_state_does_not_stand_beside_a_new_parent() {
        let mut written = headers(json!({"tracestate": "old=1"}));
        write(
            &read(&headers(json!({"traceparent": PARENT}))),
            &mut written,
        );
        assert_eq!(Value::Object(written), json!({"traceparent": PARENT}));
    }

    #[test]
    fn what_is_no_parent_is_none() {
        for value in [
            json!("00-0-0-01"),
            json!(7),
            json!({"a": 1}),
            json!("\u{0}"),
        ] {
            let context = read(&headers(json!({"traceparent": value})));
            assert!(!context.span().span_context().is_valid(), "{value}");
        }
    }
}
