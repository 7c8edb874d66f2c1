//! Messages as AMQP carries them: headers in a table, the rest in properties.

use bytes::Bytes;
use celeriac_core::Message;
use celeriac_wire::WireMessage;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::hub::Letter;
use super::names::Entity;
use super::transport::{Description, Properties};

/// How often a message was delivered and counted before it was published again.
const DELIVERIES: &str = "celeriac-deliveries";

/// How often a quorum queue has had it back.
const RETURNS: &str = "x-delivery-count";

/// What the worker calls the delivery that a copy stands for.
const KEPT: &str = "celeriac-kept";

/// Set if the call was revoked while the message waited for its time.
const REVOKED: &str = "celeriac-revoked";

/// Whether a header is about the way of a message, and not the sender's.
fn is_of_transport(name: &str) -> bool {
    const PREFIXES: [&str; 5] = [
        "celeriac-",
        "x-death",
        "x-first-death-",
        "x-last-death-",
        RETURNS,
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

/// The message that was delivered, or why it is none.
pub(crate) fn decode(properties: &Properties, body: &Bytes) -> Result<Message, String> {
    let (mut headers, wrong) = properties.headers();
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    headers.retain(|name, _| !is_of_transport(name));
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let wire = WireMessage {
        headers,
        properties: celeriac_wire::Properties {
            correlation_id: owned(properties.correlation_id()),
            reply_to: owned(properties.reply_to()),
            delivery_mode: properties.delivery_mode(),
            priority: properties.priority(),
            content_type: properties.content_type().to_owned(),
            content_encoding: properties.content_encoding().to_owned(),
            expiration: None,
        },
        body: body.clone(),
    };
    let mut message = wire.decode().map_err(|error| error.to_string())?;
    let headers = &mut message.headers;
    headers
        .extra
        .retain(|name, value| !says_nothing(name, value));
    headers.timelimit = headers.timelimit.filter(|limits| *limits != (None, None));
    Ok(message)
}

/// Whether a header that every message has says no more than that it has it.
fn says_nothing(name: &str, value: &Value) -> bool {
    match name {
        "shadow" | "group_index" | "stamped_headers" => value.is_null(),
        "argsrepr" => value == "()",
        "kwargsrepr" => value == "{}",
        "replaced_task_nesting" => value == 0,
        "stamps" => value.as_object().is_some_and(Map::is_empty),
        _ => false,
    }
}

/// How often it was delivered before, as far as that is counted in it.
pub(crate) fn counted(properties: &Properties) -> u32 {
    let count = |name| properties.count(name).unwrap_or(0);
    u32::try_from(count(DELIVERIES) + count(RETURNS)).unwrap_or(u32::MAX)
}

/// Whether its queue counts by itself how often it comes back.
pub(crate) fn counts_itself(properties: &Properties) -> bool {
    properties.count(RETURNS).is_some()
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
    let mut marked = with_count(properties, counted(properties))?;
    marked.set_headers(&Map::from_iter([(REVOKED.to_owned(), 1.into())]))?;
    Ok(marked)
}

/// Whether it is marked as revoked.
pub(crate) fn is_marked_revoked(properties: &Properties) -> bool {
    properties.count(REVOKED).is_some()
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

    #[test]
    fn a_message_comes_out_as_it_went_in() {
        let sent = letter();
        let message = decode(&sent.properties, &sent.body).unwrap();
        assert_eq!(message.headers.extra["mine"], json!({"a": [1]}));
        let again = encode(sent.to.clone(), &message).unwrap();
        assert_eq!(decode(&again.properties, &again.body).unwrap(), message);
        assert_eq!(again.properties.reply_to(), Some("answers"));
    }

    #[test]
    fn the_count_travels_in_a_header_that_the_task_does_not_see() {
        let sent = letter();
        let again = with_count(&sent.properties, 3).unwrap();
        assert_eq!(counted(&again), 3);
        assert!(!counts_itself(&again));
        let message = decode(&again, &sent.body).unwrap();
        assert!(!message.headers.extra.contains_key(DELIVERIES));
        assert_eq!(counted(&with_count(&again, 0).unwrap()), 0);
    }
}
