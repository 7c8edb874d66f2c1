//! Claiming: one script pops messages and books them.

use std::num::NonZeroU32;
use std::sync::Arc;

use redis::Value;

use super::ears::Ears;
use super::failure::Failure;
use super::keys::Keys;
use super::link::{Call, Link};
use super::scripts;
use celeriac_core::QueueName;

/// The most messages one script claims.
pub(super) const MOST: usize = 1000;

/// What base64 and headers add to a body.
const ENVELOPE_BYTES: usize = 1 << 20;

/// What one claim asks for.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) owner: Arc<str>,
    /// In the order of their turns.
    pub(super) queues: Vec<QueueName>,
    /// How many, and no more than [`MOST`].
    pub(super) credit: usize,
    pub(super) most_deliveries: NonZeroU32,
    /// How many messages that were delivered before may be claimed.
    pub(super) suspects: usize,
    pub(super) body_limit_bytes: usize,
}

/// A claimed message, as it was stored.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) tag: Arc<str>,
    pub(super) queue: QueueName,
    /// This time included.
    pub(super) deliveries: u32,
    pub(super) text: Vec<u8>,
}

/// What a claim gave.
#[derive(Debug)]
pub(super) enum Catch {
    /// The lease had ended, and was given up.
    Lapsed,
    /// These.
    Messages {
        claimed: Vec<Claimed>,
        /// When the next of those that wait is due, in ms.
        next_due_ms: Option<f64>,
        /// The last revocation.
        last_revoked: f64,
        /// Whether more stood ready, behind a suspect too many.
        held_back: bool,
        /// The server's time.
        now_ms: i64,
    },
}

/// Carries out a claim. To be called where the connections are.
pub(super) async fn claim(link: &Link, keys: &Keys, claim: &Claim) -> Result<Catch, Failure> {
    let call = call(keys, claim, &keys.lists(&claim.queues));
    understood(link.run_here(&call).await?, claim)
}

/// The same, for a consumer that waits if nothing is left: it will hear of the next message in its
/// lists. Says whether something is left, too; nothing is said where that cannot be heard.
pub(super) async fn claim_listening(
    ears: &Ears,
    link: &Link,
    keys: &Keys,
    claim: &Claim,
) -> Result<(Catch, Option<bool>), Failure> {
    let lists = keys.lists(&claim.queues);
    let call = call(keys, claim, &lists);
    let (reply, left) = match ears.claim_and_prick(&call, &lists).await? {
        Some((reply, left)) => (reply, Some(left)),
        None => (link.run_here(&call).await?, None),
    };
    Ok((understood(reply, claim)?, left))
}

fn call(keys: &Keys, claim: &Claim, lists: &[String]) -> Call {
    let names = keys
        .script()
        .into_iter()
        .chain(lists.iter().map(String::as_str));
    let mut call = Call::new(&scripts::CLAIM, names);
    call.arg(&*claim.owner)
        .arg(claim.credit)
        .arg(claim.most_deliveries.get())
        .arg(claim.suspects.min(1 << 30))
        .arg(claim.body_limit_bytes / 3 * 4 + ENVELOPE_BYTES)
        .arg(claim.queues.len());
    for queue in &claim.queues {
        call.arg(queue.as_str()).arg(entry_end(queue.as_str()));
    }
    call
}

fn understood(reply: Vec<Value>, claim: &Claim) -> Result<Catch, Failure> {
    read(reply, &claim.queues).ok_or_else(|| {
        Failure::misfit(
            "a claim was answered in a form that is not ours",
            "see that all workers are of one version",
        )
    })
}

/// What follows the text of a message in kombu's hash: exchange and routing key.
///
/// Without an exchange, whoever gives it back puts it in the queue it came from and no other.
pub(super) fn entry_end(queue: &str) -> String {
    let queue = serde_json::to_string(queue).expect("a text has a form in JSON");
    format!(", \"\", {queue}]")
}

fn read(reply: Vec<Value>, queues: &[QueueName]) -> Option<Catch> {
    let mut parts = reply.into_iter().map(bytes);
    match parts.next()??.as_slice() {
        b"lapsed" => return Some(Catch::Lapsed),
        b"ok" => {}
        _ => return None,
    }
    let mut number = || Some(text(parts.next()??)?.parse::<f64>().ok());
    let (next_due_ms, last_revoked) = (number()?, number()?);
    let held_back = parts.next()?? == b"1";
    let now_ms = text(parts.next()??)?.parse().ok()?;
    let mut claimed = Vec::with_capacity(parts.len() / 2);
    while let Some(message) = parts.next() {
        let particulars = text(parts.next()??)?;
        let mut words = particulars.splitn(3, ' ');
        let deliveries = words.next()?.parse().ok()?;
        let queue: usize = words.next()?.parse().ok()?;
        claimed.push(Claimed {
            tag: words.next()?.into(),
            queue: queues.get(queue.checked_sub(1)?)?.clone(),
            deliveries,
            text: message?,
        });
    }
    Some(Catch::Messages {
        claimed,
        next_due_ms,
        last_revoked: last_revoked.unwrap_or(0.0),
        held_back,
        now_ms,
    })
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

/// A tag that is no text is read as well as it can be: it is only compared with itself.
fn text(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn an_answer_is_read_to_its_end() {
        let queues = [QueueName::default()];
        let reply = ["ok", "", "17", "1", "5", "{}", "2 1 a b"].map(bulk);
        let Some(Catch::Messages {
            claimed,
            next_due_ms,
            last_revoked,
            held_back,
            now_ms,
        }) = read(reply.to_vec(), &queues)
        else {
            panic!("it is an answer")
        };
        assert_eq!((next_due_ms, last_revoked, held_back), (None, 17.0, true));
        assert_eq!(now_ms, 5);
        assert_eq!((&*claimed[0].tag, claimed[0].deliveries), ("a b", 2));
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_refused() {
        let queues = [QueueName::default()];
        for bad in [
            vec![],
            vec!["no"],
            vec!["ok", "", "", "0", "5", "{}", "1 2 tag"],
        ] {
            let reply = bad.into_iter().map(bulk).collect();
            assert!(read(reply, &queues).is_none());
        }
    }

    #[test]
    fn a_queues_name_is_escaped_in_the_entry() {
        assert_eq!(entry_end("a\"b"), ", \"\", \"a\\\"b\"]");
    }
}
