//! Reading Rust types from a tree.

use serde::de::{Deserialize, Deserializer, Error as _, IntoDeserializer as _, Visitor};

use super::parts::{Fields, Items, Variant};
use super::write::from_base64;
use super::{ReadError, Tree};

impl Tree {
    /// Reads a value of type `T` from it.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if it does not fit.
    pub fn read<'de, T: Deserialize<'de>>(&'de self) -> Result<T, ReadError> {
        T::deserialize(self)
    }

    /// The text that it is to a type that is read from text.
    fn textual(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Number(number) if is_large_integer(number) => Some(number.to_string()),
            _ => match self.as_tagged()? {
                ("datetime" | "date" | "time" | "decimal" | "bytes", value) => {
                    value.as_text().map(ToOwned::to_owned)
                }
                ("uuid", value) => Some(hyphenated(value.get("hex")?.as_text()?)),
                _ => None,
            },
        }
    }

    /// The bytes that it is to a type that is read from bytes.
    fn binary(&self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Some(bytes.clone()),
            _ => match self.as_tagged()? {
                ("bytes", value) => value.as_text().map(|text| text.as_bytes().to_vec()),
                ("base64", value) => from_base64(value.as_text()?),
                _ => None,
            },
        }
    }
}

/// Whether a number is an integer that 64 bits do not hold.
fn is_large_integer(number: &str) -> bool {
    number.len() > 18
        && number
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-')
        && number.parse::<i64>().is_err()
        && number.parse::<u64>().is_err()
}

/// The 32 hexadecimal digits of a UUID in groups, as everybody writes them.
fn hyphenated(hex: &str) -> String {
    uuid::Uuid::try_parse(hex).map_or_else(|_| hex.to_owned(), |uuid| uuid.to_string())
}

/// A number in JSON's notation or Python's, as a float.
pub(super) fn float(number: &str) -> Option<f64> {
    match number {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => number.parse().ok(),
    }
}

