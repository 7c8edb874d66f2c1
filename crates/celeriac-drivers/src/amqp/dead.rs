//! Dead messages: a durable queue of all that will not be delivered any more.
//!
//! AMQP cannot list a queue. So it is browsed: consumed by one at a time, with nothing acknowledged
//! but what is taken out; the rest goes back to where it was.

use celeriac_core::{BrokerError, DeadMessage, DeadReason, QueueName, TaskId};
use futures_util::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::time::Duration;

use super::codec;
use super::hub::{Hub, Letter};
use super::names::Entity;
use super::shelf::Raw;
use super::transport::{Channel, Consume, Incoming, LinkError, code};

/// What a dead message says of its death.
const DEATH: &str = "celeriac-dead";

/// How often, and with what wait, somebody else's browsing is waited for.
const TURNS: (u32, Duration) = (100, Duration::from_millis(50));

/// How and why a message died.
#[derive(Debug)]
pub(crate) struct Burial {
    queue: QueueName,
    reason: DeadReason,
    detail: String,
    deliveries: u32,
}

impl Burial {
    pub(crate) fn new(
        queue: QueueName,
        reason: DeadReason,
        detail: String,
        deliveries: u32,
    ) -> Self {
        Self {
            queue,
            reason,
            detail,
            deliveries,
        }
    }

    /// The letter that buries the message.
    pub(crate) fn letter(&self, raw: &Raw) -> Letter {
        let now = Timestamp::now();
        let mut death = Map::new();
        for (name, value) in [
            ("number", Value::from(number(now))),
            ("queue", self.queue.as_str().into()),
            ("reason", self.reason.as_str().into()),
            ("detail", self.detail.as_str().into()),
            ("died_ms", now.as_millisecond().into()),
            ("deliveries", self.deliveries.into()),
        ] {
            death.insert(name.to_owned(), value);
        }
        // The original headers stay, to the letter.
        let mut properties = raw.properties.clone();
        let headers = Map::from_iter([(DEATH.to_owned(), Value::Object(death))]);
        if properties.set_headers(&headers).is_err() {
            debug_assert!(false, "the names of a death are short");
        }
        Letter {
            to: Entity::Dead,
            properties,
            body: raw.body.clone(),
        }
    }
}

/// A number by the time of death, which no other message has.
fn number(now: Timestamp) -> i64 {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    let random = i64::try_from(random >> 44).unwrap_or_default();
    (now.as_millisecond() << 20) | random
}

/// The dead message that was delivered; one without a death is none of ours.
fn read(incoming: &Incoming) -> Option<DeadMessage> {
    let (headers, _) = incoming.properties.headers();
    let death = headers.get(DEATH)?;
    let reason = death["reason"].as_str()?;
    let count = |name: &str| {
        death[name]
            .as_u64()
            .and_then(|count| u32::try_from(count).ok())
    };
    Some(DeadMessage {
        number: death["number"].as_i64()?,
        queue: QueueName::new(death["queue"].as_str()?).ok()?,
        reason: DeadReason::ALL
            .into_iter()
            .find(|it| it.as_str() == reason)?,
        detail: death["detail"].as_str().unwrap_or_default().to_owned(),
        died_at: Timestamp::from_millisecond(death["died_ms"].as_i64()?).ok()?,
        deliveries: count("deliveries").unwrap_or_default(),
        headers: codec::headers_text(&incoming.properties),
        content_type: incoming.properties.content_type().to_owned(),
        body: incoming.body.to_vec(),
    })
}

/// What browsing does with a message.
pub(crate) enum Pick {
    /// It stays.
    Leave,
    /// It is deleted.
    Drop,
    /// It is published as this, and then deleted.
    Move(Box<Letter>),
}

impl Pick {
    /// It is published as `letter`.
    pub(crate) fn to(letter: Letter) -> Self {
        Self::Move(Box::new(letter))
    }
}

/// Shows each message of a queue to `pick`, oldest first, and does with it what that says. How many
/// were taken out is returned. Nobody else can browse meanwhile, and nothing is lost if this ends
/// half-way.
pub(crate) async fn browse(
    hub: &Hub,
    entity: &Entity,
    mut pick: impl FnMut(&Incoming) -> Pick,
) -> Result<u64, BrokerError> {
    let name = entity.name(&hub.settings);
    let refused = |error| super::failure::at(&hub.address(), error);
    let Some((channel, stream)) = open(hub, &name).await? else {
        return Ok(0);
    };
    // The server answers after it has delivered what there was.
    channel.look_at(&name).await.map_err(refused)?;
    channel.cancel("browse").await.map_err(refused)?;
    let mut stream = stream;
    let (mut last, mut taken, mut letters) = (None, Vec::new(), Vec::new());
    while let Some(Some(incoming)) = stream.next().now_or_never() {
        let incoming = incoming.map_err(refused)?;
        last = Some(incoming.tag);
        match pick(&incoming) {
            Pick::Leave => continue,
            Pick::Drop => {}
            Pick::Move(letter) => letters.push(*letter),
        }
        taken.push((incoming.tag, false));
    }
    let count = taken.len() as u64;
    if !letters.is_empty() {
        hub.send(letters).await?;
    }
    channel.acknowledge(&taken).map_err(refused)?;
    if last.is_some() {
        channel.give_back_all().map_err(refused)?;
        // The answer comes after they are back.
        channel.look_at(&name).await.map_err(refused)?;
    }
    Ok(count)
}

