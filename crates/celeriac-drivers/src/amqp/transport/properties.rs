//! What AMQP says of a message besides its body.
//!
//! ```text
//! flags (2 bytes) · those of the 14 values that the flags name, in their order
//! ```

use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::frame::put_short;
use super::headers::Headers;
use super::reader::Reader;
use super::table;

/// The properties in their order, of which the first has the highest bit of the flags.
const CONTENT_TYPE: usize = 0;
const CONTENT_ENCODING: usize = 1;
const HEADERS: usize = 2;
const DELIVERY_MODE: usize = 3;
const PRIORITY: usize = 4;
const CORRELATION_ID: usize = 5;
const REPLY_TO: usize = 6;
const TIMESTAMP: usize = 9;
const COUNT: usize = 14;

/// The properties and headers of one message, as they came: those that we do not know are kept.
#[derive(Debug, Clone)]
pub(crate) struct Properties {
    bytes: Bytes,
    /// Where the content of each that is there stands.
    at: [Option<(u32, u32)>; COUNT],
}

/// What a new message says of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Description<'a> {
    pub(crate) content_type: &'a str,
    pub(crate) content_encoding: &'a str,
    pub(crate) correlation_id: Option<&'a str>,
    pub(crate) reply_to: Option<&'a str>,
    pub(crate) priority: Option<u8>,
    pub(crate) persistent: bool,
}

fn flag(property: usize) -> u16 {
    1 << (15 - property)
}

impl Default for Properties {
    /// None.
    fn default() -> Self {
        Self {
            bytes: Bytes::from_static(&[0, 0]),
            at: [None; COUNT],
        }
    }
}

impl Properties {
    /// The properties of a new message, or why there can be none.
    pub(crate) fn new(
        description: &Description<'_>,
        headers: &Map<String, Value>,
    ) -> Result<Self, String> {
        let mut flags = flag(CONTENT_TYPE) | flag(CONTENT_ENCODING) | flag(DELIVERY_MODE);
        let mut out = vec![0, 0];
        put(&mut out, description.content_type)?;
        put(&mut out, description.content_encoding)?;
        if !headers.is_empty() {
            flags |= flag(HEADERS);
            table::put_sized(&mut out, |out| table::put_entries(out, headers))?;
        }
        out.push(if description.persistent { 2 } else { 1 });
        if let Some(priority) = description.priority {
            flags |= flag(PRIORITY);
            out.push(priority);
        }
        let texts = [
            (CORRELATION_ID, description.correlation_id),
            (REPLY_TO, description.reply_to),
        ];
        for (property, text) in texts {
            if let Some(text) = text {
                flags |= flag(property);
                put(&mut out, text)?;
            }
        }
        out[..2].copy_from_slice(&flags.to_be_bytes());
        Self::read(&out).ok_or_else(|| "headers are too large".to_owned())
    }

    /// The properties in these bytes; nothing if they are not made as AMQP makes them.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let flags = reader.u16()?;
        let mut at = [None; COUNT];
        for (property, at) in at.iter_mut().enumerate() {
            if flags & flag(property) == 0 {
                continue;
            }
            let content = match property {
                HEADERS => reader.long()?,
                DELIVERY_MODE | PRIORITY => reader.take(1)?,
                TIMESTAMP => reader.take(8)?,
                _ => reader.short()?,
            };
            let end = u32::try_from(bytes.len() - reader.0.len()).ok()?;
            *at = Some((end - u32::try_from(content.len()).ok()?, end));
        }
        // Neither more flags nor more bytes than there are properties.
        let is_whole = flags.trailing_zeros() >= 2 && reader.0.is_empty();
        is_whole.then(|| Self {
            bytes: Bytes::copy_from_slice(bytes),
            at,
        })
    }

    /// As they are written.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn range(&self, property: usize) -> Option<Range<usize>> {
        let (start, end) = self.at[property]?;
        Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }

    fn content(&self, property: usize) -> Option<&[u8]> {
        self.range(property).map(|range| &self.bytes[range])
    }

    fn text(&self, property: usize) -> Option<&str> {
        // No client that we know of writes anything else here.
        self.content(property)
            .map(|bytes| std::str::from_utf8(bytes).unwrap_or_default())
    }

    fn byte(&self, property: usize) -> Option<u8> {
        self.content(property)?.first().copied()
    }

    /// Its headers as they stand there.
    pub(crate) fn entries(&self) -> table::Entries<'_> {
        table::entries(self.content(HEADERS).unwrap_or_default())
    }

    /// Its headers, and what is wrong with them if they are not all text.
    pub(crate) fn headers(&self) -> (Map<String, Value>, Option<String>) {
        table::from_table(self.content(HEADERS).unwrap_or_default())
    }

    /// Its headers as `T`, but for those that `leaves_out` names. What this refuses may still be
    /// read as [`Self::headers`].
    pub(crate) fn read_headers<'a, T: Deserialize<'a>>(
        &'a self,
        leaves_out: impl FnMut(&table::Entry<'a>) -> bool,
    ) -> Result<T, serde_json::Error> {
        T::deserialize(Headers::new(self.entries(), leaves_out))
    }

    /// One of its headers, if it is a number.
    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        let mut entries = self.entries();
        let found = entries.find(|entry| entry.name == name.as_bytes())?;
        found.value.count()
    }

    /// Sets headers, and leaves the others as they are.
    pub(crate) fn set_headers(&mut self, changes: &Map<String, Value>) -> Result<(), String> {
        let mut table = self.entries_but(|name| changes.contains_key(name));
        table::put_entries(&mut table, changes)?;
        self.replace_headers(&table)
    }

    /// Takes out the headers that `drops` names.
    pub(crate) fn drop_headers(&mut self, drops: impl Fn(&str) -> bool) {
        let table = self.entries_but(drops);
        self.replace_headers(&table)
            .expect("it is no larger than it was");
    }

    /// The bytes of the entries that `drops` does not name.
    fn entries_but(&self, drops: impl Fn(&str) -> bool) -> Vec<u8> {
        let kept = self
            .entries()
            .filter(|entry| !std::str::from_utf8(entry.name).is_ok_and(&drops));
        kept.flat_map(|entry| entry.bytes).copied().collect()
    }

    fn replace_headers(&mut self, entries: &[u8]) -> Result<(), String> {
        let flags = u16::from_be_bytes([self.bytes[0], self.bytes[1]]);
        let (before, after) = if let Some(range) = self.range(HEADERS) {
            (range.start - 4, range.end)
        } else {
            let before = [CONTENT_ENCODING, CONTENT_TYPE];
            let end = before.iter().find_map(|it| self.range(*it));
            let end = end.map_or(2, |range| range.end);
            (end, end)
        };
        let mut out = Vec::with_capacity(self.bytes.len() + entries.len() + 4);
        out.extend(&self.bytes[..before]);
        let flags = if entries.is_empty() {
            flags & !flag(HEADERS)
        } else {
            table::put_sized(&mut out, |out| {
                out.extend(entries);
                Ok(())
            })?;
            flags | flag(HEADERS)
        };
        out.extend(&self.bytes[after..]);
        out[..2].copy_from_slice(&flags.to_be_bytes());
        *self = Self::read(&out).ok_or_else(|| "headers are too large".to_owned())?;
        Ok(())
    }

    /// The MIME type of the body.
    pub(crate) fn content_type(&self) -> &str {
        self.text(CONTENT_TYPE).unwrap_or_default()
    }

    /// The encoding of the body.
    pub(crate) fn content_encoding(&self) -> &str {
        self.text(CONTENT_ENCODING).unwrap_or_default()
    }

    /// What an answer is recognised by.
    pub(crate) fn correlation_id(&self) -> Option<&str> {
        self.text(CORRELATION_ID)
    }

    /// The queue that an answer goes to.
    pub(crate) fn reply_to(&self) -> Option<&str> {
        self.text(REPLY_TO)
    }

    /// Its priority.
    pub(crate) fn priority(&self) -> Option<u8> {
        self.byte(PRIORITY)
    }

    /// Whether a restart of the server keeps it.
    pub(crate) fn delivery_mode(&self) -> u8 {
        self.byte(DELIVERY_MODE).unwrap_or(1)
    }
}

