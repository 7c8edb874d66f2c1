//! From a signature to the message that makes the call.

use std::time::Duration;

use celeriac_core::message::later;
use celeriac_core::{
    ContentType, Destination, DestinationError, Headers, Message, Payload, TaskId, Tree, moment,
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Signature, SignatureError, several};
use crate::body::{Body, Embed};

/// The message of a signature, and where it goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// The message.
    pub message: Message,
    /// Where its options send it.
    pub target: Target,
}

/// Where the options of a signature send it; what is `None` is the sender's to choose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// The queue.
    pub queue: Option<String>,
    /// The exchange, instead of a queue.
    pub exchange: Option<String>,
    /// The routing key.
    pub routing_key: Option<String>,
}

impl Target {
    /// It as one value; `None` if the options say nothing.
    ///
    /// # Errors
    ///
    /// [`DestinationError`] if it is no place to send to.
    pub fn destination(&self) -> Result<Option<Destination>, DestinationError> {
        let (queue, exchange) = (self.queue.as_deref(), self.exchange.as_deref());
        Destination::of(queue, exchange, self.routing_key.as_deref())
    }
}

impl Signature {
    /// The message that makes this call, sent at `now`.
    ///
    /// Its options are headers, and the workflow in its body; without a `task_id` it gets a new one.
    /// The sender adds what only it knows: its name as origin, and the parent if that is not among
    /// the options.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Composite`] if it is no one call, and [`SignatureError::Field`] for an option
    /// of the wrong form.
    pub fn to_message(&self, now: Timestamp) -> Result<Sent, SignatureError> {
        if self.composite()?.is_some() {
            let kind = self.subtask_type.as_deref().unwrap_or(&self.task);
            return Err(SignatureError::Composite(kind.to_owned()));
        }
        let options = Options(self);
        let id = options
            .text("task_id")?
            .map_or_else(TaskId::new, TaskId::from);
        let headers = Headers {
            lang: "rs".to_owned(),
            task: self.task.clone(),
            eta: options.eta(now)?,
            expires: options.moment("expires", now)?,
            group: options.text("group_id")?.map(ToOwned::to_owned),
            retries: options.read("retries")?.unwrap_or(0),
            timelimit: Some((
                options.read("time_limit")?,
                options.read("soft_time_limit")?,
            )),
            root_id: Some(
                options
                    .text("root_id")?
                    .map_or_else(|| id.clone(), TaskId::from),
            ),
            parent_id: options.text("parent_id")?.map(TaskId::from),
            origin: None,
            ignore_result: options.read("ignore_result")?,
            extra: self.further_headers(),
            id,
        };
        let content_type = options.content_type()?;
        Ok(Sent {
            message: Message {
                headers,
                priority: options.read::<u8>("priority")?.unwrap_or(0).min(9),
                reply_to: options.text("reply_to")?.map(ToOwned::to_owned),
                correlation_id: None,
                exchange: None,
                body: self.body(content_type)?,
            },
            target: Target {
                queue: options.queue()?.map(ToOwned::to_owned),
                exchange: options.text("exchange")?.map(ToOwned::to_owned),
                routing_key: options.text("routing_key")?.map(ToOwned::to_owned),
            },
        })
    }

    fn body(&self, content_type: ContentType) -> Result<Payload, SignatureError> {
        let list = |name: &'static str| {
            self.options
                .get(name)
                .map_or(Ok(Vec::new()), |tree| several(tree.clone(), name))
        };
        let embed = Embed {
            callbacks: list("link")?,
            errbacks: list("link_error")?,
            chain: list("chain")?,
            chord: self
                .options
                .get("chord")
                .cloned()
                .map(Self::from_tree)
                .transpose()?,
            ..Embed::default()
        };
        Ok(Body::of(content_type, &self.args, &self.kwargs, embed).encode())
    }

    /// The headers that core has no field for: position, stamps, and what the caller gave as headers.
    fn further_headers(&self) -> Map<String, Value> {
        let mut headers = Map::new();
        if let Some(Tree::Map(custom)) = self.options.get("headers") {
            headers.extend(
                custom
                    .iter()
                    .map(|(name, tree)| (name.clone(), value(tree))),
            );
        }
        for name in [
            "group_index",
            "shadow",
            "replaced_task_nesting",
            "compression",
        ] {
            if let Some(tree) = self.options.get(name) {
                headers.insert(name.to_owned(), value(tree));
            }
        }
        let args = Tree::List(self.args.clone()).to_json();
        headers.insert("argsrepr".to_owned(), json!(shortened(args)));
        headers.insert(
            "kwargsrepr".to_owned(),
            json!(shortened(Tree::from(self.kwargs.clone()).to_json())),
        );
        let stamped = self.stamped_headers();
        if !stamped.is_empty() {
            let stamps: Map<_, _> = stamped
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), value(self.options.get(name)?))))
                .collect();
            headers.insert("stamped_headers".to_owned(), json!(stamped));
            headers.insert("stamps".to_owned(), Value::Object(stamps));
        }
        headers
    }
}

/// The most characters of arguments in a header that only people read.
const MOST_SHOWN: usize = 1024;

fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MOST_SHOWN) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A tree as a header. What JSON has no form for is null there.
fn value(tree: &Tree) -> Value {
    serde_json::from_str(&tree.to_json()).unwrap_or(Value::Null)
}

/// The options of a signature, read as what they have to be.
struct Options<'a>(&'a Signature);

