//! Values that a Python task receives as what they are: dates, UUIDs, decimals, bytes.

use bytes::Bytes;
use celeriac_core::{Tree, moment};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// A value that travels in kombu's form for its type.
///
/// Without it, a `jiff::Timestamp` among the arguments or in a result is a text to Python; with it,
/// a `datetime`. It is read from that form, and from the plain one of the type.
///
/// Reading needs no `Tagged`: a parameter of the plain type takes both forms.
///
/// ```
/// use celeriac_wire::Tagged;
/// use jiff::civil::date;
///
/// let due = Tagged(date(2030, 1, 2));
/// let json = serde_json::to_string(&due)?;
/// assert_eq!(json, r#"{"__type__":"date","__value__":"2030-01-02"}"#);
/// assert_eq!(serde_json::from_str::<Tagged<_>>(&json)?, due);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tagged<T>(pub T);

/// A type that kombu's JSON has a form of its own for.
pub trait Extended {
    /// What stands under `__type__` and under `__value__`.
    fn extended(&self) -> (&'static str, Tree);
}

/// A decimal number in its digits, as Python's `Decimal` has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Decimal(pub String);

impl Extended for Timestamp {
    fn extended(&self) -> (&'static str, Tree) {
        ("datetime", Tree::Text(moment::show(*self).to_string()))
    }
}

impl Extended for DateTime {
    fn extended(&self) -> (&'static str, Tree) {
        let text = format!("{}T{}", self.date(), clock(self.time()));
        ("datetime", Tree::Text(text))
    }
}

impl Extended for Date {
    fn extended(&self) -> (&'static str, Tree) {
        ("date", Tree::Text(self.to_string()))
    }
}

impl Extended for Time {
    fn extended(&self) -> (&'static str, Tree) {
        ("time", Tree::Text(clock(*self)))
    }
}

impl Extended for Uuid {
    fn extended(&self) -> (&'static str, Tree) {
        let hex = Tree::Text(self.simple().to_string());
        ("uuid", Tree::Map(vec![("hex".to_owned(), hex)]))
    }
}

impl Extended for Decimal {
    fn extended(&self) -> (&'static str, Tree) {
        ("decimal", Tree::Text(self.0.clone()))
    }
}

impl Extended for Bytes {
    fn extended(&self) -> (&'static str, Tree) {
        bytes(self)
    }
}

impl Extended for Vec<u8> {
    fn extended(&self) -> (&'static str, Tree) {
        bytes(self)
    }
}

/// Bytes that are text go as text, as kombu does it.
fn bytes(bytes: &[u8]) -> (&'static str, Tree) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return ("bytes", text.into());
    }
    let mut text = Vec::new();
    crate::base64::append(bytes, &mut text);
    let text = String::from_utf8(text).expect("base64 is ASCII");
    ("base64", Tree::Text(text))
}

/// A time of day with no fraction or with six digits: Python before 3.11 reads no other.
fn clock(time: Time) -> String {
    let whole = format!(
        "{:02}:{:02}:{:02}",
        time.hour(),
        time.minute(),
        time.second()
    );
    match time.subsec_nanosecond() / 1000 {
        0 => whole,
        us => format!("{whole}.{us:06}"),
    }
}

impl<T: Extended> Serialize for Tagged<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (tag, value) = self.0.extended();
        serializer.collect_map([("__type__", &Tree::from(tag)), ("__value__", &value)])
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Tagged<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tree = Tree::deserialize(deserializer)?;
        tree.read().map(Self).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{date, time};
    use std::fmt;

    fn survives<T: Extended + DeserializeOwned + PartialEq + fmt::Debug>(value: T, json: &str) {
        let tagged = Tagged(value);
        let text = serde_json::to_string(&tagged).unwrap();
        assert_eq!(text, json);
        assert_eq!(serde_json::from_str::<Tagged<T>>(&text).unwrap(), tagged);
        let packed = rmp_serde::to_vec_named(&tagged).unwrap();
        assert_eq!(rmp_serde::from_slice::<Tagged<T>>(&packed).unwrap(), tagged);
    }

    #[test]
    fn every_type_has_kombus_form() {
        let moment = date(2030, 1, 2).at(3, 4, 5, 678_000_000);
        survives(
            moment,
            r#"{"__type__":"datetime","__value__":"2030-01-02T03:04:05.678000"}"#,
        );
        survives(
            Timestamp::from_second(60).unwrap(),
            r#"{"__type__":"datetime","__value__":"1970-01-01T00:01:00+00:00"}"#,
        );
        survives(
            date(2030, 1, 2),
            r#"{"__type__":"date","__value__":"2030-01-02"}"#,
        );
        survives(
            time(3, 4, 5, 0),
            r#"{"__type__":"time","__value__":"03:04:05"}"#,
        );
        survives(
            Uuid::from_u128(0x1234),
            r#"{"__type__":"uuid","__value__":{"hex":"00000000000000000000000000001234"}}"#,
        );
        let price = Decimal("1.50".to_owned());
        survives(price, r#"{"__type__":"decimal","__value__":"1.50"}"#);
        survives(
            b"ascii".to_vec(),
            r#"{"__type__":"bytes","__value__":"ascii"}"#,
        );
        survives(
            Bytes::from_static(b"\xff\xfe\x00"),
            r#"{"__type__":"base64","__value__":"//4A"}"#,
        );
    }

    #[test]
    fn the_plain_form_is_read_too() {
        let read: Tagged<Date> = serde_json::from_str(r#""2030-01-02""#).unwrap();
        assert_eq!(read.0, date(2030, 1, 2));
        assert!(serde_json::from_str::<Tagged<Date>>("7").is_err());
    }
}
