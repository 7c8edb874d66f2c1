//! Field tables and the JSON they mean.
//!
//! The types we write are those of Celery's own client, so that a header reads the same in both:
//! text as `S`, whole numbers as `I` or `l` by their size, other numbers as `d`.
//!
//! A table is kept as the bytes it came in, so that what is published again says what it said.

use serde_json::{Map, Number, Value};

use super::frame::put_short;
use super::reader::Reader;

/// Tables within tables are read down to this depth.
pub(super) const DEEPEST: usize = 100;

/// What is wrong with a table that ends too early or has values of no type we know.
pub(super) const BROKEN: &str = "headers: they are not made as AMQP makes them";

/// The longest name of an entry, in bytes.
const LONGEST_NAME: usize = 255;

/// An entry as it stands in the bytes of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: Field<'a>,
    /// Name and value.
    pub(super) bytes: &'a [u8],
}

/// A value as it stands in the bytes of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(super) kind: u8,
    pub(super) bytes: &'a [u8],
}

/// The entries of a table, up to the first that cannot be read.
#[derive(Debug, Clone)]
pub(crate) struct Entries<'a>(Reader<'a>);

pub(super) fn entries(table: &[u8]) -> Entries<'_> {
    Entries(Reader(table))
}

impl Entries<'_> {
    /// Whether nothing is left, as it is at the end of a table that is made well.
    pub(super) fn is_at_end(&self) -> bool {
        self.0.0.is_empty()
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let before = self.0;
        let mut after = before;
        let name = after.short()?;
        let value = Field::read(&mut after)?;
        let size = before.0.len() - after.0.len();
        self.0 = after;
        Some(Entry {
            name,
            value,
            bytes: &before.0[..size],
        })
    }
}

impl<'a> Field<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let kind = reader.u8()?;
        let bytes = match kind {
            b'V' => &[],
            b't' | b'b' | b'B' => reader.take(1)?,
            b's' | b'U' | b'u' => reader.take(2)?,
            b'I' | b'i' | b'f' => reader.take(4)?,
            b'D' => reader.take(5)?,
            b'L' | b'l' | b'd' | b'T' => reader.take(8)?,
            b'S' | b'x' | b'A' | b'F' => reader.long()?,
            _ => return None,
        };
        Some(Self { kind, bytes })
    }

    /// A whole number that is not negative.
    pub(crate) fn count(self) -> Option<u64> {
        self.plain_value().as_u64()
    }

    /// Whether it is this text.
    pub(crate) fn is_text(self, text: &str) -> bool {
        self.kind == b'S' && self.bytes == text.as_bytes()
    }

    /// Whether it is a table without entries.
    pub(crate) fn is_empty_table(self) -> bool {
        self.kind == b'F' && self.bytes.is_empty()
    }

    /// The value, if it is no table and no array.
    pub(super) fn plain_value(self) -> Value {
        self.value(&mut None, DEEPEST)
    }

    fn value(self, wrong: &mut Option<String>, depth: usize) -> Value {
        let mut reader = Reader(self.bytes);
        self.plain(&mut reader).unwrap_or_else(|| match self.kind {
            b'S' => text_of(self.bytes, wrong),
            b'x' => String::from_utf8_lossy(self.bytes).into(),
            _ if depth == DEEPEST => {
                wrong.get_or_insert_with(|| BROKEN.to_owned());
                Value::Null
            }
            b'A' => array_of(reader, wrong, depth + 1),
            b'F' => Value::Object(map_of(self.bytes, wrong, depth + 1)),
            _ => Value::Null,
        })
    }

    /// The value of a type whose size is fixed.
    fn plain(self, reader: &mut Reader<'_>) -> Option<Value> {
        Some(match self.kind {
            b't' => (reader.u8()? != 0).into(),
            b'b' => i8::from_be_bytes(reader.array()?).into(),
            b'B' => reader.u8()?.into(),
            b's' | b'U' => i16::from_be_bytes(reader.array()?).into(),
            b'u' => reader.u16()?.into(),
            b'I' => i32::from_be_bytes(reader.array()?).into(),
            b'i' => reader.u32()?.into(),
            b'L' | b'l' => i64::from_be_bytes(reader.array()?).into(),
            b'T' => reader.u64()?.into(),
            b'f' => f32::from_be_bytes(reader.array()?).into(),
            b'd' => f64::from_be_bytes(reader.array()?).into(),
            b'D' => {
                let scale = reader.u8()?;
                (f64::from(reader.u32()?) / 10_f64.powi(scale.into())).into()
            }
            b'V' => Value::Null,
            _ => return None,
        })
    }
}

