//! Reading headers, as whoever wrote them.
//!
//! It is written out because it is on the way of every message: to keep unknown headers, what serde
//! derives holds all of them back until the last has been seen, which takes three times as long.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::Headers;
use crate::id::TaskId;
use crate::moment;

/// Headers that everybody writes and hardly anybody fills: they are kept only if they say something.
const OFTEN_NULL: [&str; 3] = ["shadow", "group_index", "stamped_headers"];

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeadersVisitor)
    }
}

struct HeadersVisitor;

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = Headers;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the headers of a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
        let mut task = None;
        let mut id = None;
        let mut headers = Headers {
            lang: String::new(),
            task: String::new(),
            id: TaskId::from(""),
            eta: None,
            expires: None,
            group: None,
            retries: 0,
            timelimit: None,
            root_id: None,
            parent_id: None,
            origin: None,
            ignore_result: None,
            extra: Map::new(),
        };
        while let Some(Text(name)) = map.next_key()? {
            match name.as_ref() {
                "lang" => headers.lang = map.next_value::<Option<_>>()?.unwrap_or_default(),
                "task" => task = Some(map.next_value()?),
                "id" => id = map.next_value::<Option<Id>>()?,
                "eta" => headers.eta = time(&mut map, "eta")?,
                "expires" => headers.expires = time(&mut map, "expires")?,
                "group" => headers.group = map.next_value()?,
                "retries" => headers.retries = map.next_value::<Option<_>>()?.unwrap_or_default(),
                "timelimit" => headers.timelimit = map.next_value()?,
                "root_id" => headers.root_id = map.next_value::<Option<Id>>()?.map(Id::into),
                "parent_id" => headers.parent_id = map.next_value::<Option<Id>>()?.map(Id::into),
                "origin" => headers.origin = map.next_value()?,
                "ignore_result" => headers.ignore_result = map.next_value()?,
                _ => {
                    let value: Value = map.next_value()?;
                    if value.is_null() && OFTEN_NULL.contains(&name.as_ref()) {
                        // Of a name that comes twice the last value counts, as everywhere.
                        headers.extra.remove(name.as_ref());
                    } else {
                        headers.extra.insert(name.into_owned(), value);
                    }
                }
            }
        }
        headers.task = task.ok_or_else(|| A::Error::missing_field("task"))?;
        headers.id = id.ok_or_else(|| A::Error::missing_field("id"))?.into();
        Ok(headers)
    }
}

fn time<'de, A: MapAccess<'de>>(map: &mut A, name: &str) -> Result<Option<Timestamp>, A::Error> {
    let text: Option<Text<'de>> = map.next_value()?;
    let read = text.map(|Text(text)| moment::read(&text)).transpose();
    read.map_err(|error| A::Error::custom(format_args!("`{name}`: {error}")))
}

/// A text that is borrowed if it can be.
struct Text<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_string<E>(self, text: String) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text)))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

/// The id of a call; a number, which some producers send, is taken as its digits.
struct Id(TaskId);

impl From<Id> for TaskId {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;

        impl Visitor<'_> for IdVisitor {
            type Value = Id;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the id of a call")
            }

            fn visit_str<E>(self, text: &str) -> Result<Id, E> {
                Ok(Id(text.into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Id, E> {
                Ok(Id(number.to_string().into()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Id, E> {
                Ok(Id(number.to_string().into()))
            }
        }

        deserializer.deserialize_any(IdVisitor)
    }
}
