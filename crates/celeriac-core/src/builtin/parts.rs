//! The parts of a body, found without decoding what is in them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::payload::ContentType;

/// A body `[args, named, embed]`, its values as the bytes they came in.
pub(super) struct Parts<'a> {
    /// The positional arguments, an encoded list.
    pub(super) args: &'a [u8],
    named: Vec<(String, &'a [u8])>,
}

/// What of a signature says which task it calls.
#[derive(Deserialize)]
pub(super) struct Subject {
    pub(super) task: String,
}

impl<'a> Parts<'a> {
    pub(super) fn read(content_type: ContentType, body: &'a [u8]) -> Option<Self> {
        let parts = split_list(content_type, body)?;
        let (&args, &named) = (parts.first()?, parts.get(1)?);
        Some(Self {
            args,
            named: split_map(content_type, named)?,
        })
    }

    /// The named argument `name`.
    pub(super) fn named(&self, name: &str) -> Option<&'a [u8]> {
        let mut found = self.named.iter().filter(|(other, _)| other == name);
        found.next().map(|(_, value)| *value)
    }
}

/// The items of an encoded list.
pub(super) fn split_list(content_type: ContentType, bytes: &[u8]) -> Option<Vec<&[u8]>> {
    if content_type != ContentType::Msgpack {
        let items: Vec<&RawValue> = serde_json::from_slice(bytes).ok()?;
        return Some(items.iter().map(|item| item.get().as_bytes()).collect());
    }
    let (marker, rest) = bytes.split_first()?;
    let (count, mut rest) = match marker {
        0x90..=0x9f => (u64::from(marker & 0x0f), rest),
        0xdc => number(rest, 2)?,
        0xdd => number(rest, 4)?,
        _ => return None,
    };
    let mut items = Vec::new();
    for _ in 0..count {
        let (item, after) = split_value(rest)?;
        items.push(item);
        rest = after;
    }
    Some(items)
}

/// The entries of an encoded map with text for keys.
fn split_map(content_type: ContentType, bytes: &[u8]) -> Option<Vec<(String, &[u8])>> {
    if content_type != ContentType::Msgpack {
        let entries: BTreeMap<String, &RawValue> = serde_json::from_slice(bytes).ok()?;
        let entries = entries.into_iter();
        return Some(
            entries
                .map(|(key, value)| (key, value.get().as_bytes()))
                .collect(),
        );
    }
    let (marker, rest) = bytes.split_first()?;
    let (count, mut rest) = match marker {
        0x80..=0x8f => (u64::from(marker & 0x0f), rest),
        0xde => number(rest, 2)?,
        0xdf => number(rest, 4)?,
        _ => return None,
    };
    let mut entries = Vec::new();
    for _ in 0..count {
        let (key, after) = split_value(rest)?;
        let (value, after) = split_value(after)?;
        entries.push((content_type.decode(key).ok()?, value));
        rest = after;
    }
    Some(entries)
}

/// A big-endian number of `size` bytes, and what is behind it.
fn number(bytes: &[u8], size: usize) -> Option<(u64, &[u8])> {
    let (digits, rest) = bytes.split_at_checked(size)?;
    let value = digits
        .iter()
        .fold(0, |value, digit| value << 8 | u64::from(*digit));
    Some((value, rest))
}

/// The first MessagePack value in `bytes`, and what is behind it.
fn split_value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = bytes;
    // Values still to come; a list or map adds its own.
    let mut left: u64 = 1;
    while left > 0 {
        let (&marker, after) = rest.split_first()?;
        let (content, values, after) = match marker {
            0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => (0, 0, after),
            0x80..=0x8f => (0, 2 * u64::from(marker & 0x0f), after),
            0x90..=0x9f => (0, u64::from(marker & 0x0f), after),
            0xa0..=0xbf => (u64::from(marker & 0x1f), 0, after),
            0xc4 | 0xd9 => sized(number(after, 1)?, 0),
            0xc5 | 0xda => sized(number(after, 2)?, 0),
            0xc6 | 0xdb => sized(number(after, 4)?, 0),
            // An extension has one byte for its type.
            0xc7 => sized(number(after, 1)?, 1),
            0xc8 => sized(number(after, 2)?, 1),
            0xc9 => sized(number(after, 4)?, 1),
            0xcc | 0xd0 => (1, 0, after),
            0xcd | 0xd1 => (2, 0, after),
            0xca | 0xce | 0xd2 => (4, 0, after),
            0xcb | 0xcf | 0xd3 => (8, 0, after),
            0xd4..=0xd8 => (1 + (1 << (marker - 0xd4)), 0, after),
            0xdc => many(number(after, 2)?, 1),
            0xdd => many(number(after, 4)?, 1),
            0xde => many(number(after, 2)?, 2),
            0xdf => many(number(after, 4)?, 2),
            0xc1 => return None,
        };
        rest = after.get(usize::try_from(content).ok()?..)?;
        left = left - 1 + values;
    }
    Some(bytes.split_at(bytes.len() - rest.len()))
}

