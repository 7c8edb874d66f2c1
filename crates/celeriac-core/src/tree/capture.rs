//! Reading a tree from whatever serde reads.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::Tree;

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Capture)
    }
}

struct Capture;

/// A number as text.
fn number(number: &impl ToString) -> Tree {
    Tree::Number(number.to_string().into())
}

impl<'de> Visitor<'de> for Capture {
    type Value = Tree;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Tree, D::Error> {
        Tree::deserialize(inner)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(flag))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(number(&value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(number(&value))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Tree, E> {
        Ok(number(&value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Tree, E> {
        Ok(number(&value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(match value {
            _ if value.is_nan() => number(&"NaN"),
            f64::INFINITY => number(&"Infinity"),
            f64::NEG_INFINITY => number(&"-Infinity"),
            // With a point or an exponent, so that it stays a float.
            _ => number(&serde_json::Number::from_f64(value).expect("it is finite")),
        })
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Tree, E> {
        Ok(Tree::Text(text))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Tree, E> {
        Ok(Tree::Bytes(bytes.to_vec()))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Tree, E> {
        Ok(Tree::Bytes(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, value)) = map.next_entry::<Name, _>()? {
            fields.push((name.0, value));
        }
        Ok(Tree::Map(fields))
    }
}

/// The name of a field. What is no text becomes what Python's JSON makes of it.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Tree::deserialize(deserializer)? {
            Tree::Text(text) => text,
            Tree::Number(number) => number.into(),
            Tree::Bool(flag) => flag.to_string(),
            Tree::Null => "null".to_owned(),
            Tree::Bytes(bytes) => String::from_utf8(bytes)
                .map_err(|_| serde::de::Error::custom("a name in a map is no text"))?,
            _ => return Err(serde::de::Error::custom("a name in a map is no text")),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messagepack_is_read_with_its_bytes_and_odd_names() {
        // {1: bin ff fe, "a": [1.5, -7, nil]}
        let packed = b"\x82\x01\xc4\x02\xff\xfe\xa1a\x93\xcb\x3f\xf8\0\0\0\0\0\0\xf9\xc0";
        let tree: Tree = rmp_serde::from_slice(packed).unwrap();
        assert_eq!(
            tree.to_json(),
            r#"{"1":{"__type__":"base64","__value__":"//4="},"a":[1.5,-7,null]}"#
        );
    }

    #[test]
    fn a_tree_survives_messagepack() {
        let tree = Tree::parse(br#"{"a":[1,-2,2.0,18446744073709551615,true,null,"x"]}"#).unwrap();
        let packed = rmp_serde::to_vec_named(&tree).unwrap();
        assert_eq!(rmp_serde::from_slice::<Tree>(&packed).unwrap(), tree);
    }
}
