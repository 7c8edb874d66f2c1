//! Whether a delivery may run here: a pure function.

use std::num::NonZeroU32;

use celeriac_core::{Delivery, ErrorKind, Limits, Registry, TaskDefinition, TaskError};
use jiff::Timestamp;

use crate::dispatcher::Overrides;

/// The task that `delivery` is a call of and its time limits, or why it does not run.
///
/// A time limit the message does not carry is the task's own, or what an operator has put in its place.
pub(crate) fn admit(
    delivery: &Delivery,
    registry: &Registry,
    delivery_limit: NonZeroU32,
    now: Timestamp,
    overrides: &Overrides,
) -> Result<(&'static TaskDefinition, Limits), TaskError> {
    if delivery.revoked {
        return Err(TaskError::cancelled());
    }
    if delivery.is_exhausted(delivery_limit) {
        return Err(TaskError::delivery_limit(delivery.deliveries - 1));
    }
    let message = &delivery.message;
    let task = registry
        .get(&message.headers.task)
        .map_err(|error| TaskError::new(ErrorKind::Unregistered, error.to_string()))?;
    check_expiry(delivery, now)?;
    let sent = message.limits();
    let own = overrides.limits(task.name, task.options.limits);
    let limits = Limits {
        soft: sent.soft.or(own.soft),
        hard: sent.hard.or(own.hard),
    };
    Ok((task, limits))
}

/// Refuses a delivery that is no longer worth starting.
pub(crate) fn check_expiry(delivery: &Delivery, now: Timestamp) -> Result<(), TaskError> {
    if delivery.message.is_expired(now) {
        return Err(TaskError::new(
            ErrorKind::Expired,
            "it was not started before it expired",
        ));
    }
    Ok(())
}
