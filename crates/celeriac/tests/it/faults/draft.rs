//! Messages that are made part by part, so that each part can be wrong.

use base64_simd::STANDARD;
use celeriac_core::DeadReason;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use serde_json::Value;

use super::ground::QUEUE;

/// What every body holds somewhere, and no log may.
pub(super) const SECRET: &str = "S3CRET";

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is set aside with its bytes, for this reason.
    Dead(DeadReason),
    /// It is run, because nothing is wrong with it for us.
    Runs,
}

pub(super) const MALFORMED: Fate = Fate::Dead(DeadReason::Malformed);

/// A message that is sent as it is.
pub(super) struct Shape {
    pub(super) name: String,
    pub(super) fate: Fate,
    /// The element of the list, for Redis.
    pub(super) element: Option<Vec<u8>>,
    /// What is published, for RabbitMQ.
    pub(super) published: Option<(BasicProperties, Vec<u8>)>,
    /// The body; what cannot be taken apart is kept as a whole.
    pub(super) body: Vec<u8>,
}

impl Shape {
    /// An element of a list that is no envelope.
    pub(super) fn element(name: &str, fate: Fate, element: impl Into<Vec<u8>>) -> Self {
        let element = element.into();
        Self {
            name: name.to_owned(),
            fate,
            body: Vec::new(),
            element: Some(element),
            published: None,
        }
    }

    /// A message that only RabbitMQ can carry.
    pub(super) fn published(
        name: &str,
        fate: Fate,
        properties: BasicProperties,
        body: Vec<u8>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            fate,
            element: None,
            body: body.clone(),
            published: Some((properties, body)),
        }
    }
}

/// A message whose parts can be changed, each in JSON as it is written.
#[derive(Clone)]
pub(super) struct Draft {
    name: String,
    headers: Vec<(String, String)>,
    content_type: String,
    content_encoding: String,
    pub(super) body: Vec<u8>,
}

/// The file that a task makes when it runs.
pub(super) fn footprint(name: &str) -> String {
    format!("{SECRET}-{name}")
}

impl Draft {
    /// A good call, which makes the file `footprint(name)`.
    pub(super) fn new(name: &str) -> Self {
        let headers = [
            ("lang", r#""py""#.to_owned()),
            ("task", r#""shop.nap""#.to_owned()),
            ("id", format!("{name:?}")),
            ("eta", "null".to_owned()),
            ("expires", "null".to_owned()),
            ("retries", "0".to_owned()),
            ("timelimit", "[null, null]".to_owned()),
            ("root_id", format!("{name:?}")),
        ];
        let file = footprint(name);
        Self {
            name: name.to_owned(),
            headers: headers.map(|(key, value)| (key.to_owned(), value)).into(),
            content_type: "application/json".to_owned(),
            content_encoding: "utf-8".to_owned(),
            body: format!(r#"[[0, {file:?}], {{}}, {{"callbacks": null, "chain": null}}]"#).into(),
        }
    }

    pub(super) fn header(mut self, key: &str, value: &str) -> Self {
        let value = value.to_owned();
        match self.headers.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => *known = value,
            None => self.headers.push((key.to_owned(), value)),
        }
        self
    }

    /// The header once more.
    pub(super) fn again(mut self, key: &str, value: &str) -> Self {
        self.headers.push((key.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn without(mut self, key: &str) -> Self {
        self.headers.retain(|(known, _)| known != key);
        self
    }

    pub(super) fn headless(mut self) -> Self {
        self.headers.clear();
        self
    }

    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The arguments, with the footprint in the place of `FILE`.
    pub(super) fn text(self, body: &str) -> Self {
        let file = footprint(&self.name);
        self.body(body.replace("FILE", &file))
    }

    pub(super) fn kind(mut self, content_type: &str, content_encoding: &str) -> Self {
        content_type.clone_into(&mut self.content_type);
        content_encoding.clone_into(&mut self.content_encoding);
        self
    }

    pub(super) fn compressed(self, how: &str) -> Self {
        self.header("compression", &format!("{how:?}"))
    }

    fn headers_text(&self) -> String {
        let pairs = self
            .headers
            .iter()
            .map(|(key, value)| format!("{key:?}: {value}"));
        format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
    }

    fn envelope(&self, headers: &str, body: &str, properties: &str) -> Vec<u8> {
        format!(
            r#"{{"body": {body}, "content-encoding": {:?}, "content-type": {:?}, "headers": {headers}, "properties": {properties}}}"#,
            self.content_encoding, self.content_type,
        )
        .into()
    }

    pub(super) fn properties(&self) -> String {
        format!(
            r#"{{"correlation_id": {0:?}, "delivery_mode": 2, "delivery_info": {{"exchange": "", "routing_key": {QUEUE:?}}}, "priority": 0, "body_encoding": "base64", "delivery_tag": "tag-{1}"}}"#,
            self.name,
            self.name.replace(|letter: char| !letter.is_ascii(), "-")
        )
    }

    fn base64(&self) -> String {
        format!("{:?}", STANDARD.encode_to_string(&self.body))
    }

    pub(super) fn amqp(&self) -> Option<BasicProperties> {
        let headers: serde_json::Map<String, Value> =
            serde_json::from_str(&self.headers_text()).ok()?;
        // A table has each name once.
        if headers.len() < self.headers.len() {
            return None;
        }
        Some(
            BasicProperties::default()
                .with_headers(table(&headers)?)
                .with_content_type(self.content_type.as_str().into())
                .with_content_encoding(self.content_encoding.as_str().into())
                .with_delivery_mode(2),
        )
    }

    pub(super) fn shape(self, fate: Fate) -> Shape {
        let (headers, body, properties) = (self.headers_text(), self.base64(), self.properties());
        Shape {
            element: Some(self.envelope(&headers, &body, &properties)),
            published: self
                .amqp()
                .map(|properties| (properties, self.body.clone())),
            name: self.name,
            fate,
            body: self.body,
        }
    }

    /// Only for Redis, with other parts of the envelope than its own.
    pub(super) fn redis(
        self,
        fate: Fate,
        parts: impl FnOnce(&Self) -> (Option<String>, Option<String>, Option<String>),
    ) -> Shape {
        let (headers, body, properties) = parts(&self);
        let element = self.envelope(
            &headers.unwrap_or_else(|| self.headers_text()),
            &body.unwrap_or_else(|| self.base64()),
            &properties.unwrap_or_else(|| self.properties()),
        );
        Shape {
            body: self.body,
            ..Shape::element(&self.name, fate, element)
        }
    }
}

fn table(headers: &serde_json::Map<String, Value>) -> Option<FieldTable> {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert(name.as_str().into(), field(value)?);
    }
    Some(table)
}

fn field(value: &Value) -> Option<AMQPValue> {
    Some(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(flag) => AMQPValue::Boolean(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(number) => AMQPValue::LongLongInt(number),
            None => AMQPValue::Double(number.as_f64()?),
        },
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(items) => {
            let items = items.iter().map(field).collect::<Option<Vec<_>>>()?;
            AMQPValue::FieldArray(FieldArray::from(items))
        }
        Value::Object(map) => AMQPValue::FieldTable(table(map)?),
    })
}
