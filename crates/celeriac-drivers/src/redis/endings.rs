//! How deliveries end that no worker sees.

use celeriac_core::{DeadReason, Message, Settlement, TaskError, Verdict};

use crate::refusal;

/// The end of a delivery that was more than the worker asked for.
pub(super) fn given_back(tag: i64) -> Settlement {
    Settlement {
        tag,
        verdict: Verdict::Requeue {
            eta: None,
            counted: false,
        },
        result: None,
        follow_ups: Vec::new(),
    }
}

/// The end of a message that was delivered too often, and of the waiting of its callers.
pub(super) fn exhausted(number: i64, deliveries: u32, message: Option<Message>) -> Settlement {
    let error = TaskError::delivery_limit(deliveries);
    let text = error.message().to_owned();
    let result = message.and_then(|message| refusal::failure(&message.headers, error));
    Settlement {
        tag: number,
        verdict: Verdict::Dead(DeadReason::DeliveryLimit, text),
        result,
        follow_ups: Vec::new(),
    }
}
