//! Settling: result, follow-ups and verdict of each delivery, in one step.

use std::sync::Arc;

use celeriac_core::{
    BrokerError, ContentType, DeadReason, ErrorKind, QueueName, ResultState, Settlement,
    StoredResult, TaskError, TaskId, Verdict,
};
use celeriac_wire::result::{self, ResultError};
use jiff::Timestamp;

use super::keys::Keys;
use super::link::Call;
use super::outgoing::{self, Outgoing};
use super::scripts;
use super::store::Inner;

/// How many settlements go into one script.
const MOST: usize = 500;

/// How many bytes go into one script, unless one settlement alone has more.
const MOST_BYTES: usize = 4 << 20;

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
    pub(super) payload: Vec<u8>,
    pub(super) expiry_ms: i64,
    pub(super) is_final: bool,
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
    pub(super) fn new(stored: &StoredResult, keys: &Keys, serializer: ContentType) -> Self {
        let payload = encode(stored, |stored| result::encode_in(serializer, stored));
        let left = stored.expires_at.duration_since(Timestamp::now());
        Self {
            key: keys.result(&stored.id.to_string()),
            payload,
            expiry_ms: i64::try_from(left.as_millis())
                .unwrap_or(i64::MAX)
                .min(EXPIRY_MOST_MS),
            is_final: stored.state.is_final(),
        }
    }

    /// The result as a part of a chord.
    pub(super) fn part(stored: &StoredResult, serializer: ContentType) -> Vec<u8> {
        encode(stored, |stored| result::encode_part_in(serializer, stored))
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
const EXPIRY_MOST_MS: i64 = 1000 * 365 * 24 * 60 * 60 * 1000;

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
                .map(|it| EncodedResult::new(it, &inner.keys, inner.settings.result_serializer)),
            follow_ups,
            verdict: EncodedVerdict::new(
                settlement.verdict,
                held.deliveries,
                &held.queue,
                held.id.as_ref(),
            ),
        })
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

/// The script that carries out `endings`.
pub(super) fn call(endings: &[Ending], keys: &Keys) -> Call {
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
            None => call.arg(0),
            Some(it) => call
                .arg(1)
                .arg(&it.key)
                .arg(&it.payload)
                .arg(it.expiry_ms)
                .arg(i32::from(it.is_final)),
        };
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