fn put(out: &mut Vec<u8>, text: &str) -> Result<(), String> {
    if text.len() > 255 {
        return Err("a property has more than 255 bytes".to_owned());
    }
    put_short(out, text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn described() -> Properties {
        let headers = Map::from_iter([
            ("task".to_owned(), json!("add")),
            ("x-death".to_owned(), json!([{}])),
        ]);
        let description = Description {
            content_type: "application/json",
            content_encoding: "utf-8",
            correlation_id: Some("id"),
            reply_to: Some("answers"),
            priority: Some(3),
            persistent: true,
        };
        Properties::new(&description, &headers).unwrap()
    }

    fn check_rest(properties: &Properties) {
        assert_eq!(properties.content_type(), "application/json");
        assert_eq!(properties.content_encoding(), "utf-8");
        assert_eq!(properties.correlation_id(), Some("id"));
        assert_eq!(properties.reply_to(), Some("answers"));
        assert_eq!(properties.priority(), Some(3));
        assert_eq!(properties.delivery_mode(), 2);
    }

    #[test]
    fn headers_are_changed_one_by_one() {
        let mut properties = described();
        check_rest(&properties);
        let changes = Map::from_iter([("count".to_owned(), json!(3))]);
        properties.set_headers(&changes).unwrap();
        properties.drop_headers(|name| name == "x-death");
        let (headers, wrong) = properties.headers();
        assert_eq!(Value::Object(headers), json!({"task": "add", "count": 3}));
        assert_eq!((wrong, properties.count("count")), (None, Some(3)));
        check_rest(&properties);
        properties.drop_headers(|_| true);
        assert!(properties.headers().0.is_empty());
        check_rest(&properties);
        properties.set_headers(&changes).unwrap();
        assert_eq!(properties.count("count"), Some(3));
        check_rest(&properties);
    }

    #[test]
    fn properties_that_we_do_not_know_are_kept() {
        // Expiration, message id, timestamp, type, user, application, cluster.
        let mut bytes = vec![0b0000_0001, 0b1111_1100];
        bytes.extend(b"\x02e1\x02m1\x00\x00\x00\x00\x00\x00\x00\x07\x02t1\x02u1\x02a1\x02c1");
        let mut properties = Properties::read(&bytes).unwrap();
        let changes = Map::from_iter([("a".to_owned(), json!("b"))]);
        properties.set_headers(&changes).unwrap();
        assert!(properties.bytes().ends_with(&bytes[2..]));
        properties.drop_headers(|name| name == "a");
        assert_eq!(properties.bytes(), bytes);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let long = "x".repeat(256);
        let description = Description {
            reply_to: Some(&long),
            ..Description::default()
        };
        assert!(Properties::new(&description, &Map::new()).is_err());
    }

    proptest! {
        #[test]
        fn nonsense_is_refused_or_kept(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(mut properties) = Properties::read(&bytes) {
                prop_assert_eq!(properties.bytes(), bytes.as_slice());
                properties.headers();
                properties.correlation_id();
                let _ = properties.set_headers(&Map::from_iter([("a".to_owned(), json!(1))]));
                prop_assert_eq!(properties.count("a"), Some(1));
            }
        }
    }
}
