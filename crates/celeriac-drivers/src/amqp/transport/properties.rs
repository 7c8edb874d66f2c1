//! What AMQP says of a message besides its body.

use lapin::BasicProperties;
use lapin::types::{FieldTable, ShortString};
use serde_json::{Map, Value};

use super::table;

/// The properties and headers of one message. Those that we do not know are kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Properties(pub(super) BasicProperties);

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

impl Properties {
    /// The properties of a new message, or why there can be none.
    pub(crate) fn new(
        description: &Description<'_>,
        headers: &Map<String, Value>,
    ) -> Result<Self, String> {
        let mut properties = BasicProperties::default()
            .with_content_type(short(description.content_type)?)
            .with_content_encoding(short(description.content_encoding)?)
            .with_delivery_mode(if description.persistent { 2 } else { 1 });
        if !headers.is_empty() {
            properties = properties.with_headers(table::to_table(headers)?);
        }
        if let Some(id) = description.correlation_id {
            properties = properties.with_correlation_id(short(id)?);
        }
        if let Some(queue) = description.reply_to {
            properties = properties.with_reply_to(short(queue)?);
        }
        if let Some(priority) = description.priority {
            properties = properties.with_priority(priority);
        }
        Ok(Self(properties))
    }

    /// Its headers, and what is wrong with them if they are not all text.
    pub(crate) fn headers(&self) -> (Map<String, Value>, Option<String>) {
        match self.0.headers() {
            Some(headers) => table::from_table(headers),
            None => (Map::new(), None),
        }
    }

    /// One of its headers, if it is a number.
    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        let table = self.0.headers().as_ref()?;
        let value = table.inner().get(name)?;
        table::from_table(&FieldTable::from(std::collections::BTreeMap::from([(
            "n".into(),
            value.clone(),
        )])))
        .0["n"]
            .as_u64()
    }

    /// Sets headers, and leaves the others as they are.
    pub(crate) fn set_headers(&mut self, changes: &Map<String, Value>) -> Result<(), String> {
        let mut headers = self.0.headers().clone().unwrap_or_default();
        for (name, value) in changes {
            let name = ShortString::try_new(name.as_str()).map_err(|error| error.to_string())?;
            headers.insert(name, table::to_value(value)?);
        }
        self.0 = std::mem::take(&mut self.0).with_headers(headers);
        Ok(())
    }

    /// Takes out the headers that `drops` names.
    pub(crate) fn drop_headers(&mut self, drops: impl Fn(&str) -> bool) {
        let Some(headers) = self.0.headers() else {
            return;
        };
        let kept = headers
            .into_iter()
            .filter(|(name, _)| !drops(name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<std::collections::BTreeMap<_, _>>();
        self.0 = std::mem::take(&mut self.0).with_headers(kept.into());
    }

    /// The MIME type of the body.
    pub(crate) fn content_type(&self) -> &str {
        text(self.0.content_type().as_ref())
    }

    /// The encoding of the body.
    pub(crate) fn content_encoding(&self) -> &str {
        text(self.0.content_encoding().as_ref())
    }

    /// What an answer is recognised by.
    pub(crate) fn correlation_id(&self) -> Option<&str> {
        self.0.correlation_id().as_ref().map(ShortString::as_str)
    }

    /// The queue that an answer goes to.
    pub(crate) fn reply_to(&self) -> Option<&str> {
        self.0.reply_to().as_ref().map(ShortString::as_str)
    }

    /// Its priority.
    pub(crate) fn priority(&self) -> Option<u8> {
        *self.0.priority()
    }

    /// Whether a restart of the server keeps it.
    pub(crate) fn delivery_mode(&self) -> u8 {
        self.0.delivery_mode().unwrap_or(1)
    }
}

fn short(text: &str) -> Result<ShortString, String> {
    ShortString::try_new(text).map_err(|_| "a property has more than 255 bytes".to_owned())
}

fn text(text: Option<&ShortString>) -> &str {
    text.map_or("", ShortString::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn headers_are_changed_one_by_one() {
        let headers = Map::from_iter([
            ("task".to_owned(), json!("add")),
            ("x-death".to_owned(), json!([{}])),
        ]);
        let mut properties = Properties::new(&Description::default(), &headers).unwrap();
        let changes = Map::from_iter([("count".to_owned(), json!(3))]);
        properties.set_headers(&changes).unwrap();
        properties.drop_headers(|name| name == "x-death");
        let (headers, wrong) = properties.headers();
        assert_eq!(Value::Object(headers), json!({"task": "add", "count": 3}));
        assert_eq!((wrong, properties.count("count")), (None, Some(3)));
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
}