/// As many bytes of content as the number says, and `more`.
fn sized((size, after): (u64, &[u8]), more: u64) -> (u64, u64, &[u8]) {
    (size + more, 0, after)
}

/// `each` values for every one that the number counts.
fn many((count, after): (u64, &[u8]), each: u64) -> (u64, u64, &[u8]) {
    (0, count * each, after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn msgpack<T: serde::Serialize + ?Sized>(value: &T) -> Vec<u8> {
        let mut out = Vec::new();
        ContentType::Msgpack.encode_into(value, &mut out).unwrap();
        out
    }

    fn values() -> Vec<Value> {
        let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
        vec![
            json!(null),
            json!(true),
            json!(7),
            json!(200),
            json!(60_000),
            json!(5_000_000_000_u64),
            json!(-1),
            json!(-200),
            json!(-60_000),
            json!(1.5),
            json!("x"),
            json!("y".repeat(40)),
            json!("z".repeat(300)),
            json!("w".repeat(70_000)),
            json!(vec![1; 20]),
            json!(vec![1; 70_000]),
            (0..20).map(|n| (n.to_string(), json!([n]))).collect(),
            deep,
        ]
    }

    #[test]
    fn a_list_is_split_at_its_items() {
        let items = values();
        let whole = msgpack(&items);
        let split = split_list(ContentType::Msgpack, &whole).unwrap();
        let read: Vec<Value> = split
            .iter()
            .map(|item| ContentType::Msgpack.decode(item).unwrap())
            .collect();
        assert_eq!(read, items);
    }

    #[test]
    fn bytes_and_extensions_are_passed_over() {
        for value in [
            vec![0xc4, 2, 1, 2],
            vec![0xc5, 0, 1, 1],
            vec![0xc6, 0, 0, 0, 1, 1],
            vec![0xc7, 1, 5, 9],
            vec![0xc8, 0, 1, 5, 9],
            vec![0xc9, 0, 0, 0, 1, 5, 9],
            vec![0xd4, 5, 9],
            vec![
                0xd8, 5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
            ],
            vec![0xca, 0, 0, 0, 0],
        ] {
            let mut list = vec![0x92];
            list.extend_from_slice(&value);
            list.push(0x01);
            let split = split_list(ContentType::Msgpack, &list).unwrap();
            assert_eq!(split, [&value[..], &[1]]);
        }
    }

    #[test]
    fn what_is_cut_short_is_no_list() {
        let whole = msgpack(&values());
        for end in (0..200).chain(whole.len() - 200..whole.len()) {
            assert!(split_list(ContentType::Msgpack, &whole[..end]).is_none());
        }
        for junk in [&[0xc1][..], &[0x91, 0xc1], &[0xdd, 255, 255, 255, 255]] {
            assert!(split_list(ContentType::Msgpack, junk).is_none());
        }
    }

    #[test]
    fn parts_are_found_in_both_content_types() {
        let body = json!([[1, "x"], {"index": 3, "other": [4]}, {"chain": null}]);
        let json = serde_json::to_vec(&body).unwrap();
        for (content_type, bytes) in [
            (ContentType::Json, json),
            (ContentType::Msgpack, msgpack(&body)),
        ] {
            let parts = Parts::read(content_type, &bytes).unwrap();
            assert_eq!(
                content_type.decode::<Value>(parts.args).unwrap(),
                json!([1, "x"])
            );
            let index = parts.named("index").unwrap();
            assert_eq!(content_type.decode::<u8>(index).unwrap(), 3);
            assert!(parts.named("none").is_none());
        }
    }
}
