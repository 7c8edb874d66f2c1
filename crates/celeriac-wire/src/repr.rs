//! Values as Python shows them, for people who read events and lists.

use std::fmt::Write as _;

use celeriac_core::{ContentType, Payload, TaskError};
use serde_json::Value;

/// The most bytes that are shown of a value: what Celery shows of one.
const MOST_BYTES: usize = 1024;

/// What is larger is not taken apart to be shown.
const MOST_READ_BYTES: usize = 4 * MOST_BYTES;

/// A value as Python's `repr` has it, shortened if it is long.
///
/// ```
/// use celeriac_wire::repr;
///
/// let value = serde_json::json!([1, 2.0, null, true, {"a": "it's"}]);
/// assert_eq!(repr::value(&value), r#"[1, 2.0, None, True, {'a': "it's"}]"#);
/// ```
pub fn value(value: &Value) -> String {
    let mut out = String::new();
    put(&mut out, value);
    shorten(&mut out);
    out
}

/// Arguments in their order, as Python shows a tuple.
///
/// ```
/// use celeriac_wire::repr;
///
/// assert_eq!(repr::arguments(&serde_json::json!([2, "x"])), "(2, 'x')");
/// assert_eq!(repr::arguments(&serde_json::json!([2])), "(2,)");
/// ```
pub fn arguments(list: &Value) -> String {
    let Value::Array(items) = list else {
        return value(list);
    };
    let mut out = String::from("(");
    put_all(&mut out, items);
    out.push_str(if items.len() == 1 { ",)" } else { ")" });
    shorten(&mut out);
    out
}

/// What is encoded in `payload`, if that can be read without running anything.
///
/// Of a large JSON text the beginning is shown as it stands.
pub fn payload(payload: &Payload) -> String {
    if payload.bytes.len() > MOST_READ_BYTES {
        return beginning(payload);
    }
    decoded(payload).map_or_else(|| unread(payload), |decoded| value(&decoded))
}

/// The arguments of a call and its named ones, if its body can be read without running anything and is
/// not large.
///
/// ```
/// use celeriac_core::{ContentType, Payload};
/// use celeriac_wire::repr;
///
/// let body = Payload::encode(ContentType::Json, &serde_json::json!([[2, "x"], {"y": null}, {}]))?;
/// let shown = ("(2, 'x')".to_owned(), "{'y': None}".to_owned());
/// assert_eq!(repr::call(&body), Some(shown));
/// # Ok::<(), celeriac_core::PayloadError>(())
/// ```
pub fn call(body: &Payload) -> Option<(String, String)> {
    if body.bytes.len() > MOST_READ_BYTES {
        return None;
    }
    let decoded = decoded(body)?;
    Some((arguments(decoded.get(0)?), value(decoded.get(1)?)))
}

fn decoded(payload: &Payload) -> Option<Value> {
    if payload.content_type == ContentType::Json {
        return serde_json::from_slice(&payload.bytes).ok();
    }
    let tree = celeriac_core::Tree::decode(payload.content_type, &payload.bytes).ok()?;
    serde_json::from_str(&tree.to_json()).ok()
}

fn beginning(payload: &Payload) -> String {
    if payload.content_type != ContentType::Json {
        return unread(payload);
    }
    let text = String::from_utf8_lossy(&payload.bytes[..2 * MOST_BYTES]);
    let mut text = text.into_owned();
    shorten(&mut text);
    text
}

fn unread(payload: &Payload) -> String {
    format!("<{} bytes>", payload.bytes.len())
}

/// An error as the exception that Python has for it: `ValueError('boom')`.
pub fn exception(error: &TaskError, task: &str) -> String {
    let stored = crate::result::exception_of(error, task);
    let class = stored["exc_type"].as_str().unwrap_or("Exception");
    let mut out = String::from(class);
    out.push('(');
    let arguments = &stored["exc_message"];
    match arguments {
        Value::Array(several) => put_all(&mut out, several),
        Value::Null => {}
        single => put(&mut out, single),
    }
    out.push(')');
    shorten(&mut out);
    out
}

fn shorten(out: &mut String) {
    if out.len() > MOST_BYTES {
        let mut end = MOST_BYTES - 3;
        while !out.is_char_boundary(end) {
            end -= 1;
        }
        out.truncate(end);
        out.push_str("...");
    }
}

/// Nothing is added to what is long enough: a large value takes no longer than it is shown.
fn put(out: &mut String, value: &Value) {
    if out.len() > MOST_BYTES {
        return;
    }
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => {
            let _ = write!(out, "{number}");
        }
        Value::String(text) => put_text(out, text),
        Value::Array(items) => {
            out.push('[');
            put_all(out, items);
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (place, (name, value)) in fields.iter().enumerate() {
                if place > 0 {
                    out.push_str(", ");
                }
                put_text(out, name);
                out.push_str(": ");
                put(out, value);
                if out.len() > MOST_BYTES {
                    break;
                }
            }
            out.push('}');
        }
    }
}

fn put_all(out: &mut String, items: &[Value]) {
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push_str(", ");
        }
        put(out, item);
        if out.len() > MOST_BYTES {
            break;
        }
    }
}

/// Text in the quotes that it does not contain, single ones first.
fn put_text(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for letter in text.chars().take(MOST_BYTES) {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            letter if letter == quote => {
                out.push('\\');
                out.push(letter);
            }
            letter if letter.is_control() => {
                let _ = match u32::from(letter) {
                    code @ 0..=0xff => write!(out, "\\x{code:02x}"),
                    code => write!(out, "\\u{code:04x}"),
                };
            }
            letter => out.push(letter),
        }
    }
    out.push(quote);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_is_quoted_as_python_does() {
        for (text, expected) in [
            ("a", "'a'"),
            ("it's", "\"it's\""),
            ("\"it's\"", "'\"it\\'s\"'"),
            ("a\nb\u{1}\\", "'a\\nb\\x01\\\\'"),
        ] {
            assert_eq!(value(&json!(text)), expected);
        }
    }

    #[test]
    fn what_is_long_is_cut() {
        let long = value(&json!(vec!["é".repeat(300); 10_000]));
        assert!(
            long.len() <= MOST_BYTES && long.ends_with("..."),
            "{}",
            long.len()
        );
    }

    #[test]
    fn an_error_is_shown_as_its_exception() {
        let error = TaskError::new(celeriac_core::ErrorKind::Failed, "boom");
        assert_eq!(exception(&error, "t"), "TaskError('boom')");
        let revoked = TaskError::cancelled();
        assert_eq!(exception(&revoked, "t"), "TaskRevokedError('revoked')");
    }
}
