//! A tree as JSON, and as whatever serde writes.

use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};

use super::Tree;

pub(super) fn json(tree: &Tree, out: &mut Vec<u8>) {
    write(&Json, tree, out);
}

pub(super) fn yaml(tree: &Tree, out: &mut Vec<u8>) {
    write(&Yaml, tree, out);
}

/// What JSON and YAML write in different ways.
trait Notation {
    fn number(&self, number: &str, out: &mut Vec<u8>);
    fn text(&self, text: &str, out: &mut Vec<u8>);
    fn bytes(&self, bytes: &[u8], out: &mut Vec<u8>);
    const COMMA: &'static [u8];
    const COLON: &'static [u8];
}

fn write<N: Notation>(notation: &N, tree: &Tree, out: &mut Vec<u8>) {
    match tree {
        Tree::Null => out.extend_from_slice(b"null"),
        Tree::Bool(true) => out.extend_from_slice(b"true"),
        Tree::Bool(false) => out.extend_from_slice(b"false"),
        Tree::Number(number) => notation.number(number, out),
        Tree::Text(text) => notation.text(text, out),
        Tree::Bytes(bytes) => notation.bytes(bytes, out),
        Tree::List(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.extend_from_slice(N::COMMA);
                }
                write(notation, item, out);
            }
            out.push(b']');
        }
        Tree::Map(fields) => {
            out.push(b'{');
            for (index, (name, value)) in fields.iter().enumerate() {
                if index > 0 {
                    out.extend_from_slice(N::COMMA);
                }
                notation.text(name, out);
                out.extend_from_slice(N::COLON);
                write(notation, value, out);
            }
            out.push(b'}');
        }
    }
}

struct Json;

impl Notation for Json {
    fn number(&self, number: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(number.as_bytes());
    }

    fn text(&self, text: &str, out: &mut Vec<u8>) {
        quoted(text, out);
    }

    fn bytes(&self, bytes: &[u8], out: &mut Vec<u8>) {
        tagged_bytes(bytes, out);
    }

    const COMMA: &'static [u8] = b",";
    const COLON: &'static [u8] = b":";
}

struct Yaml;

impl Notation for Yaml {
    /// A float has a point, and its exponent a sign.
    fn number(&self, number: &str, out: &mut Vec<u8>) {
        let text = match number {
            "NaN" => ".nan".to_owned(),
            "Infinity" => ".inf".to_owned(),
            "-Infinity" => "-.inf".to_owned(),
            _ => match number.split_once(['e', 'E']) {
                Some((digits, exponent)) => {
                    let point = if digits.contains('.') { "" } else { ".0" };
                    let sign = if exponent.starts_with(['-', '+']) {
                        ""
                    } else {
                        "+"
                    };
                    format!("{digits}{point}e{sign}{exponent}")
                }
                None => number.to_owned(),
            },
        };
        out.extend_from_slice(text.as_bytes());
    }

    /// In quotes and ASCII, because PyYAML refuses some characters that JSON leaves as they are.
    fn text(&self, text: &str, out: &mut Vec<u8>) {
        out.push(b'"');
        for character in text.chars() {
            match character {
                '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
                ' '..='~' => out.push(character as u8),
                _ => out.extend_from_slice(format!("\\U{:08x}", u32::from(character)).as_bytes()),
            }
        }
        out.push(b'"');
    }

    fn bytes(&self, bytes: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"!!binary ");
        self.text(&base64(bytes), out);
    }

    const COMMA: &'static [u8] = b", ";
    const COLON: &'static [u8] = b": ";
}

fn quoted(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("every text has a form in JSON");
}

/// Bytes as kombu puts them into JSON: as text if they are text, else in base64.
fn tagged_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let (tag, text) = match std::str::from_utf8(bytes) {
        Ok(text) => ("bytes", text.to_owned()),
        Err(_) => ("base64", base64(bytes)),
    };
    out.extend_from_slice(b"{\"__type__\":");
    quoted(tag, out);
    out.extend_from_slice(b",\"__value__\":");
    quoted(&text, out);
    out.push(b'}');
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes in base64 with padding. Only what is rare passes here; bodies have a faster way.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|index| three.get(index).copied().unwrap_or(0));
        let sextets = [
            a >> 2,
            (a & 3) << 4 | b >> 4,
            (b & 15) << 2 | c >> 6,
            c & 63,
        ];
        for (index, sextet) in sextets.into_iter().enumerate() {
            let padding = index > three.len();
            text.push(if padding {
                '='
            } else {
                ALPHABET[usize::from(sextet)].into()
            });
        }
    }
    text
}

/// The bytes of base64 with padding.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for (index, four) in text.chunks(4).enumerate() {
        let last = (index + 1) * 4 == text.len();
        let padding = four.iter().rev().take_while(|byte| **byte == b'=').count();
        if padding > 2 || (padding > 0 && !last) {
            return None;
        }
        let mut bits = 0_u32;
        for byte in &four[..4 - padding] {
            let sextet = ALPHABET.iter().position(|known| known == byte)?;
            bits = bits << 6 | u32::try_from(sextet).ok()?;
        }
        bits <<= 6 * padding;
        let [_, a, b, c] = bits.to_be_bytes();
        bytes.extend_from_slice(&[a, b, c][..3 - padding]);
    }
    Some(bytes)
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => serialize_number(number, serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Self::Map(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

/// A number as the smallest type that holds it.
fn serialize_number<S: Serializer>(number: &str, serializer: S) -> Result<S::Ok, S::Error> {
    if let Ok(number) = number.parse() {
        return serializer.serialize_i64(number);
    }
    if let Ok(number) = number.parse() {
        return serializer.serialize_u64(number);
    }
    if let Ok(number) = number.parse() {
        return serializer.serialize_i128(number);
    }
    match super::read::float(number) {
        Some(number) => serializer.serialize_f64(number),
        None => Err(serde::ser::Error::custom("a number has no form")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_kombu_does() {
        let text = |bytes: &[u8]| Tree::Bytes(bytes.to_vec()).to_json();
        assert_eq!(
            text(b"ascii"),
            r#"{"__type__":"bytes","__value__":"ascii"}"#
        );
        assert_eq!(
            text(b"\xff\xfe\x00"),
            r#"{"__type__":"base64","__value__":"//4A"}"#
        );
    }

    #[test]
    fn base64_is_read_and_written() {
        for length in 0..40 {
            let bytes: Vec<u8> = (0..length).map(|n: u8| n.wrapping_mul(97)).collect();
            assert_eq!(from_base64(&base64(&bytes)), Some(bytes));
        }
        for bad in ["A", "AA=", "A===", "AA==AAAA", "!!!!"] {
            assert_eq!(from_base64(bad), None, "{bad}");
        }
    }
}
