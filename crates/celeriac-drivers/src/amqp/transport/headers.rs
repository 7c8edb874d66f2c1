//! Headers as serde reads them: straight from the bytes of their table.
//!
//! It is on the way of every delivery. What it refuses may still be headers, which
//! [`table::from_table`](super::table::from_table) reads as well as they can be read.

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Error;

use super::reader::Reader;
use super::table::{BROKEN, DEEPEST, Entries, Entry, Field};

/// What is wrong with an array that has more items than are asked for.
const TOO_LONG: &str = "an array has too many items";

/// A table as a map, but for the entries that it `leaves_out`.
#[derive(Debug)]
pub(super) struct Headers<'a, F> {
    entries: Entries<'a>,
    leaves_out: F,
    value: Option<Field<'a>>,
    depth: usize,
}

/// A value within a table.
#[derive(Debug)]
struct Value<'a> {
    field: Field<'a>,
    depth: usize,
}

/// The items of an array.
#[derive(Debug)]
struct Items<'a> {
    reader: Reader<'a>,
    depth: usize,
}

impl<'a, F: FnMut(&Entry<'a>) -> bool> Headers<'a, F> {
    pub(super) fn new(entries: Entries<'a>, leaves_out: F) -> Self {
        Self {
            entries,
            leaves_out,
            value: None,
            depth: 0,
        }
    }
}

fn text(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(Error::custom)
}

impl<'de, F: FnMut(&Entry<'de>) -> bool> Deserializer<'de> for Headers<'de, F> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, F: FnMut(&Entry<'de>) -> bool> MapAccess<'de> for Headers<'de, F> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        for entry in &mut self.entries {
            if !(self.leaves_out)(&entry) {
                self.value = Some(entry.value);
                let name = BorrowedStrDeserializer::new(text(entry.name)?);
                return seed.deserialize(name).map(Some);
            }
        }
        if self.entries.is_at_end() {
            Ok(None)
        } else {
            Err(Error::custom(BROKEN))
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let field = self.value.take().ok_or_else(|| Error::custom(BROKEN))?;
        let depth = self.depth;
        seed.deserialize(Value { field, depth })
    }
}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let (bytes, depth) = (self.field.bytes, self.depth + 1);
        match self.field.kind {
            b'S' => visitor.visit_borrowed_str(text(bytes)?),
            b'A' | b'F' if depth > DEEPEST => Err(Error::custom(BROKEN)),
            b'A' => {
                let reader = Reader(bytes);
                let mut items = Items { reader, depth };
                let value = visitor.visit_seq(&mut items)?;
                // Who wants two takes two, and does not look whether there is a third.
                let is_whole = items.reader.0.is_empty();
                is_whole
                    .then_some(value)
                    .ok_or_else(|| Error::custom(TOO_LONG))
            }
            b'F' => visitor.visit_map(Headers {
                depth,
                ..Headers::new(super::table::entries(bytes), |_: &Entry<'de>| false)
            }),
            _ => self.field.plain_value().deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.field.kind == b'V' {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> SeqAccess<'de> for &mut Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let depth = self.depth;
        match Field::read(&mut self.reader) {
            Some(field) => seed.deserialize(Value { field, depth }).map(Some),
            None if self.reader.0.is_empty() => Ok(None),
            None => Err(Error::custom(BROKEN)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{self, tests::json_map};
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize as _;
    use serde_json::{Map, json};

    type Json = Map<String, serde_json::Value>;

    fn read(table: &[u8], leaves_out: impl Fn(&Entry<'_>) -> bool) -> Result<Json, Error> {
        Json::deserialize(Headers::new(table::entries(table), |entry: &Entry<'_>| {
            leaves_out(entry)
        }))
    }

    fn table_of(map: &Json) -> Vec<u8> {
        let mut out = Vec::new();
        table::put_entries(&mut out, map).unwrap();
        out
    }

    proptest! {
        #[test]
        fn it_reads_every_table(map in json_map()) {
            prop_assert_eq!(read(&table_of(&map), |_| false).unwrap(), map);
        }

        #[test]
        fn what_it_reads_of_a_damaged_table_is_what_that_means(
            map in json_map(),
            at: prop::sample::Index,
            byte: u8,
        ) {
            let mut bytes = table_of(&map);
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Ok(read) = read(&bytes, |_| false) {
                prop_assert_eq!((read, None), table::from_table(&bytes));
            }
        }
    }

    #[test]
    fn entries_are_left_out() {
        let map = json!({"a": 1, "b": {"a": [null, 2.5, "x", true]}, "c": "d"});
        let table = table_of(map.as_object().unwrap());
        let rest = read(&table, |entry| entry.name == b"a").unwrap();
        assert_eq!(rest["b"], map["b"]);
        assert_eq!(rest.len(), 2);
    }

    #[test]
    fn an_array_that_is_too_long_is_refused() {
        #[derive(Debug, serde::Deserialize)]
        struct Limits {
            timelimit: (u8, u8),
        }
        let read = |limits: serde_json::Value| {
            let map = json!({"timelimit": limits});
            let table = table_of(map.as_object().unwrap());
            let read =
                Limits::deserialize(Headers::new(table::entries(&table), |_: &Entry<'_>| false));
            read.map(|limits| limits.timelimit)
        };
        assert_eq!(read(json!([1, 2])).unwrap(), (1, 2));
        assert!(read(json!([1, 2, 3])).is_err());
        assert!(read(json!([1])).is_err());
    }
}
