//! Bodies and lists put together from values that are already encoded.
//!
//! The value of one step becomes an argument of the next without being decoded in between.

use crate::payload::{ContentType, PayloadError};

/// The body of a call: `[args, named, embed]` with `value`, if there is one, before `args`.
///
/// `args` is an encoded list and `named` an encoded map.
///
/// # Errors
///
/// [`PayloadError::Encode`] if `args` is no list.
pub fn body(
    content_type: ContentType,
    value: Option<&[u8]>,
    args: &[u8],
    named: &[u8],
) -> Result<Vec<u8>, PayloadError> {
    let mut out = Vec::with_capacity(args.len() + named.len() + value.map_or(0, <[u8]>::len) + 16);
    if content_type == ContentType::Msgpack {
        out.push(0x93);
        with_first(content_type, value, args, &mut out)?;
        out.extend_from_slice(named);
        out.push(0x80);
    } else {
        out.push(b'[');
        with_first(content_type, value, args, &mut out)?;
        out.push(b',');
        out.extend_from_slice(named);
        out.extend_from_slice(b",{}]");
    }
    Ok(out)
}

/// The encoded list `args` with `value` before its items.
///
/// # Errors
///
/// [`PayloadError::Encode`] if `args` is no list.
pub fn prepend(
    content_type: ContentType,
    value: &[u8],
    args: &[u8],
) -> Result<Vec<u8>, PayloadError> {
    let mut out = Vec::with_capacity(value.len() + args.len() + 8);
    with_first(content_type, Some(value), args, &mut out)?;
    Ok(out)
}

/// The list of `values`.
pub fn list<'a>(
    content_type: ContentType,
    values: impl ExactSizeIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut out = Vec::new();
    if content_type == ContentType::Msgpack {
        array_header(values.len(), &mut out);
        values.for_each(|value| out.extend_from_slice(value));
        return out;
    }
    out.push(b'[');
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(value);
    }
    out.push(b']');
    out
}

/// Appends `args` with `value` before its items.
fn with_first(
    content_type: ContentType,
    value: Option<&[u8]>,
    args: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), PayloadError> {
    let Some(value) = value else {
        out.extend_from_slice(args);
        return Ok(());
    };
    let no_list = || PayloadError::Encode {
        reason: "the arguments are no list".to_owned(),
    };
    if content_type == ContentType::Msgpack {
        let (count, items) = split_array_header(args).ok_or_else(no_list)?;
        array_header(count + 1, out);
        out.extend_from_slice(value);
        out.extend_from_slice(items);
        return Ok(());
    }
    let items = args
        .strip_prefix(b"[")
        .and_then(|rest| rest.strip_suffix(b"]"))
        .ok_or_else(no_list)?;
    out.push(b'[');
    out.extend_from_slice(value);
    if !items.trim_ascii().is_empty() {
        out.push(b',');
        out.extend_from_slice(items);
    }
    out.push(b']');
    Ok(())
}

/// Appends the header of a MessagePack array of `count` items.
fn array_header(count: usize, out: &mut Vec<u8>) {
    if let Some(small) = u8::try_from(count).ok().filter(|count| *count < 16) {
        out.push(0x90 | small);
    } else if let Ok(medium) = u16::try_from(count) {
        out.push(0xdc);
        out.extend_from_slice(&medium.to_be_bytes());
    } else {
        // More than 2^32 values have no form, and no memory.
        let large = u32::try_from(count).unwrap_or(u32::MAX);
        out.push(0xdd);
        out.extend_from_slice(&large.to_be_bytes());
    }
}

/// The number of items of a MessagePack array, and what is behind its header.
fn split_array_header(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [small @ 0x90..=0x9f, rest @ ..] => Some((usize::from(small & 0x0f), rest)),
        [0xdc, a, b, rest @ ..] => Some((usize::from(u16::from_be_bytes([*a, *b])), rest)),
        [0xdd, a, b, c, d, rest @ ..] => {
            let count = u32::from_be_bytes([*a, *b, *c, *d]);
            Some((usize::try_from(count).ok()?, rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn encode(content_type: ContentType, value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        content_type.encode_into(value, &mut out).unwrap();
        out
    }

    #[test]
    fn a_body_has_the_value_before_the_arguments() {
        for content_type in [ContentType::Json, ContentType::Msgpack] {
            for count in [0, 1, 14, 15, 16, 300, 65_535, 65_536] {
                let rest: Vec<Value> = (0..count).map(Value::from).collect();
                let args = encode(content_type, &Value::from(rest.clone()));
                let named = encode(content_type, &json!({"k": 1}));
                let value = encode(content_type, &json!(["v", null]));
                let with = body(content_type, Some(&value), &args, &named).unwrap();
                let (read, kwargs, _): (Vec<Value>, Value, Value) =
                    content_type.decode(&with).unwrap();
                assert_eq!((&read[0], &read[1..]), (&json!(["v", null]), &rest[..]));
                assert_eq!(kwargs, json!({"k": 1}));
                let without = body(content_type, None, &args, &named).unwrap();
                let (read, _, _): (Vec<Value>, Value, Value) =
                    content_type.decode(&without).unwrap();
                assert_eq!(read, rest);
            }
        }
    }

    #[test]
    fn a_list_holds_its_values_in_order() {
        for content_type in [ContentType::Json, ContentType::Msgpack] {
            for count in [0, 1, 15, 16, 70_000] {
                let values: Vec<Value> = (0..count).map(|n| json!({"n": n})).collect();
                let encoded: Vec<_> = values.iter().map(|v| encode(content_type, v)).collect();
                let list = list(content_type, encoded.iter().map(Vec::as_slice));
                assert_eq!(content_type.decode::<Vec<Value>>(&list).unwrap(), values);
            }
        }
    }

    #[test]
    fn arguments_that_are_no_list_are_refused() {
        for content_type in [ContentType::Json, ContentType::Msgpack] {
            let args = encode(content_type, &json!({"a": 1}));
            assert!(body(content_type, Some(b"1"), &args, b"{}").is_err());
            assert!(body(content_type, Some(b"1"), b"", b"{}").is_err());
        }
    }
}