/// The JSON of a table, and what is wrong with it if some text is no UTF-8 or the rest is no table.
pub(crate) fn from_table(table: &[u8]) -> (Map<String, Value>, Option<String>) {
    let mut wrong = None;
    let map = map_of(table, &mut wrong, 0);
    (map, wrong)
}

fn map_of(table: &[u8], wrong: &mut Option<String>, depth: usize) -> Map<String, Value> {
    let mut entries = entries(table);
    let mut map = Map::new();
    for entry in &mut entries {
        let name = String::from_utf8_lossy(entry.name).into_owned();
        map.insert(name, entry.value.value(wrong, depth));
    }
    if !entries.is_at_end() {
        wrong.get_or_insert_with(|| BROKEN.to_owned());
    }
    map
}

fn array_of(mut reader: Reader<'_>, wrong: &mut Option<String>, depth: usize) -> Value {
    let mut items = Vec::new();
    while let Some(item) = Field::read(&mut reader) {
        items.push(item.value(wrong, depth));
    }
    if !reader.0.is_empty() {
        wrong.get_or_insert_with(|| BROKEN.to_owned());
    }
    Value::Array(items)
}

fn text_of(bytes: &[u8], wrong: &mut Option<String>) -> Value {
    let text = String::from_utf8_lossy(bytes);
    if matches!(text, std::borrow::Cow::Owned(_)) {
        wrong.get_or_insert_with(|| "headers: a text is not UTF-8".to_owned());
    }
    text.into()
}

/// Adds the entries of `map`, or says why they have no form.
pub(crate) fn put_entries(out: &mut Vec<u8>, map: &Map<String, Value>) -> Result<(), String> {
    for (name, value) in map {
        if name.len() > LONGEST_NAME {
            return Err("a header's name has more than 255 bytes".to_owned());
        }
        put_short(out, name);
        put_value(out, value)?;
    }
    Ok(())
}

fn put_value(out: &mut Vec<u8>, value: &Value) -> Result<(), String> {
    match value {
        Value::Null => out.push(b'V'),
        Value::Bool(flag) => out.extend([b't', u8::from(*flag)]),
        Value::Number(number) => put_number(out, number)?,
        Value::String(text) => put_text(out, text)?,
        Value::Array(items) => {
            out.push(b'A');
            put_sized(out, |out| {
                items.iter().try_for_each(|item| put_value(out, item))
            })?;
        }
        Value::Object(map) => {
            out.push(b'F');
            put_sized(out, |out| put_entries(out, map))?;
        }
    }
    Ok(())
}

fn put_number(out: &mut Vec<u8>, number: &Number) -> Result<(), String> {
    match (number.as_i64(), number.is_f64(), number.as_f64()) {
        (Some(whole), ..) => {
            if let Ok(small) = i32::try_from(whole) {
                out.push(b'I');
                out.extend(small.to_be_bytes());
            } else {
                out.push(b'l');
                out.extend(whole.to_be_bytes());
            }
        }
        (None, true, Some(real)) => {
            out.push(b'd');
            out.extend(real.to_be_bytes());
        }
        // A whole number that no field can hold is kept exact, as text.
        _ => put_text(out, &number.to_string())?,
    }
    Ok(())
}

fn put_text(out: &mut Vec<u8>, text: &str) -> Result<(), String> {
    out.push(b'S');
    put_sized(out, |out| {
        out.extend(text.as_bytes());
        Ok(())
    })
}

