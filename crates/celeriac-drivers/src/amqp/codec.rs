//! Messages as AMQP carries them: headers in a table, the rest in properties.

use bytes::Bytes;
use celeriac_core::Message;
use celeriac_wire::{DecodeError, WireMessage};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::hub::Letter;
use super::names::Entity;
use super::transport::{Description, Entry, Properties};

/// How often a message was delivered and counted before it was published again.
const DELIVERIES: &str = "celeriac-deliveries";

/// How often a quorum queue has had it back; from RabbitMQ 4.3 on, from who failed with it.
const RETURNS: &str = "x-delivery-count";

/// How often a quorum queue of RabbitMQ 4.3 has given it away, also to who gave it back unread.
const ACQUIRED: &str = "x-acquired-count";

/// What the worker calls the delivery that a copy stands for.
const KEPT: &str = "celeriac-kept";

/// Set if the call was revoked while the message waited for its time.
const REVOKED: &str = "celeriac-revoked";

/// Whether a header is about the way of a message, and not the sender's.
fn is_of_transport(name: &str) -> bool {
    const PREFIXES: [&str; 6] = [
        "celeriac-",
        "x-death",
        "x-first-death-",
        "x-last-death-",
        RETURNS,
        ACQUIRED,
    ];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The letter that carries `message` to a queue.
///
/// The property `expiration` is left out: with it the server itself would drop the message, and who
/// waits for the result would never hear of it.
pub(crate) fn encode(to: Entity, message: &Message) -> Result<Letter, String> {
    let wire = WireMessage::encode(message, Timestamp::now());
    let said = &wire.properties;
    let description = Description {
        content_type: &said.content_type,
        content_encoding: &said.content_encoding,
        correlation_id: said.correlation_id.as_deref(),
        reply_to: said.reply_to.as_deref(),
        priority: said.priority,
        persistent: said.delivery_mode == 2,
    };
    Ok(Letter {
        to,
        properties: Properties::new(&description, &wire.headers)?,
        body: wire.body,
    })
}

/// The message that was delivered, its body inflated to at most `limit_bytes`, or why it is none;
/// and what its headers say of its way. All in one go over them, as it is done for every delivery.
pub(crate) fn open(
    properties: &Properties,
    body: &Bytes,
    limit_bytes: usize,
) -> (Result<Message, DecodeError>, Way) {
    let mut way = Way::default();
    let headers = properties.read_headers(|entry| way.note(entry) || says_nothing(entry));
    match headers {
        Ok(headers) => {
            let said = wire_properties(properties);
            let message = said.call(headers, body.clone(), limit_bytes);
            (message.map(tidied), way)
        }
        // Protocol 1, or malformed: the way through all steps says which.
        Err(_) => (
            decode_by_steps(properties, body, limit_bytes),
            Way::of(properties),
        ),
    }
}

fn decode_by_steps(
    properties: &Properties,
    body: &Bytes,
    limit_bytes: usize,
) -> Result<Message, DecodeError> {
    let (mut headers, wrong) = properties.headers();
    if let Some(wrong) = wrong {
        return Err(DecodeError::Headers(wrong));
    }
    headers.retain(|name, _| !is_of_transport(name));
    let wire = WireMessage {
        headers,
        properties: wire_properties(properties),
        body: body.clone(),
    };
    wire.decode_within(limit_bytes).map(tidied)
}

fn wire_properties(properties: &Properties) -> celeriac_wire::Properties {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    celeriac_wire::Properties {
        correlation_id: owned(properties.correlation_id()),
        reply_to: owned(properties.reply_to()),
        delivery_mode: properties.delivery_mode(),
        priority: properties.priority(),
        content_type: properties.content_type().to_owned(),
        content_encoding: properties.content_encoding().to_owned(),
        expiration: None,
    }
}

fn tidied(mut message: Message) -> Message {
    let limits = &mut message.headers.timelimit;
    *limits = limits.filter(|limits| *limits != (None, None));
    message
}

/// Whether a header that every message has says no more than that it has it.
fn says_nothing(entry: &Entry<'_>) -> bool {
    match entry.name {
        b"argsrepr" => entry.value.is_text("()"),
        b"kwargsrepr" => entry.value.is_text("{}"),
        b"replaced_task_nesting" => entry.value.count() == Some(0),
        b"stamps" => entry.value.is_empty_table(),
        _ => false,
    }
}

/// What the headers of a message say of its way here.
#[derive(Debug, Default)]
pub(crate) struct Way {
    deliveries: Option<u64>,
    returns: Option<u64>,
    was_acquired: bool,
    /// Whether its call was revoked while it waited for its time.
    pub(crate) is_revoked: bool,
}

impl Way {
    /// That of a message with these properties.
    pub(crate) fn of(properties: &Properties) -> Self {
        let mut way = Self::default();
        for entry in properties.entries() {
            way.note(&entry);
        }
        way
    }

    /// Takes note of a header, if it is about the way.
    fn note(&mut self, entry: &Entry<'_>) -> bool {
        // Most are not, and their first letter says so.
        let Some(b'c' | b'x') = entry.name.first() else {
            return false;
        };
        let Ok(name) = std::str::from_utf8(entry.name) else {
            return false;
        };
        match name {
            DELIVERIES => self.deliveries = entry.value.count(),
            RETURNS => self.returns = entry.value.count(),
            ACQUIRED => self.was_acquired = true,
            REVOKED => self.is_revoked = entry.value.count().is_some(),
            _ => {}
        }
        is_of_transport(name)
    }

    /// How often the message was delivered before, as far as that is counted in it.
    pub(crate) fn counted(&self) -> u32 {
        let [deliveries, returns] = [self.deliveries, self.returns].map(Option::unwrap_or_default);
        u32::try_from(deliveries.saturating_add(returns)).unwrap_or(u32::MAX)
    }

    /// The same with what only the server knows: whether the message comes back now.
    pub(crate) fn before(&self, redelivered: bool) -> u32 {
        let uncounted = redelivered && !self.counts_itself();
        self.counted().saturating_add(u32::from(uncounted))
    }

    /// Whether its queue counts by itself how often it comes back.
    pub(crate) fn counts_itself(&self) -> bool {
        self.returns.is_some() || self.was_acquired
    }
}

/// The properties with which it is published again, delivered `count` times so far.
pub(crate) fn with_count(properties: &Properties, count: u32) -> Result<Properties, String> {
    let mut again = properties.clone();
    again.drop_headers(is_of_transport);
    if count > 0 {
        let count = Map::from_iter([(DELIVERIES.to_owned(), count.into())]);
        again.set_headers(&count)?;
    }
    Ok(again)
}

/// Marks the copy of what the worker holds under this number.
pub(crate) fn with_keeping(mut properties: Properties, tag: i64) -> Result<Properties, String> {
    properties.set_headers(&Map::from_iter([(KEPT.to_owned(), tag.into())]))?;
    Ok(properties)
}

/// Of what the worker holds this is a copy.
pub(crate) fn kept(properties: &Properties) -> Option<i64> {
    properties
        .count(KEPT)
        .and_then(|tag| i64::try_from(tag).ok())
}

/// Marks a message whose call is revoked.
pub(crate) fn mark_revoked(properties: &Properties) -> Result<Properties, String> {
    let mut marked = with_count(properties, Way::of(properties).counted())?;
    marked.set_headers(&Map::from_iter([(REVOKED.to_owned(), 1.into())]))?;
    Ok(marked)
}

/// The headers as JSON, without those of the way.
pub(crate) fn headers_text(properties: &Properties) -> Vec<u8> {
    let (mut headers, _) = properties.headers();
    headers.retain(|name, _| !is_of_transport(name));
    Value::Object(headers).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use celeriac_core::QueueName;
    use serde_json::json;

    fn letter() -> Letter {
        let to = Entity::Tasks(QueueName::default());
        let mut message = celeriac_testkit::call("shop.charge", 7);
        let mine = json!({"a": [1]});
        message.headers.extra.insert("mine".to_owned(), mine);
        message.reply_to = Some("answers".to_owned());
        encode(to, &message).unwrap()
    }

    fn decode(properties: &Properties, body: &Bytes) -> Message {
        open(properties, body, usize::MAX).0.unwrap()
    }

    #[test]
    fn a_message_comes_out_as_it_went_in() {
        let sent = letter();
        let message = decode(&sent.properties, &sent.body);
        assert_eq!(
            Value::Object(message.headers.extra.clone()),
            json!({"mine": {"a": [1]}})
        );
        let by_steps = decode_by_steps(&sent.properties, &sent.body, usize::MAX);
        assert_eq!(by_steps.unwrap().headers.extra["mine"], json!({"a": [1]}));
        let again = encode(sent.to.clone(), &message).unwrap();
        assert_eq!(decode(&again.properties, &again.body), message);
        assert_eq!(again.properties.reply_to(), Some("answers"));
    }

    #[test]
    fn the_count_travels_in_a_header_that_the_task_does_not_see() {
        let sent = letter();
        let again = with_count(&sent.properties, 3).unwrap();
        let (message, way) = open(&again, &sent.body, usize::MAX);
        assert_eq!((way.counted(), way.counts_itself()), (3, false));
        let message = message.unwrap();
        assert!(!message.headers.extra.contains_key(DELIVERIES));
        assert_eq!(Way::of(&with_count(&again, 0).unwrap()).counted(), 0);
    }

    #[test]
    fn what_was_given_back_unread_is_not_counted_where_the_queue_says_so() {
        let mut sent = letter().properties;
        let given_away = Map::from_iter([(ACQUIRED.to_owned(), 3.into())]);
        sent.set_headers(&given_away).unwrap();
        assert_eq!(Way::of(&sent).before(true), 0);
        let failed = Map::from_iter([(RETURNS.to_owned(), 2.into())]);
        sent.set_headers(&failed).unwrap();
        let (message, way) = open(&sent, &letter().body, usize::MAX);
        assert_eq!(way.before(true), 2);
        assert!(!message.unwrap().headers.extra.contains_key(ACQUIRED));
        assert_eq!(Way::of(&with_count(&sent, 0).unwrap()).before(true), 1);
    }

    #[test]
    fn what_is_no_call_is_counted_too() {
        let count = Map::from_iter([
            (DELIVERIES.to_owned(), 4.into()),
            (RETURNS.to_owned(), 2.into()),
        ]);
        let mut properties = mark_revoked(&Properties::default()).unwrap();
        properties.set_headers(&count).unwrap();
        let (message, way) = open(&properties, &Bytes::new(), usize::MAX);
        assert!(message.is_err());
        let said = (way.counted(), way.counts_itself(), way.is_revoked);
        assert_eq!(said, (6, true, true));
    }
}