/// Begins to browse, once nobody else does; nothing if there is no such queue.
async fn open(
    hub: &Hub,
    name: &str,
) -> Result<Option<(Channel, super::transport::Stream)>, BrokerError> {
    let mut tries = 0;
    loop {
        let channel = hub.channel().await?;
        let alone = Consume {
            exclusive: true,
            ..Consume::default()
        };
        match channel.consume(name, "browse", 0, alone, &Map::new()).await {
            Ok(stream) => return Ok(Some((channel, stream))),
            Err(error) if error.is_code(code::NOT_FOUND) => return Ok(None),
            Err(error) if error.is_code(code::ACCESS_REFUSED) && tries < TURNS.0 => {
                tries += 1;
                tokio::time::sleep(TURNS.1).await;
            }
            Err(LinkError::Refused { code, text }) if code == code::ACCESS_REFUSED => {
                return Err(super::failure::at(&hub.address(), LinkError::Lost(text)));
            }
            Err(error) => return Err(super::failure::at(&hub.address(), error)),
        }
    }
}

/// Dead messages, newest first, at most `limit`.
pub(crate) async fn list(hub: &Hub, limit: usize) -> Result<Vec<DeadMessage>, BrokerError> {
    let mut newest = std::collections::VecDeque::new();
    browse(hub, &Entity::Dead, |incoming| {
        newest.extend(read(incoming));
        if newest.len() > limit {
            newest.pop_front();
        }
        Pick::Leave
    })
    .await?;
    let mut newest: Vec<_> = newest.into_iter().rev().collect();
    newest.sort_by_key(|dead| std::cmp::Reverse(dead.died_at));
    Ok(newest)
}

/// How many dead messages each queue has.
pub(crate) async fn count(
    hub: &Hub,
) -> Result<std::collections::HashMap<QueueName, u64>, BrokerError> {
    let mut counts = std::collections::HashMap::new();
    browse(hub, &Entity::Dead, |incoming| {
        if let Some(dead) = read(incoming) {
            *counts.entry(dead.queue).or_insert(0) += 1;
        }
        Pick::Leave
    })
    .await?;
    Ok(counts)
}

/// Deletes dead messages.
pub(crate) async fn drop_all(hub: &Hub, numbers: &[i64]) -> Result<u64, BrokerError> {
    browse(hub, &Entity::Dead, |incoming| match read(incoming) {
        Some(dead) if numbers.contains(&dead.number) => Pick::Drop,
        _ => Pick::Leave,
    })
    .await
}

/// Puts dead messages back in their queues, but for those that are malformed, and says which calls
/// those are.
pub(crate) async fn retry(hub: &Hub, numbers: &[i64]) -> Result<Vec<TaskId>, BrokerError> {
    let mut ids = Vec::new();
    browse(hub, &Entity::Dead, |incoming| match read(incoming) {
        Some(dead) if numbers.contains(&dead.number) && dead.reason != DeadReason::Malformed => {
            match codec::with_count(&incoming.properties, 0) {
                Ok(properties) => {
                    ids.push(properties.correlation_id().unwrap_or_default().into());
                    Pick::to(Letter {
                        to: Entity::Tasks(dead.queue),
                        properties,
                        body: incoming.body.clone(),
                    })
                }
                Err(_) => Pick::Leave,
            }
        }
        _ => Pick::Leave,
    })
    .await?;
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buried_message_is_read_with_its_bytes_and_its_end() {
        let to = Entity::Dead;
        let letter = codec::encode(to, &celeriac_testkit::call("t", 1)).unwrap();
        let raw = Raw {
            properties: letter.properties.clone(),
            body: letter.body.clone(),
        };
        let queue = QueueName::default();
        let burial = Burial::new(queue.clone(), DeadReason::Unregistered, "why".to_owned(), 3);
        let buried = burial.letter(&raw);
        let dead = read(&Incoming {
            tag: 1,
            redelivered: false,
            exchange: None,
            properties: buried.properties,
            body: buried.body,
        });
        let dead = dead.unwrap();
        assert_eq!((dead.queue, dead.deliveries), (queue, 3));
        assert_eq!(dead.headers, codec::headers_text(&letter.properties));
        assert_eq!(dead.body, letter.body);
    }

    #[test]
    fn numbers_grow_with_time_and_differ() {
        let now = Timestamp::now();
        assert!(number(now) > 0);
        assert!(number(now + Duration::from_secs(1)) > number(now));
    }
}
