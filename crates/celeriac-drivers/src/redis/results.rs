//! Results under Celery's keys.

use std::time::Duration;

use celeriac_core::message::later;
use celeriac_core::{ResultState, StoredResult, TaskId};
use celeriac_wire::result;
use jiff::Timestamp;

use super::failure::Failure;
use super::keys::Keys;
use super::link::Call;
use super::scripts;
use super::settle::{EXPIRY_MOST_MS, EncodedResult, MOST_BYTES};
use super::store::Inner;
use crate::refusal;

/// How many results one command reads or deletes.
const AT_ONCE: usize = 1000;

/// Stores results, and tells those who wait.
pub(super) async fn store(inner: &Inner, results: &[StoredResult]) -> Result<(), Failure> {
    let encode = |stored| EncodedResult::new(stored, &inner.keys, inner.settings.results);
    store_together(inner, results.iter().map(encode).collect()).await
}

/// Stores results in their order, in one step but for those where it must first be read what is there.
async fn store_together(inner: &Inner, mut left: Vec<EncodedResult>) -> Result<(), Failure> {
    while !left.is_empty() {
        let mut call = Call::new(&scripts::STORE, inner.keys.script());
        for encoded in &left {
            encoded.add_to(&mut call);
        }
        let undecided: Vec<usize> = inner.link.run(call).await?;
        let mut again = Vec::new();
        for (place, encoded) in (1..).zip(left) {
            if undecided.contains(&place) {
                again.extend(decide(inner, encoded).await?);
            }
        }
        left = again;
    }
    Ok(())
}

/// Reads what is stored in the place of `encoded`, where a script could not: nothing is left to store
/// if that must stay. What nobody here can read gives way only to a final state.
pub(super) async fn decide(
    inner: &Inner,
    mut encoded: EncodedResult,
) -> Result<Option<EncodedResult>, Failure> {
    let mut ask = redis::cmd("GET");
    ask.arg(&encoded.key);
    let held: Option<Vec<u8>> = inner.link.command(ask).await?;
    let Some(held) = held else {
        return Ok(Some(encoded));
    };
    let state = result::decode(&held, Timestamp::now()).map(|held| held.state);
    let may_go = match state {
        Ok(ResultState::Success) => false,
        Ok(state) if !state.is_final() => true,
        _ => encoded.is_final,
    };
    encoded.known = held;
    Ok(may_go.then_some(encoded))
}

/// Stores results to the letter, in their order, and tells those who wait.
pub(super) async fn store_encoded(
    inner: &Inner,
    results: &[celeriac_core::EncodedResult],
) -> Result<(), Failure> {
    let (mut batch, mut size_bytes) = (Vec::new(), 0);
    for result in results {
        let payload = result.payload.bytes.clone();
        if batch.len() == AT_ONCE || size_bytes + payload.len() > MOST_BYTES {
            store_together(inner, std::mem::take(&mut batch)).await?;
            size_bytes = 0;
        }
        size_bytes += payload.len();
        // What is not kept at all is still told.
        let in_ms = |keep: Duration| i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        batch.push(EncodedResult {
            key: inner.keys.result(&result.id.to_string()),
            payload,
            expiry_ms: result.keep.map(|keep| in_ms(keep).min(EXPIRY_MOST_MS)),
            is_final: result.is_final(),
            known: Vec::new(),
        });
    }
    store_together(inner, batch).await
}

/// The keys of the results of some calls.
pub(super) fn keys_of<'a>(keys: &'a Keys, ids: &'a [TaskId]) -> impl Iterator<Item = String> + 'a {
    ids.iter().map(|id| keys.result(&id.to_string()))
}

/// What is held of each of `ids`.
pub(super) async fn fetch(
    inner: &Inner,
    ids: &[TaskId],
) -> Result<Vec<Option<StoredResult>>, Failure> {
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(AT_ONCE) {
        let keys: Vec<String> = keys_of(&inner.keys, ids).collect();
        let mut ask = redis::pipe();
        ask.cmd("MGET").arg(&keys);
        for key in &keys {
            ask.cmd("PTTL").arg(key);
        }
        let mut answer: Vec<redis::Value> = inner.link.pipeline(ask).await?;
        let lives: Vec<i64> = redis::from_redis_value(redis::Value::Array(answer.split_off(1)))
            .map_err(redis::RedisError::from)?;
        let payloads: Vec<Option<Vec<u8>>> =
            redis::from_redis_value(answer.remove(0)).map_err(redis::RedisError::from)?;
        let now = Timestamp::now();
        for ((id, payload), life_ms) in ids.iter().zip(payloads).zip(lives) {
            found.push(payload.map(|payload| {
                let mut stored = read(id, &payload, now);
                if let Ok(life_ms) = u64::try_from(life_ms) {
                    stored.expires_at = later(now, Duration::from_millis(life_ms));
                }
                stored
            }));
        }
    }
    Ok(found)
}

/// Forgets results.
pub(super) async fn forget(inner: &Inner, ids: &[TaskId]) -> Result<(), Failure> {
    for ids in ids.chunks(AT_ONCE) {
        let mut delete = redis::cmd("DEL");
        for key in keys_of(&inner.keys, ids) {
            delete.arg(key);
        }
        inner.link.command::<()>(delete).await?;
    }
    Ok(())
}

/// A result that was stored for `id`. One that cannot be read ends the waiting for it.
pub(super) fn read(id: &TaskId, payload: &[u8], now: Timestamp) -> StoredResult {
    match result::decode(payload, now) {
        Ok(stored) => StoredResult {
            id: id.clone(),
            ..stored
        },
        Err(error) => refusal::unreadable(id.clone(), &error, now),
    }
}
