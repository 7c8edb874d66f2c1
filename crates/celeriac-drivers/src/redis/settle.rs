//! Settling: result, follow-ups and verdict of each delivery, in one step.

use std::sync::Arc;

use bytes::Bytes;
use celeriac_core::{
    BrokerError, DeadReason, ErrorKind, QueueName, ResultState, Settlement, StoredResult,
    TaskError, TaskId, Verdict,
};
use celeriac_wire::result::{ResultError, ResultFormat};
use jiff::Timestamp;

use super::failure::Failure;
use super::keys::Keys;
use super::link::Call;
use super::outgoing::{self, Outgoing};
use super::store::Inner;
use super::{results, scripts};

/// How many settlements go into one script.
const MOST: usize = 500;

/// How many messages one script acknowledges.
pub(super) const ACKED_AT_ONCE: usize = 1000;

/// How many bytes go into one script, unless one settlement alone has more.
pub(super) const MOST_BYTES: usize = 4 << 20;

/// A settlement with everything encoded.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) tag: Arc<str>,
    pub(super) owner: Arc<str>,
    pub(super) result: Option<EncodedResult>,
    pub(super) follow_ups: Vec<Outgoing>,
    pub(super) verdict: EncodedVerdict,
}

/// A result as it is stored.
#[derive(Debug)]
pub(super) struct EncodedResult {
    pub(super) key: String,
    pub(super) payload: Bytes,
    /// How long it is kept; for ever if nothing is said.
    pub(super) expiry_ms: Option<i64>,
    pub(super) is_final: bool,
    /// What is stored in its place and may go, if only we can read that.
    pub(super) known: Vec<u8>,
}

/// A verdict with what its script needs to know.
#[derive(Debug)]
pub(super) enum EncodedVerdict {
    Ack,
    Requeue {
        deliveries: u32,
        eta_ms: i64,
        id: Option<TaskId>,
    },
    Dead {
        reason: DeadReason,
        detail: String,
        queue: QueueName,
        deliveries: u32,
    },
}

impl EncodedResult {
    /// The result as it is stored.
    pub(super) fn new(stored: &StoredResult, keys: &Keys, format: ResultFormat) -> Self {
        let payload = encode(stored, |stored| format.encode(stored));
        let left = stored.expires_at.duration_since(Timestamp::now());
        Self {
            key: keys.result(&stored.id.to_string()),
            payload: payload.into(),
            expiry_ms: Some(
                i64::try_from(left.as_millis())
                    .unwrap_or(i64::MAX)
                    .min(EXPIRY_MOST_MS),
            ),
            is_final: stored.state.is_final(),
            known: Vec::new(),
        }
    }

    /// Adds it to a script's arguments.
    pub(super) fn add_to(&self, call: &mut Call) {
        call.arg(&self.key).arg(&self.payload[..]);
        match self.expiry_ms {
            Some(expiry_ms) => call.arg(expiry_ms),
            None => call.arg(""),
        };
        call.arg(i32::from(self.is_final)).arg(&self.known);
    }

    /// The result as a part of a chord.
    pub(super) fn part(stored: &StoredResult, format: ResultFormat) -> Vec<u8> {
        encode(stored, |stored| format.encode_part(stored))
    }
}

/// Encodes a result. A value that has no form there is a failure of its call, which its waiters must
/// hear of.
fn encode(
    stored: &StoredResult,
    format: impl Fn(&StoredResult) -> Result<Vec<u8>, ResultError>,
) -> Vec<u8> {
    format(stored).unwrap_or_else(|error| {
        let failure = StoredResult {
            state: ResultState::Failure,
            value: None,
            error: Some(TaskError::new(ErrorKind::BadResult, error.to_string())),
            ..stored.clone()
        };
        format(&failure).expect("a failure has no value that could lack a form")
    })
}

/// The longest time Redis can be told: a result kept for ever is kept for a thousand years.
pub(super) const EXPIRY_MOST_MS: i64 = 1000 * 365 * 24 * 60 * 60 * 1000;

impl EncodedVerdict {
    /// A verdict on a delivery of `queue` that was delivered so often, this time included.
    pub(super) fn new(
        verdict: Verdict,
        deliveries: u32,
        queue: &QueueName,
        id: Option<&TaskId>,
    ) -> Self {
        match verdict {
            Verdict::Requeue { eta, counted } => Self::Requeue {
                deliveries: if counted {
                    deliveries
                } else {
                    deliveries.saturating_sub(1)
                },
                eta_ms: eta.map_or(0, |eta| eta.as_millisecond().max(0)),
                id: id.cloned(),
            },
            Verdict::Dead(reason, detail) => Self::Dead {
                reason,
                detail,
                queue: queue.clone(),
                deliveries,
            },
            _ => Self::Ack,
        }
    }
}

