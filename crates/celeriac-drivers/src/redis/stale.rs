//! Gives back what workers of another kind have held for longer than the visibility timeout.
//!
//! # Sources
//!
//! kombu's restoring of unacknowledged messages: its lock, its order, its flags.

use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::{info, warn};
use uuid::Uuid;

use super::exchange;
use super::failure::Failure;
use super::link::Call;
use super::scripts;
use super::store::Inner;

/// How long the lock is kept at most, as in kombu.
const LOCKED_MS: u64 = 300_000;

/// How many are looked at together.
const AT_ONCE: usize = 200;

/// The values of some fields.
type Texts = Vec<Option<Vec<u8>>>;

/// Gives back what is stale, unless somebody else is at it.
pub(super) async fn restore(inner: &Inner) -> Result<(), Failure> {
    let (link, keys) = (&inner.link, &inner.keys);
    let (seconds, micros): (f64, f64) = link.command(redis::cmd("TIME")).await?;
    let now_s = seconds + micros / 1e6;
    let oldest = now_s - inner.settings.visibility_timeout.as_secs_f64();
    let mut any = redis::cmd("ZCOUNT");
    any.arg(&keys.unacked_index).arg("-inf").arg(oldest);
    if link.command::<u64>(any).await? == 0 {
        return Ok(());
    }
    let token = Uuid::new_v4().simple().to_string();
    let mut lock = redis::cmd("SET");
    lock.arg(&keys.unacked_mutex)
        .arg(&token)
        .arg("NX")
        .arg("PX")
        .arg(LOCKED_MS);
    if link.command::<Option<String>>(lock).await?.is_none() {
        return Ok(());
    }
    let restored = restore_all(inner, oldest).await;
    let mut unlock = Call::new(&scripts::UNLOCK, keys.script());
    unlock.arg(&keys.unacked_mutex).arg(&token);
    link.run::<u64>(unlock).await?;
    let restored = restored?;
    if restored > 0 {
        info!(
            messages = restored,
            "gave back what other workers held for too long"
        );
    }
    Ok(())
}

async fn restore_all(inner: &Inner, oldest: f64) -> Result<u64, Failure> {
    let (link, keys) = (&inner.link, &inner.keys);
    let mut ask = redis::cmd("ZREVRANGEBYSCORE");
    ask.arg(&keys.unacked_index).arg(oldest).arg("-inf");
    let tags: Vec<Vec<u8>> = link.command(ask).await?;
    let mut restored = 0;
    for tags in tags.chunks(AT_ONCE) {
        let mut ask = redis::pipe();
        ask.cmd("HMGET").arg(keys.own("held")).arg(tags);
        ask.cmd("HMGET").arg(&keys.unacked).arg(tags);
        let (ours, entries): (Texts, Texts) = link.pipeline(ask).await?;
        for ((tag, ours), entry) in tags.iter().zip(ours).zip(entries) {
            // What consumers of ours hold is renewed, or taken back when their lease ends.
            if ours.is_some() {
                continue;
            }
            restored += match entry {
                Some(entry) => restore_one(inner, tag, &entry, oldest).await?,
                None => forget(inner, tag).await?,
            };
        }
    }
    Ok(restored)
}

/// An index entry without a message is dropped, as kombu does.
async fn forget(inner: &Inner, tag: &[u8]) -> Result<u64, Failure> {
    let mut remove = redis::cmd("ZREM");
    remove.arg(&inner.keys.unacked_index).arg(tag);
    inner.link.command::<u64>(remove).await?;
    Ok(0)
}

async fn restore_one(inner: &Inner, tag: &[u8], entry: &[u8], oldest: f64) -> Result<u64, Failure> {
    let Ok((text, exchange, routing_key)) =
        serde_json::from_slice::<(&RawValue, String, String)>(entry)
    else {
        warn!("a held message is in a form that is not kombu's, and stays where it is");
        return Ok(0);
    };
    let queues = exchange::queues_of(inner, &exchange, &routing_key).await?;
    if queues.is_empty() {
        warn!(
            exchange,
            "no queue is bound where a held message came from, it stays"
        );
        return Ok(0);
    }
    let priority = priority(text.get());
    let lists = queues.iter().map(|queue| inner.keys.list(queue, priority));
    let own = inner.keys.script().map(str::to_owned);
    let mut call = Call::new(&scripts::RESTORE, own.into_iter().chain(lists));
    call.arg(tag).arg(entry).arg(oldest).arg(text.get());
    inner.link.run(call).await
}

fn priority(text: &str) -> u8 {
    #[derive(Deserialize)]
    struct Outside {
        properties: Properties,
    }
    #[derive(Deserialize)]
    struct Properties {
        priority: Option<f64>,
    }
    let read: Result<Outside, _> = serde_json::from_str(text);
    let priority = read.ok().and_then(|read| read.properties.priority);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is held to 0 to 9"
    )]
    let priority = priority.unwrap_or(0.0).clamp(0.0, 9.0) as u8;
    priority
}
