//! Results under Celery's keys.

use std::time::Duration;

use celeriac_core::message::later;
use celeriac_core::{ErrorKind, ResultState, StoredResult, TaskError, TaskId, Trail};
use celeriac_wire::result;
use jiff::Timestamp;

use super::failure::Failure;
use super::keys::Keys;
use super::link::Call;
use super::scripts;
use super::settle::EncodedResult;
use super::store::Inner;

/// How many results one command reads or deletes.
const AT_ONCE: usize = 1000;

/// Stores results, all or none, and tells those who wait.
pub(super) async fn store(inner: &Inner, results: &[StoredResult]) -> Result<(), Failure> {
    if results.is_empty() {
        return Ok(());
    }
    let mut call = Call::new(&scripts::STORE, inner.keys.script());
    for stored in results {
        let encoded = EncodedResult::new(stored, &inner.keys, inner.settings.result_serializer);
        call.arg(encoded.key)
            .arg(encoded.payload)
            .arg(encoded.expiry_ms)
            .arg(i32::from(encoded.is_final));
    }
    inner.link.run(call).await
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
        Err(error) => StoredResult {
            id: id.clone(),
            task: String::new(),
            state: ResultState::Failure,
            value: None,
            error: Some(TaskError::new(
                ErrorKind::BadResult,
                format!("what is stored for it cannot be read: {error}"),
            )),
            attempt: 1,
            stored_at: now,
            expires_at: Timestamp::MAX,
            trail: Trail::default(),
        },
    }
}