impl Ending {
    /// The ending of a delivery that is held under `tag` by `owner`.
    pub(super) async fn encode(
        settlement: Settlement,
        held: &super::hold::Held,
        inner: &Inner,
    ) -> Result<Self, BrokerError> {
        let follow_ups = outgoing::encode_all(inner, settlement.follow_ups).await?;
        Ok(Self {
            tag: held.tag.clone(),
            owner: held.owner.clone(),
            result: settlement
                .result
                .as_ref()
                .map(|it| EncodedResult::new(it, &inner.keys, inner.settings.results)),
            follow_ups,
            verdict: EncodedVerdict::new(
                settlement.verdict,
                held.deliveries,
                &held.queue,
                held.id.as_ref(),
            ),
        })
    }

    /// Whether nothing follows but that the message is forgotten, as where results are ignored.
    pub(super) fn is_plain(&self) -> bool {
        let follows = self.result.is_some() || !self.follow_ups.is_empty();
        !follows && matches!(self.verdict, EncodedVerdict::Ack)
    }

    /// Whether the message is to wait for its time.
    pub(super) fn waits(&self) -> bool {
        matches!(self.verdict, EncodedVerdict::Requeue { eta_ms, .. } if eta_ms > 0)
    }

    fn size_bytes(&self) -> usize {
        let result = self.result.as_ref().map_or(0, |it| it.payload.len());
        let follow_ups: usize = self.follow_ups.iter().map(|it| it.text.len()).sum();
        256 + result + follow_ups
    }
}

/// The first of `endings` that go into one script together.
pub(super) fn batch_len(endings: &[Ending]) -> usize {
    let mut size_bytes = 0;
    let fits = |ending: &&Ending| {
        size_bytes += ending.size_bytes();
        size_bytes <= MOST_BYTES
    };
    endings.iter().take(MOST).take_while(fits).count().max(1)
}

/// The script that acknowledges the messages of plain `endings`, all of one owner.
pub(super) fn acknowledge(endings: &[Ending], keys: &Keys) -> Call {
    let mut call = Call::new(&scripts::ACK, keys.script());
    call.arg(endings.first().map_or("", |ending| &ending.owner));
    for ending in endings {
        call.arg(&*ending.tag);
    }
    call
}

/// Carries out `endings`, and says of each whether it was still ours.
///
/// Where a result is stored that the script cannot read, it is read here and the ending tried again.
pub(super) async fn carry_out(inner: &Inner, endings: &mut [Ending]) -> Result<Vec<bool>, Failure> {
    let mut done: Vec<u8> = inner.link.run(call(endings, &inner.keys)).await?;
    for (ending, done) in endings.iter_mut().zip(&mut done) {
        while *done == UNDECIDED {
            if let Some(result) = ending.result.take() {
                ending.result = results::decide(inner, result).await?;
            }
            let again = call(std::slice::from_ref(ending), &inner.keys);
            [*done] = inner.link.run(again).await?;
        }
    }
    Ok(done.into_iter().map(|done| done == DONE).collect())
}

/// What the script says of an ending that it carried out.
const DONE: u8 = 1;

/// What it says of one where a result is stored that it cannot read.
const UNDECIDED: u8 = 2;

/// The script that carries out `endings`.
fn call(endings: &[Ending], keys: &Keys) -> Call {
    let mut call = Call::new(&scripts::SETTLE, keys.script());
    call.arg(endings.len());
    for ending in endings {
        call.arg(&*ending.owner);
    }
    for ending in endings {
        call.arg(&*ending.tag);
    }
    for ending in endings {
        match &ending.result {
            None => {
                call.arg(0);
            }
            Some(it) => it.add_to(call.arg(1)),
        }
        call.arg(ending.follow_ups.len());
        for message in &ending.follow_ups {
            call.arg(message.command())
                .arg(&message.key)
                .arg(&message.text);
        }
        match &ending.verdict {
            EncodedVerdict::Ack => call.arg("a"),
            EncodedVerdict::Requeue {
                deliveries,
                eta_ms,
                id,
            } => {
                let id = id.as_ref().map(ToString::to_string).unwrap_or_default();
                call.arg("r").arg(*deliveries).arg(*eta_ms).arg(id)
            }
            EncodedVerdict::Dead {
                reason,
                detail,
                queue,
                deliveries,
            } => call
                .arg("d")
                .arg(reason.as_str())
                .arg(detail)
                .arg(queue.as_str())
                .arg(*deliveries),
        };
    }
    call
}
