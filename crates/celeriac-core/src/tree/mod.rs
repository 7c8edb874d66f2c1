//! Values of any content type as a tree that loses nothing: the slow and exact way to read them.
//!
//! Bodies are read straight into the types of a task where that works. Where it does not, because
//! Python wrote `NaN`, an integer of 30 digits, a date or bytes, or because arguments come by name,
//! they are read into a [`Tree`] first.
//!
//! # What becomes of Python's types
//!
//! Kombu writes types that JSON has no form for as an object of `__type__` and `__value__`. To a
//! parameter of a Rust type that is read from text, such as `jiff::Timestamp`, `jiff::civil::Date`,
//! `uuid::Uuid` or `String`, such an object is that text; to one that is read from bytes or a list
//! of `u8`, it is bytes. To a type that takes whatever comes, such as `serde_json::Value`, it stays
//! the object that it is.
//!
//! | Python | Rust |
//! | --- | --- |
//! | `datetime` with a zone; without | `jiff::Timestamp`; `jiff::civil::DateTime` |
//! | `date`, `time` | `jiff::civil::Date`, `jiff::civil::Time` |
//! | `uuid.UUID` | `uuid::Uuid` |
//! | `Decimal` | `String` |
//! | `bytes` | `Vec<u8>`, `bytes::Bytes` |
//! | `int` beyond 64 bits | `i128`, `u128`; beyond these `String` |
//! | `float` that is `nan` or infinite | `f64` |

mod capture;
mod error;
mod parse;
mod parts;
mod read;
mod write;
#[cfg(feature = "yaml")]
mod yaml;

use crate::payload::{ContentType, PayloadError};

pub use error::ReadError;

/// A value of JSON, and of what MessagePack and YAML have beyond it.
///
/// Numbers are kept as text, so that none is rounded, and maps keep their order.
///
/// ```
/// # use celeriac_core::Tree;
/// let tree = Tree::parse(br#"{"big": 123456789012345678901234567890, "not": NaN}"#)?;
/// assert_eq!(tree.to_json(), r#"{"big":123456789012345678901234567890,"not":NaN}"#);
/// # Ok::<(), celeriac_core::tree::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number in JSON's notation, or `NaN`, `Infinity`, `-Infinity`.
    Number(Box<str>),
    /// A text.
    Text(String),
    /// Bytes, which JSON has no form for; they are written as kombu writes them.
    Bytes(Vec<u8>),
    /// Values in order.
    List(Vec<Tree>),
    /// Values by name, in the order they came in.
    Map(Vec<(String, Tree)>),
}

/// Bytes that are no JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {offset}")]
pub struct ParseError {
    pub(crate) problem: &'static str,
    pub(crate) offset: usize,
}

impl Tree {
    /// Reads JSON as Python writes it: `NaN`, `Infinity` and `-Infinity` are numbers.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if the bytes are no JSON, or are nested deeper than 128 levels.
    pub fn parse(json: &[u8]) -> Result<Self, ParseError> {
        parse::parse(json)
    }

    /// Reads `bytes` of any content type that can be read.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Decode`] if they are not of that content type, or it cannot be read.
    pub fn decode(content_type: ContentType, bytes: &[u8]) -> Result<Self, PayloadError> {
        content_type.tree(bytes)
    }

    /// The JSON of it, as Python reads it.
    pub fn to_json(&self) -> String {
        let mut out = Vec::new();
        self.write_json(&mut out);
        String::from_utf8(out).expect("only texts are written")
    }

    /// Appends the JSON of it to `out`.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        write::json(self, out);
    }

    /// YAML that PyYAML reads as the same value: JSON in ASCII, but for numbers and bytes.
    pub fn to_yaml(&self) -> String {
        let mut out = Vec::new();
        write::yaml(self, &mut out);
        String::from_utf8(out).expect("only ASCII is written")
    }

    /// Reads YAML as PyYAML's safe loader does.
    #[cfg(feature = "yaml")]
    pub(crate) fn parse_yaml(yaml: &[u8]) -> Result<Self, String> {
        yaml::parse(yaml).map_err(ToOwned::to_owned)
    }

    /// The value of this name, if it is a map that has one.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(fields) => fields
                .iter()
                .find(|field| field.0 == name)
                .map(|field| &field.1),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What it is, for people: `a text`, `a list`.
    pub(crate) fn sort(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// The fields `__type__` and `__value__`, if it is a map of exactly these.
    pub fn as_tagged(&self) -> Option<(&str, &Self)> {
        match self {
            Self::Map(fields) if fields.len() == 2 => {
                Some((self.get("__type__")?.as_text()?, self.get("__value__")?))
            }
            _ => None,
        }
    }
}

impl From<&str> for Tree {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<serde_json::Value> for Tree {
    fn from(value: serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(flag),
            Value::Number(number) => Self::Number(number.to_string().into()),
            Value::String(text) => Self::Text(text),
            Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Value::Object(fields) => Self::Map(
                fields
                    .into_iter()
                    .map(|(name, value)| (name, value.into()))
                    .collect(),
            ),
        }
    }
}