/// Adds what `write` adds, with its size before it.
pub(super) fn put_sized(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), String>,
) -> Result<(), String> {
    let at = out.len();
    out.extend([0; 4]);
    write(out)?;
    let size = u32::try_from(out.len() - at - 4).map_err(|_| "a header is too large".to_owned())?;
    out[at..at + 4].copy_from_slice(&size.to_be_bytes());
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e12..1e12).prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,10}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// What a table may mean.
    pub(crate) fn json_map() -> impl Strategy<Value = Map<String, Value>> {
        prop::collection::btree_map(".{0,10}", json_value(), 0..5)
            .prop_map(|map| map.into_iter().collect())
    }

    fn table_of(map: &Map<String, Value>) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        put_entries(&mut out, map).map(|()| out)
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(map in json_map()) {
            let (again, wrong) = from_table(&table_of(&map).unwrap());
            prop_assert_eq!(again, map);
            prop_assert_eq!(wrong, None);
        }

        #[test]
        fn nonsense_is_called_wrong_or_read(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let (_, _) = from_table(&bytes);
        }
    }

    #[test]
    fn values_have_the_types_that_celery_writes() {
        for (value, is) in [
            (json!(1), b"I\x00\x00\x00\x01".as_slice()),
            (json!(1_u64 << 40), b"l\x00\x00\x01\x00\x00\x00\x00\x00"),
            (json!(1.0), b"d\x3f\xf0\x00\x00\x00\x00\x00\x00"),
            (json!(u64::MAX), b"S\x00\x00\x00\x1418446744073709551615"),
            (json!("a"), b"S\x00\x00\x00\x01a"),
            (json!([null]), b"A\x00\x00\x00\x01V"),
            (json!({"a": true}), b"F\x00\x00\x00\x04\x01at\x01"),
        ] {
            let mut out = Vec::new();
            put_value(&mut out, &value).unwrap();
            assert_eq!(out, is, "{value}");
        }
    }

    #[test]
    fn values_of_every_type_are_read() {
        for (bytes, is) in [
            (b"b\xff".as_slice(), json!(-1)),
            (b"B\xff", json!(255)),
            (b"s\xff\xfe", json!(-2)),
            (b"U\xff\xfe", json!(-2)),
            (b"u\xff\xfe", json!(65534)),
            (b"i\xff\xff\xff\xff", json!(u32::MAX)),
            (b"L\xff\xff\xff\xff\xff\xff\xff\xff", json!(-1)),
            (b"T\x00\x00\x00\x00\x00\x00\x00\x09", json!(9)),
            (b"f\x3f\x80\x00\x00", json!(1.0)),
            (b"D\x02\x00\x00\x00\x96", json!(1.5)),
            (b"x\x00\x00\x00\x01a", json!("a")),
        ] {
            let table = [b"\x01n", bytes].concat();
            let (map, wrong) = from_table(&table);
            assert_eq!((&map["n"], wrong), (&is, None));
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_shown_and_called_wrong() {
        let (map, wrong) = from_table(b"\x04taskS\x00\x00\x00\x01\xff");
        assert_eq!(map["task"], "\u{fffd}");
        assert!(wrong.unwrap().contains("UTF-8"));
    }

    #[test]
    fn a_table_that_ends_early_or_is_too_deep_is_called_wrong() {
        let (map, wrong) = from_table(b"\x01aI\x00\x00\x00\x01\x01bI\x00");
        assert_eq!((&map["a"], map.len()), (&json!(1), 1));
        assert!(wrong.is_some());
        let mut deep = Vec::new();
        for _ in 0..20_000 {
            let mut next = b"\x01nF".to_vec();
            next.extend(u32::try_from(deep.len()).unwrap().to_be_bytes());
            next.append(&mut deep);
            deep = next;
        }
        assert!(from_table(&deep).1.is_some());
    }

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        let map = Map::from_iter([("x".repeat(256), Value::Null)]);
        assert!(table_of(&map).is_err());
    }
}