fn visit_number<'de, V: Visitor<'de>>(number: &str, visitor: V) -> Result<V::Value, ReadError> {
    if let Ok(number) = number.parse::<u64>() {
        return visitor.visit_u64(number);
    }
    if let Ok(number) = number.parse::<i64>() {
        return visitor.visit_i64(number);
    }
    match float(number) {
        Some(number) => visitor.visit_f64(number),
        None => Err(ReadError::custom("a number has no value")),
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            match self {
                Tree::Number(number) => match number.parse::<$type>() {
                    Ok(number) => visitor.$visit(number),
                    Err(_) => visit_number(number, visitor),
                },
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for &'de Tree {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Tree::Null => visitor.visit_unit(),
            Tree::Bool(flag) => visitor.visit_bool(*flag),
            Tree::Number(number) => visit_number(number, visitor),
            Tree::Text(text) => visitor.visit_borrowed_str(text),
            Tree::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            Tree::List(items) => visit_list(items, visitor),
            Tree::Map(fields) => visitor.visit_map(Fields::new(fields, &[])),
        }
    }

    numbers! {
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128,
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.textual() {
            Some(text) => visitor.visit_string(text),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.binary() {
            Some(bytes) => visitor.visit_byte_buf(bytes),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.binary() {
            Some(bytes) => visitor.visit_seq(bytes.into_deserializer()),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Tree::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self {
            Tree::Map(fields) => visitor.visit_map(Fields::new(fields, names)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self {
            Tree::Text(name) => visitor.visit_enum(Variant { name, value: None }),
            Tree::Map(fields) if fields.len() == 1 => visitor.visit_enum(Variant {
                name: &fields[0].0,
                value: Some(&fields[0].1),
            }),
            other => Err(ReadError::custom(format_args!(
                "expected the name of a variant, or a map of one, found {}",
                other.sort()
            ))),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool f32 f64 unit unit_struct tuple tuple_struct map identifier
    }
}

fn visit_list<'de, V: Visitor<'de>>(items: &'de [Tree], visitor: V) -> Result<V::Value, ReadError> {
    let mut list = Items::new(items);
    let value = visitor.visit_seq(&mut list)?;
    match list.rest.len() {
        0 => Ok(value),
        _ => Err(ReadError::custom(format_args!(
            "expected {} items, found {}",
            list.next,
            items.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde::de::DeserializeOwned;
    use std::collections::HashMap;

    fn read<T: DeserializeOwned>(json: &str) -> Result<T, ReadError> {
        Tree::parse(json.as_bytes()).unwrap().read()
    }

    fn tagged<T: DeserializeOwned>(tag: &str, value: &str) -> T {
        read(&format!(r#"{{"__type__":"{tag}","__value__":{value}}}"#)).unwrap()
    }

    #[test]
    fn pythons_types_are_read_as_rusts() {
        use jiff::Timestamp;
        use jiff::civil::{Date, DateTime, Time, date, time};

        let at: Timestamp = tagged("datetime", r#""2030-01-02T03:04:00+05:30""#);
        assert_eq!(at.to_string(), "2030-01-01T21:34:00Z");
        let naive: DateTime = tagged("datetime", r#""2030-01-02T03:04:05.678000""#);
        assert_eq!(naive, date(2030, 1, 2).at(3, 4, 5, 678_000_000));
        assert_eq!(tagged::<Date>("date", r#""2030-01-02""#), date(2030, 1, 2));
        assert_eq!(tagged::<Time>("time", r#""03:04:05""#), time(3, 4, 5, 0));
        let uuid: uuid::Uuid = tagged("uuid", r#"{"hex":"00000000000000000000000000001234"}"#);
        assert_eq!(uuid.as_u128(), 0x1234);
        assert_eq!(tagged::<String>("decimal", r#""1.50""#), "1.50");
        assert_eq!(tagged::<Vec<u8>>("bytes", r#""ascii""#), b"ascii");
        assert_eq!(
            tagged::<bytes::Bytes>("base64", r#""//4A""#),
            &b"\xff\xfe\0"[..]
        );
        assert_eq!(
            tagged::<Option<String>>("date", r#""2030-01-02""#).unwrap(),
            "2030-01-02"
        );
        let whole: serde_json::Value = tagged("date", r#""2030-01-02""#);
        assert_eq!(whole["__type__"], "date");
    }

    #[test]
    fn numbers_are_exact() {
        let big = "123456789012345678901234567890";
        assert_eq!(read::<i128>(big).unwrap().to_string(), big);
        assert_eq!(read::<u128>(big).unwrap().to_string(), big);
        assert_eq!(
            read::<String>(&format!("{big}{big}")).unwrap(),
            format!("{big}{big}")
        );
        assert!(read::<String>("7").is_err());
        assert!(read::<f64>("NaN").unwrap().is_nan());
        assert_eq!(
            read::<(f64, f64)>("[Infinity, 7]").unwrap(),
            (f64::INFINITY, 7.0)
        );
        assert!(read::<u8>("256").is_err());
        assert!(read::<i64>("1.5").is_err());
    }

    #[test]
    fn structs_enums_and_maps_are_read() {
        #[derive(Debug, PartialEq, Deserialize)]
        enum Shape {
            Dot,
            Line(u8),
            Box { width: u8 },
            Pair(u8, u8),
        }
        #[derive(Debug, PartialEq, Deserialize)]
        struct Drawing {
            shapes: Vec<Shape>,
            #[serde(default)]
            layer: Option<u8>,
            names: HashMap<u8, char>,
        }
        let drawing: Drawing = read(
            r#"{"shapes":["Dot",{"Line":1},{"Box":{"width":2}},{"Pair":[3,4]}],"names":{"7":"x"}}"#,
        )
        .unwrap();
        let shapes = vec![
            Shape::Dot,
            Shape::Line(1),
            Shape::Box { width: 2 },
            Shape::Pair(3, 4),
        ];
        let names = [(7, 'x')].into();
        assert_eq!(
            drawing,
            Drawing {
                shapes,
                layer: None,
                names
            }
        );
        assert!(read::<Shape>(r#""Line""#).is_err());
        assert!(read::<()>("null").is_ok());
    }

    #[test]
    fn an_error_says_where_and_what_but_not_the_value() {
        #[derive(Debug, Deserialize)]
        struct Order {
            #[allow(dead_code, reason = "it is only read")]
            price: u32,
        }
        let error = read::<(u8, Vec<Order>)>(r#"[1,[{"price":"secret"}]]"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "[1][0].price: expected u32, found a text"
        );
        let error = read::<(u8, u8)>("[1,2,3]").unwrap_err();
        assert_eq!(error.to_string(), "expected 2 items, found 3");
        let error = read::<bool>(r#"{"secret":1}"#).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
