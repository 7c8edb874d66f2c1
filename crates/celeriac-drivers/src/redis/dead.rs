//! The dead messages.

use std::collections::HashMap;

use celeriac_core::{DeadMessage, DeadReason, QueueName, ResultState};
use celeriac_wire::{Envelope, result};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::failure::Failure;
use super::link::Call;
use super::scripts;
use super::store::Inner;

/// How many are read together.
const AT_ONCE: usize = 100;

/// The dead messages, newest first.
pub(super) async fn list(inner: &Inner, limit: usize) -> Result<Vec<DeadMessage>, Failure> {
    let mut ask = redis::cmd("ZREVRANGE");
    let last = i64::try_from(limit).unwrap_or(i64::MAX) - 1;
    ask.arg(inner.keys.own("dead_index")).arg(0).arg(last);
    if limit == 0 {
        return Ok(Vec::new());
    }
    let numbers: Vec<i64> = inner.link.command(ask).await?;
    let mut dead = Vec::with_capacity(numbers.len());
    for numbers in numbers.chunks(AT_ONCE) {
        let mut ask = redis::pipe();
        for number in numbers {
            ask.cmd("HGETALL")
                .arg(inner.keys.own(&format!("dead:{number}")));
        }
        let entries: Vec<HashMap<String, Vec<u8>>> = inner.link.pipeline(ask).await?;
        let read = numbers.iter().zip(entries);
        dead.extend(read.filter_map(|(number, entry)| read_entry(*number, &entry)));
    }
    Ok(dead)
}

/// Puts dead messages back.
pub(super) async fn retry(inner: &Inner, numbers: &[i64]) -> Result<u64, Failure> {
    let mut retried = 0;
    for numbers in numbers.chunks(AT_ONCE) {
        let mut ask = redis::pipe();
        for number in numbers {
            ask.cmd("HGET")
                .arg(inner.keys.own(&format!("dead:{number}")))
                .arg("message");
        }
        let messages: Vec<Option<Vec<u8>>> = inner.link.pipeline(ask).await?;
        let results: Vec<_> = messages
            .into_iter()
            .map(|message| Some(inner.keys.result(&id_of(&message?)?)))
            .collect();
        let failures = compressed_failures(inner, results.iter().flatten()).await?;
        let mut call = Call::new(&scripts::RETRY_DEAD, inner.keys.script());
        for (number, result) in numbers.iter().zip(results) {
            let result = result.unwrap_or_default();
            let failure = failures.get(&result).map_or(&[][..], Vec::as_slice);
            call.arg(*number).arg(&result).arg(failure);
        }
        retried += inner.link.run::<u64>(call).await?;
    }
    Ok(retried)
}

/// The failures at these keys that are stored compressed, which no script can read.
async fn compressed_failures(
    inner: &Inner,
    keys: impl Iterator<Item = &String>,
) -> Result<HashMap<String, Vec<u8>>, Failure> {
    let keys: Vec<&String> = keys.collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let mut ask = redis::cmd("MGET");
    ask.arg(&keys);
    let held: Vec<Option<Vec<u8>>> = inner.link.command(ask).await?;
    let failed = |held: &Vec<u8>| {
        held.starts_with(b"\0")
            && result::decode(held, Timestamp::now())
                .is_ok_and(|held| held.state == ResultState::Failure)
    };
    let found = keys.into_iter().zip(held);
    Ok(found
        .filter_map(|(key, held)| Some((key.clone(), held.filter(failed)?)))
        .collect())
}

/// The call that a message makes.
fn id_of(element: &[u8]) -> Option<String> {
    let message = Envelope::decode(element).ok()?.message.decode().ok()?;
    Some(message.headers.id.to_string())
}

/// Deletes dead messages.
pub(super) async fn drop(inner: &Inner, numbers: &[i64]) -> Result<u64, Failure> {
    let mut call = Call::new(&scripts::DROP_DEAD, inner.keys.script());
    call.arg(numbers);
    inner.link.run(call).await
}

/// One entry; `None` if it was dropped meanwhile.
fn read_entry(number: i64, entry: &HashMap<String, Vec<u8>>) -> Option<DeadMessage> {
    let text = |name: &str| entry.get(name).map(|value| String::from_utf8_lossy(value));
    let reason = text("reason")?;
    let message = entry.get("message")?;
    let Parts {
        headers,
        content_type,
        body,
    } = Parts::of(message);
    Some(DeadMessage {
        number,
        queue: QueueName::new(&text("queue")?).ok()?,
        reason: DeadReason::ALL
            .into_iter()
            .find(|known| known.as_str() == reason)
            // Written by a newer worker.
            .unwrap_or(DeadReason::Malformed),
        detail: text("detail")?.into_owned(),
        died_at: text("died_at")?
            .parse::<i64>()
            .ok()
            .and_then(|ms| Timestamp::from_millisecond(ms).ok())?,
        deliveries: text("deliveries")?.parse().ok()?,
        headers,
        content_type,
        body,
    })
}

/// What is in an element of a list, as far as it can be told apart.
struct Parts {
    headers: Vec<u8>,
    content_type: String,
    body: Vec<u8>,
}

impl Parts {
    /// The parts of an envelope; if it is none, its bytes stand for the headers.
    fn of(element: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Outside<'a> {
            #[serde(borrow)]
            headers: &'a RawValue,
        }
        let parts = serde_json::from_slice::<Outside<'_>>(element).ok();
        let envelope = Envelope::decode(element).ok();
        match (parts, envelope) {
            (Some(parts), Some(envelope)) => Self {
                headers: parts.headers.get().as_bytes().to_vec(),
                content_type: envelope.message.properties.content_type,
                body: envelope.message.body.to_vec(),
            },
            _ => Self {
                headers: element.to_vec(),
                content_type: String::new(),
                body: Vec::new(),
            },
        }
    }
}
