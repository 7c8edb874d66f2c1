//! Finding the three parts of a body in MessagePack without reading what is in them.
//!
//! # Sources
//!
//! The formats are those of the MessagePack specification.

use bytes::Bytes;
use celeriac_core::{ContentType, Tree};

/// The three items of a list.
pub(super) fn split(bytes: &Bytes) -> Option<[Bytes; 3]> {
    // A list of three, in its short form and in the two long ones.
    let ([0x93, rest @ ..] | [0xdc, 0, 3, rest @ ..] | [0xdd, 0, 0, 0, 3, rest @ ..]) = &bytes[..]
    else {
        return None;
    };
    let mut rest = rest;
    let mut parts = [&b""[..]; 3];
    for part in &mut parts {
        let end = rest.len() - skip(rest)?.len();
        *part = &rest[..end];
        rest = &rest[end..];
    }
    let is_list = matches!(parts[0].first()?, 0x90..=0x9f | 0xdc | 0xdd);
    let is_map = matches!(parts[1].first()?, 0x80..=0x8f | 0xde | 0xdf);
    (rest.is_empty() && is_list && is_map).then(|| parts.map(|part| bytes.slice_ref(part)))
}

/// What stands behind the first value of `bytes`.
fn skip(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes;
    // How many values are still to be skipped: lists and maps add theirs.
    let mut values = 1_u64;
    while values > 0 {
        values -= 1;
        let (marker, after) = rest.split_first()?;
        let (length_bytes, fixed) = shape(*marker)?;
        let length = big_endian(after.get(..length_bytes)?);
        rest = &after[length_bytes..];
        let (size, inner) = match marker {
            0x80..=0x8f => (0, 2 * u64::from(marker & 0x0f)),
            0x90..=0x9f => (0, u64::from(marker & 0x0f)),
            0xa0..=0xbf => (u64::from(marker & 0x1f), 0),
            0xdc | 0xdd => (0, length),
            0xde | 0xdf => (0, 2 * length),
            _ => (length + fixed, 0),
        };
        rest = rest.get(usize::try_from(size).ok()?..)?;
        values = values.checked_add(inner)?;
    }
    Some(rest)
}

/// How many bytes of length follow a marker, and how many bytes of value beside those.
fn shape(marker: u8) -> Option<(usize, u64)> {
    Some(match marker {
        0xc1 => return None,
        0xc4 | 0xd9 => (1, 0),
        0xc5 | 0xda | 0xdc | 0xde => (2, 0),
        0xc6 | 0xdb | 0xdd | 0xdf => (4, 0),
        0xc7 => (1, 1),
        0xc8 => (2, 1),
        0xc9 => (4, 1),
        0xca | 0xce | 0xd2 => (0, 4),
        0xcb | 0xcf | 0xd3 => (0, 8),
        0xcc | 0xd0 => (0, 1),
        0xcd | 0xd1 | 0xd4 => (0, 2),
        0xd5 => (0, 3),
        0xd6 => (0, 5),
        0xd7 => (0, 9),
        0xd8 => (0, 17),
        _ => (0, 0),
    })
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A tree in MessagePack. An integer beyond what it can hold becomes its digits.
pub(super) fn encode(tree: Tree) -> Vec<u8> {
    let mut out = Vec::new();
    ContentType::Msgpack
        .encode_into(&without_large(tree), &mut out)
        .expect("texts, bytes, lists, maps and numbers of 64 bits have a form");
    out
}

fn without_large(tree: Tree) -> Tree {
    match tree {
        Tree::Number(number) if is_large(&number) => Tree::Text(number.into()),
        Tree::List(items) => Tree::List(items.into_iter().map(without_large).collect()),
        Tree::Map(fields) => {
            let smaller = |(name, tree)| (name, without_large(tree));
            Tree::Map(fields.into_iter().map(smaller).collect())
        }
        other => other,
    }
}

fn is_large(number: &str) -> bool {
    let integer = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'-');
    integer && number.parse::<i64>().is_err() && number.parse::<u64>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_skipped_to_the_byte() {
        let long_text = [&[0xda, 1, 0][..], &[b'x'; 256]].concat();
        let values: [&[u8]; 22] = [
            b"\x00",
            b"\xff",
            b"\xc0",
            b"\xc2",
            b"\xa1x",
            b"\xc4\x01x",
            b"\xc5\0\x01x",
            b"\xca\0\0\0\0",
            b"\xcb\0\0\0\0\0\0\0\0",
            b"\xcc\0",
            b"\xcd\0\0",
            b"\xd3\0\0\0\0\0\0\0\0",
            b"\xc7\x01\x05x",
            b"\xd4\x05x",
            b"\xd6\x05xxxx",
            b"\xd8\x050123456789abcdef",
            b"\x92\x91\x01\xc0",
            b"\x81\xa1a\x92\x01\x02",
            b"\xdc\0\x02\x01\x02",
            b"\xde\0\x01\x01\x02",
            b"\xdd\0\0\0\x01\xa0",
            &long_text,
        ];
        for value in values {
            let followed = [value, b"rest"].concat();
            assert_eq!(skip(&followed), Some(&b"rest"[..]), "{value:x?}");
            assert_eq!(skip(&value[..value.len() - 1]), None, "{value:x?}");
        }
        assert_eq!(skip(b"\xc1"), None);
        assert_eq!(skip(b"\xdd\xff\xff\xff\xff"), None);
    }

    #[test]
    fn an_integer_that_does_not_fit_becomes_its_digits() {
        let tree = Tree::parse(b"[123456789012345678901234567890, 1]").unwrap();
        let back = Tree::decode(ContentType::Msgpack, &encode(tree)).unwrap();
        assert_eq!(back.to_json(), r#"["123456789012345678901234567890",1]"#);
    }
}