impl<'a> Options<'a> {
    fn text(&self, name: &'static str) -> Result<Option<&'a str>, SignatureError> {
        let value = self.0.options.get(name);
        let wrong = || SignatureError::Field(name);
        value
            .map(|tree| tree.as_text().ok_or_else(wrong))
            .transpose()
    }

    fn read<T: serde::de::DeserializeOwned>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, SignatureError> {
        let value = self.0.options.get(name);
        value
            .map(|tree| tree.read().map_err(|_| SignatureError::Field(name)))
            .transpose()
    }

    /// The queue by name, which Python may have put among its further properties.
    fn queue(&self) -> Result<Option<&'a str>, SignatureError> {
        match self.0.options.get("queue") {
            Some(Tree::Map(_)) => Ok(self
                .0
                .options
                .get("queue")
                .and_then(|queue| queue.get("name")?.as_text())),
            _ => self.text("queue"),
        }
    }

    /// A time, given as such or in seconds from `now`.
    fn moment(
        &self,
        name: &'static str,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, SignatureError> {
        let wrong = || SignatureError::Field(name);
        let Some(tree) = self.0.options.get(name) else {
            return Ok(None);
        };
        if let Ok(seconds) = tree.read::<f64>() {
            let after = Duration::try_from_secs_f64(seconds.max(0.0)).map_err(|_| wrong())?;
            return Ok(Some(later(now, after)));
        }
        let text: String = tree.read().map_err(|_| wrong())?;
        moment::read(&text).map(Some).map_err(|_| wrong())
    }

    /// When it may start: `eta`, or else `countdown` seconds from now.
    fn eta(&self, now: Timestamp) -> Result<Option<Timestamp>, SignatureError> {
        match self.moment("eta", now)? {
            None => self.moment("countdown", now),
            eta => Ok(eta),
        }
    }

    fn content_type(&self) -> Result<ContentType, SignatureError> {
        Ok(match self.text("serializer")? {
            Some("msgpack" | "application/x-msgpack") => ContentType::Msgpack,
            Some("yaml" | "application/x-yaml") => ContentType::Yaml,
            _ => ContentType::Json,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn send(options: &str) -> Result<Sent, SignatureError> {
        let json = format!(r#"{{"task":"a","args":[1],"kwargs":{{"k":2}},"options":{options}}}"#);
        Signature::from_tree(Tree::parse(json.as_bytes()).unwrap())
            .unwrap()
            .to_message(NOW)
    }

    #[test]
    fn options_become_headers_and_workflow() {
        let sent = send(
            r#"{"task_id":"x","group_id":"g","group_index":2,"root_id":"r","parent_id":"p",
            "countdown":1.5,"expires":60,"priority":7,"reply_to":"q","time_limit":30,"queue":"fast",
            "headers":{"mine":1},"stamped_headers":["by"],"by":"me","shadow":null,
            "link":{"task":"b"},"chain":[{"task":"c"}],"chord":{"task":"d"}}"#,
        )
        .unwrap();
        let headers = &sent.message.headers;
        assert_eq!(headers.id, "x".into());
        assert_eq!(headers.group.as_deref(), Some("g"));
        assert_eq!(headers.extra["group_index"], 2);
        assert_eq!(headers.eta.unwrap().as_millisecond(), 1500);
        assert_eq!(headers.expires.unwrap().as_second(), 60);
        assert_eq!(headers.timelimit, Some((Some(30.0), None)));
        assert_eq!(headers.extra["mine"], 1);
        assert_eq!(headers.extra["stamps"], json!({"by": "me"}));
        assert_eq!(headers.extra.get("shadow"), None);
        assert_eq!(sent.message.priority, 7);
        assert_eq!(sent.message.reply_to.as_deref(), Some("q"));
        assert_eq!(sent.target.queue.as_deref(), Some("fast"));
        let body: Value = sent.message.body.decode().unwrap();
        assert_eq!(body[0], json!([1]));
        assert_eq!(body[1], json!({"k": 2}));
        assert_eq!(body[2]["callbacks"][0]["task"], "b");
        assert_eq!(body[2]["errbacks"], Value::Null);
        assert_eq!(body[2]["chain"][0]["task"], "c");
        assert_eq!(body[2]["chord"]["task"], "d");
    }

    #[test]
    fn a_call_without_an_id_gets_one_and_is_its_own_root() {
        let sent = send("{}").unwrap();
        assert_eq!(
            sent.message.headers.root_id.as_ref(),
            Some(&sent.message.headers.id)
        );
        assert_ne!(
            send("{}").unwrap().message.headers.id,
            sent.message.headers.id
        );
    }

    #[test]
    fn times_are_read_in_every_form() {
        let tagged = r#"{"eta":{"__type__":"datetime","__value__":"1970-01-01T00:00:05+00:00"}}"#;
        for options in [
            tagged,
            r#"{"eta":"1970-01-01T00:00:05"}"#,
            r#"{"countdown":5}"#,
        ] {
            assert_eq!(
                send(options)
                    .unwrap()
                    .message
                    .headers
                    .eta
                    .unwrap()
                    .as_second(),
                5
            );
        }
    }

    #[test]
    fn options_of_the_wrong_form_are_named() {
        for (options, name) in [
            (r#"{"task_id":7}"#, "task_id"),
            (r#"{"eta":"soon"}"#, "eta"),
            (r#"{"expires":[]}"#, "expires"),
            (r#"{"link":7}"#, "link"),
            (r#"{"priority":"high"}"#, "priority"),
        ] {
            assert_eq!(send(options), Err(SignatureError::Field(name)));
        }
        let chain = Signature::chain(vec![]).to_message(NOW);
        assert_eq!(chain, Err(SignatureError::Composite("chain".to_owned())));
    }
}
