//! What follows from an outcome: a pure function from delivery and outcome to settlement.
//!
//! # Sources
//!
//! That a lost worker's task is delivered again, with a limit, follows RabbitMQ's quorum queues.

use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;

use crate::broker::{DeadReason, Delivery, Settlement, Verdict};
use crate::message::later;
use crate::outcome::{ErrorKind, Outcome, TaskError};
use crate::payload::Payload;
use crate::policy::{Backoff, ResultPolicy};
use crate::results::{ResultState, StoredResult, Trail};
use crate::task::TaskOptions;

/// The wait before a task whose child died is delivered again: 100 ms, doubled up to 30 s.
pub(crate) const REDELIVERY: Backoff =
    Backoff::Exponential(Duration::from_millis(100), Duration::from_secs(30));

/// Decides how `delivery` is settled after `outcome`.
///
/// `options` are those of the task, or the default if nobody registered it; `random` is in 0..1 and
/// used for jitter.
pub fn decide(
    delivery: &Delivery,
    outcome: Outcome<Payload>,
    options: &TaskOptions,
    delivery_limit: NonZeroU32,
    now: Timestamp,
    random: f64,
) -> Settlement {
    let message = &delivery.message;
    let settle = |verdict, result, follow_ups| Settlement {
        tag: delivery.tag,
        verdict,
        result,
        follow_ups,
    };
    let error = match outcome {
        Ok(value) => {
            let result = stored(
                delivery,
                options,
                now,
                ResultState::Success,
                Some(value),
                None,
            );
            return settle(Verdict::Ack, result, Vec::new());
        }
        Err(error) => error,
    };
    let failure =
        |state, error: &TaskError| stored(delivery, options, now, state, None, Some(error.clone()));

    if error.kind() == ErrorKind::Shutdown {
        return settle(
            Verdict::Requeue {
                eta: None,
                counted: false,
            },
            None,
            Vec::new(),
        );
    }
    if let Some(delay) = options
        .retry
        .next_attempt(message.attempt(), &error, random)
    {
        let next = message.for_retry(Some(later(now, delay)));
        let result = failure(ResultState::Retry, &error);
        return settle(
            Verdict::Ack,
            result,
            vec![(delivery.queue.clone().into(), next)],
        );
    }
    if error.kind() == ErrorKind::Lost && delivery.deliveries < delivery_limit.get() {
        let eta = Some(later(now, REDELIVERY.delay(delivery.deliveries)));
        return settle(Verdict::Requeue { eta, counted: true }, None, Vec::new());
    }
    let state = failed_state(&error);
    let reason = match error.kind() {
        ErrorKind::Lost | ErrorKind::DeliveryLimit => Some(DeadReason::DeliveryLimit),
        ErrorKind::Unregistered => Some(DeadReason::Unregistered),
        ErrorKind::BadArguments => Some(DeadReason::BadArguments),
        kind if options.retry.retries > 0 && options.retry.on.includes(kind) => {
            Some(DeadReason::RetriesExhausted)
        }
        _ => None,
    };
    let result = failure(state, &error);
    match reason {
        Some(reason) => settle(Verdict::Dead(reason, error.to_string()), result, Vec::new()),
        None => settle(Verdict::Ack, result, Vec::new()),
    }
}

/// The final state of a call that ended with `outcome` and is not run again.
pub fn final_state(outcome: &Outcome<Payload>) -> ResultState {
    match outcome {
        Ok(_) => ResultState::Success,
        Err(error) => failed_state(error),
    }
}

fn failed_state(error: &TaskError) -> ResultState {
    match error.kind() {
        ErrorKind::Cancelled | ErrorKind::Expired => ResultState::Revoked,
        _ => ResultState::Failure,
    }
}

/// The result to store while `delivery` runs or waits, unless none is kept of it.
pub fn interim(
    delivery: &Delivery,
    options: &TaskOptions,
    now: Timestamp,
    state: ResultState,
) -> Option<StoredResult> {
    stored(delivery, options, now, state, None, None)
}

