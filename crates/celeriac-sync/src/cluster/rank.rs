//! The order of values, as bytes: of two values of a type, the smaller one has the smaller bytes.
//!
//! Each part is written so that it compares as `derive(Ord)` does: numbers from their highest byte, with
//! the sign first; texts and sequences item by item with an end that is smaller than any item; enums by the
//! index of their variant.

use bytes::Bytes;
use serde::ser::{self, Serialize};

use crate::SyncError;

/// The place of `value` in the order of its type.
pub(super) fn rank<T: Serialize>(value: &T) -> Result<Bytes, SyncError> {
    let mut writer = Writer(Vec::new());
    value
        .serialize(&mut writer)
        .map_err(|_| SyncError::Encoding)?;
    Ok(writer.0.into())
}

struct Writer(Vec<u8>);

/// It has no order.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NoOrder(String);

impl ser::Error for NoOrder {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

const END: u8 = 0;
const ITEM: u8 = 1;

impl Writer {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "it is the end of functions that may fail"
    )]
    fn put(&mut self, bytes: &[u8]) -> Result<(), NoOrder> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

macro_rules! numbers {
    ($($name:ident: $kind:ty => $as:ty;)*) => {
        $(fn $name(self, value: $kind) -> Result<(), NoOrder> {
            self.put(&<$as>::from(value).to_be_bytes())
        })*
    };
}

macro_rules! signed {
    ($($name:ident: $kind:ty => $as:ty, $min:expr;)*) => {
        $(fn $name(self, value: $kind) -> Result<(), NoOrder> {
            // The sign comes first, and a set bit is greater.
            self.put(&(<$as>::from(value) ^ $min).to_be_bytes())
        })*
    };
}

impl<'a> ser::Serializer for &'a mut Writer {
    type Ok = ();
    type Error = NoOrder;
    type SerializeSeq = Self;
    type SerializeTuple = Tuple<'a>;
    type SerializeTupleStruct = Tuple<'a>;
    type SerializeTupleVariant = Tuple<'a>;
    type SerializeMap = Self;
    type SerializeStruct = Tuple<'a>;
    type SerializeStructVariant = Tuple<'a>;

    numbers! {
        serialize_u8: u8 => u64;
        serialize_u16: u16 => u64;
        serialize_u32: u32 => u64;
        serialize_u64: u64 => u64;
        serialize_u128: u128 => u128;
        serialize_bool: bool => u8;
        serialize_char: char => u32;
    }

    signed! {
        serialize_i8: i8 => i64, i64::MIN;
        serialize_i16: i16 => i64, i64::MIN;
        serialize_i32: i32 => i64, i64::MIN;
        serialize_i64: i64 => i64, i64::MIN;
        serialize_i128: i128 => i128, i128::MIN;
    }

    fn serialize_f32(self, value: f32) -> Result<(), NoOrder> {
        self.serialize_f64(value.into())
    }

    /// As [`f64::total_cmp`] has it.
    fn serialize_f64(self, value: f64) -> Result<(), NoOrder> {
        let bits = value.to_bits();
        let ordered = if value.is_sign_negative() {
            !bits
        } else {
            bits | 1 << 63
        };
        self.put(&ordered.to_be_bytes())
    }

    fn serialize_str(self, text: &str) -> Result<(), NoOrder> {
        self.serialize_bytes(text.as_bytes())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), NoOrder> {
        for byte in bytes {
            self.put(&[ITEM, *byte])?;
        }
        self.put(&[END])
    }

    fn serialize_none(self) -> Result<(), NoOrder> {
        self.put(&[END])
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NoOrder> {
        self.put(&[ITEM])?;
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), NoOrder> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), NoOrder> {
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
    ) -> Result<(), NoOrder> {
        self.put(&index.to_be_bytes())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), NoOrder> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), NoOrder> {
        self.put(&index.to_be_bytes())?;
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, NoOrder> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Tuple<'a>, NoOrder> {
        Ok(Tuple(self))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Tuple<'a>, NoOrder> {
        Ok(Tuple(self))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Tuple<'a>, NoOrder> {
        self.put(&index.to_be_bytes())?;
        Ok(Tuple(self))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, NoOrder> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Tuple<'a>, NoOrder> {
        Ok(Tuple(self))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Tuple<'a>, NoOrder> {
        self.put(&index.to_be_bytes())?;
        Ok(Tuple(self))
    }
}

impl ser::SerializeSeq for &mut Writer {
    type Ok = ();
    type Error = NoOrder;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoOrder> {
        self.put(&[ITEM])?;
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), NoOrder> {
        self.put(&[END])
    }
}

impl ser::SerializeMap for &mut Writer {
    type Ok = ();
    type Error = NoOrder;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), NoOrder> {
        self.put(&[ITEM])?;
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoOrder> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), NoOrder> {
        self.put(&[END])
    }
}

/// Parts whose number the type knows.
struct Tuple<'a>(&'a mut Writer);

macro_rules! parts {
    ($($part:ident: $function:ident $([$name:ident])?;)*) => {
        $(impl ser::$part for Tuple<'_> {
            type Ok = ();
            type Error = NoOrder;

            fn $function<T: Serialize + ?Sized>(
                &mut self,
                $($name: &'static str,)?
                value: &T,
            ) -> Result<(), NoOrder> {
                value.serialize(&mut *self.0)
            }

            fn end(self) -> Result<(), NoOrder> {
                Ok(())
            }
        })*
    };
}

parts! {
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
    SerializeStruct: serialize_field [_name];
    SerializeStructVariant: serialize_field [_name];
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
    enum Case {
        Text(String),
        Number { high: i32, low: Option<u8> },
        Nothing,
    }

    fn case() -> impl Strategy<Value = Case> {
        prop_oneof![
            "[a\u{0}b]{0,4}".prop_map(Case::Text),
            any::<(i32, Option<u8>)>().prop_map(|(high, low)| Case::Number { high, low }),
            Just(Case::Nothing),
        ]
    }

    proptest! {
        #[test]
        fn bytes_are_ordered_as_the_values_are(
            one in (any::<i64>(), prop::collection::vec(case(), 0..3), any::<bool>()),
            other in (any::<i64>(), prop::collection::vec(case(), 0..3), any::<bool>()),
        ) {
            let (by_rank, by_value) = (rank(&one).unwrap().cmp(&rank(&other).unwrap()), one.cmp(&other));
            prop_assert_eq!(by_rank, by_value);
            let (one, other) = (one.1, other.1);
            prop_assert_eq!(rank(&one).unwrap().cmp(&rank(&other).unwrap()), one.cmp(&other));
        }
    }
}