/// The result to store, unless the message or the task says that none is kept.
fn stored(
    delivery: &Delivery,
    options: &TaskOptions,
    now: Timestamp,
    state: ResultState,
    value: Option<Payload>,
    error: Option<TaskError>,
) -> Option<StoredResult> {
    let keep = match (delivery.message.headers.ignore_result, options.results) {
        (Some(true), _) | (None, ResultPolicy::Ignore) => return None,
        (_, ResultPolicy::Keep(keep)) => keep,
        // The sender wants a result of a task that keeps none by itself.
        (Some(false), ResultPolicy::Ignore) => Duration::from_secs(24 * 60 * 60),
    };
    Some(StoredResult {
        id: delivery.message.headers.id.clone(),
        task: delivery.message.headers.task.clone(),
        state,
        value,
        error,
        attempt: delivery.message.attempt(),
        stored_at: now,
        expires_at: later(now, keep),
        trail: Trail {
            group: delivery.message.headers.group.clone(),
            parent: delivery.message.headers.parent_id.clone(),
            reply_to: delivery.message.reply_to.clone(),
            ..Trail::default()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;
    use crate::payload::ContentType;
    use crate::policy::{RetryOn, RetryPolicy};
    use crate::queue::QueueName;
    use crate::signature::CallOptions;
    use crate::task::encode_body;

    const LIMIT: NonZeroU32 = NonZeroU32::new(5).unwrap();
    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn delivery(deliveries: u32, retries: u32) -> Delivery {
        let body = encode_body(ContentType::Json, &()).unwrap();
        let mut message = Message::new(
            "t",
            body,
            &CallOptions::default(),
            &TaskOptions::DEFAULT,
            NOW,
        );
        message.headers.retries = retries;
        Delivery {
            tag: 7,
            queue: QueueName::default(),
            deliveries,
            revoked: false,
            message,
        }
    }

    fn settle(delivery: &Delivery, error: TaskError, retries: u32) -> Settlement {
        let retry = RetryPolicy {
            retries,
            on: RetryOn::ERROR,
            ..RetryPolicy::NONE
        };
        let options = TaskOptions {
            retry,
            ..TaskOptions::DEFAULT
        };
        decide(delivery, Err(error), &options, LIMIT, NOW, 1.0)
    }

    #[test]
    fn a_value_is_stored_and_acked() {
        let value = Payload::encode(ContentType::Json, &1).unwrap();
        let settlement = decide(
            &delivery(1, 0),
            Ok(value),
            &TaskOptions::DEFAULT,
            LIMIT,
            NOW,
            0.0,
        );
        assert_eq!(settlement.verdict, Verdict::Ack);
        let result = settlement.result.unwrap();
        assert_eq!(result.state, ResultState::Success);
        assert_eq!(result.expires_at.as_second(), 86_400);
    }

    #[test]
    fn a_failure_with_retries_left_is_published_again_under_its_id() {
        let first = delivery(1, 0);
        let settlement = settle(&first, TaskError::failed("E", "x"), 3);
        assert_eq!(settlement.verdict, Verdict::Ack);
        let (queue, next) = &settlement.follow_ups[0];
        assert_eq!(queue.queue(), Some(&first.queue));
        assert_eq!(next.headers.id, first.message.headers.id);
        assert_eq!(next.attempt(), 2);
        assert_eq!(next.headers.eta.unwrap().as_second(), 1);
    }

    #[test]
    fn a_failure_without_retries_is_a_result_and_no_dead_message() {
        let settlement = settle(&delivery(1, 0), TaskError::failed("E", "x"), 0);
        assert_eq!(settlement.verdict, Verdict::Ack);
        assert_eq!(settlement.result.unwrap().state, ResultState::Failure);
    }

    #[test]
    fn used_up_retries_are_kept_for_an_operator() {
        let settlement = settle(&delivery(1, 3), TaskError::failed("E", "x"), 3);
        assert!(matches!(
            settlement.verdict,
            Verdict::Dead(DeadReason::RetriesExhausted, _)
        ));
    }

    #[test]
    fn a_lost_child_gives_the_message_back_until_the_delivery_limit() {
        let settlement = settle(&delivery(4, 0), TaskError::lost("signal 9"), 0);
        assert!(matches!(
            settlement.verdict,
            Verdict::Requeue {
                eta: Some(_),
                counted: true
            }
        ));
        assert!(settlement.result.is_none());
        let settlement = settle(&delivery(5, 0), TaskError::lost("signal 9"), 0);
        assert!(matches!(
            settlement.verdict,
            Verdict::Dead(DeadReason::DeliveryLimit, _)
        ));
        assert_eq!(settlement.result.unwrap().state, ResultState::Failure);
    }

    #[test]
    fn a_shutdown_gives_the_message_back_uncounted() {
        let settlement = settle(&delivery(5, 0), TaskError::shutdown(), 3);
        assert_eq!(
            settlement.verdict,
            Verdict::Requeue {
                eta: None,
                counted: false
            }
        );
    }

    #[test]
    fn an_ignored_result_is_not_stored() {
        let mut ignored = delivery(1, 0);
        ignored.message.headers.ignore_result = Some(true);
        assert!(
            settle(&ignored, TaskError::failed("E", "x"), 0)
                .result
                .is_none()
        );
    }
}
