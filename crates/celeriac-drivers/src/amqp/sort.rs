//! What is done with a message that was delivered to us: decided from it alone.

use std::num::NonZeroU32;

use celeriac_core::{DeadReason, Message, StoredResult, TaskError};
use jiff::Timestamp;

use super::codec;
use super::delay;
use super::transport::{Incoming, Properties};

/// What is done with a message.
#[derive(Debug)]
pub(crate) enum Sorted {
    /// The worker gets it, delivered so often with this time, when it is due.
    For(Message, u32, Option<Timestamp>),
    /// It waits in the server for now, on this level of delay.
    Wait(usize, u32),
    /// It is published again with this count, so that the next death is counted too: its queue only
    /// knows that it came back, not how often.
    Count(u32),
    /// It is dead, delivered so often; with what those who wait are told.
    Dead(DeadReason, String, u32, Option<StoredResult>),
}

/// Decides what is done with `incoming` at `now`; whether it waits in the consumer itself if it has to.
pub(crate) fn sort(
    incoming: &Incoming,
    body_limit_bytes: usize,
    most_deliveries: NonZeroU32,
    now: Timestamp,
    waits_here: bool,
    is_revoked: impl Fn(&Message) -> bool,
) -> Sorted {
    let properties: &Properties = &incoming.properties;
    let counts_itself = codec::counts_itself(properties);
    let uncounted = incoming.redelivered && !counts_itself;
    let before = codec::counted(properties).saturating_add(u32::from(uncounted));
    let malformed = |reason| Sorted::Dead(DeadReason::Malformed, reason, before + 1, None);
    if incoming.body.len() > body_limit_bytes {
        return malformed("its body is over the limit".to_owned());
    }
    let message = match codec::decode(properties, &incoming.body) {
        Ok(message) => message,
        Err(reason) => return malformed(reason),
    };
    if before >= most_deliveries.get() {
        let error = TaskError::delivery_limit(before);
        let text = error.message().to_owned();
        let failure = crate::refusal::failure(&message.headers, error);
        return Sorted::Dead(DeadReason::DeliveryLimit, text, before, failure);
    }
    if uncounted {
        return Sorted::Count(before);
    }
    let due = message.headers.eta.filter(|eta| *eta > now);
    match due.and_then(|due| Some((due, delay::level(now, due)?))) {
        Some((due, level))
            if !waits_here && due.duration_since(now).unsigned_abs() > delay::NEAR =>
        {
            if is_revoked(&message) {
                return Sorted::For(message, before + 1, None);
            }
            Sorted::Wait(level, before)
        }
        _ => Sorted::For(message, before + 1, due),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LIMIT: NonZeroU32 = NonZeroU32::new(5).unwrap();
    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn incoming(eta: Option<Duration>, redelivered: bool, count: u32) -> Incoming {
        let mut message = celeriac_testkit::call("t", 1);
        message.headers.eta = eta.map(|after| NOW + after);
        let to = super::super::names::Entity::Dead;
        let letter = codec::encode(to, &message).unwrap();
        Incoming {
            tag: 1,
            redelivered,
            properties: codec::with_count(&letter.properties, count).unwrap(),
            body: letter.body,
        }
    }

    fn sorted(incoming: &Incoming) -> Sorted {
        sort(incoming, 1 << 20, LIMIT, NOW, false, |_| false)
    }

    #[test]
    fn a_fresh_message_is_for_the_worker() {
        assert!(matches!(
            sorted(&incoming(None, false, 0)),
            Sorted::For(_, 1, None)
        ));
        assert!(matches!(
            sorted(&incoming(None, false, 3)),
            Sorted::For(_, 4, None)
        ));
    }

    #[test]
    fn what_came_back_is_counted_before_it_is_tried_again() {
        assert!(matches!(sorted(&incoming(None, true, 2)), Sorted::Count(3)));
        for (redelivered, count) in [(true, 4), (false, 5)] {
            let found = sorted(&incoming(None, redelivered, count));
            let Sorted::Dead(DeadReason::DeliveryLimit, _, 5, Some(_)) = found else {
                panic!("{found:?}");
            };
        }
    }

    #[test]
    fn what_is_far_waits_in_the_server_unless_it_is_revoked() {
        let far = incoming(Some(Duration::from_secs(5)), false, 1);
        assert!(matches!(sorted(&far), Sorted::Wait(2, 1)));
        let near = incoming(Some(Duration::from_millis(900)), false, 0);
        assert!(matches!(sorted(&near), Sorted::For(_, 1, Some(_))));
        let revoked = sort(&far, 1 << 20, LIMIT, NOW, false, |_| true);
        assert!(matches!(revoked, Sorted::For(_, 2, None)));
    }

    #[test]
    fn what_is_no_message_is_dead() {
        let mut nonsense = incoming(None, false, 0);
        nonsense.properties = Properties::default();
        let found = sorted(&nonsense);
        assert!(
            matches!(found, Sorted::Dead(DeadReason::Malformed, _, 1, None)),
            "{found:?}"
        );
        let large = incoming(None, false, 0);
        let found = sort(&large, 3, LIMIT, NOW, false, |_| false);
        assert!(matches!(found, Sorted::Dead(DeadReason::Malformed, ..)));
    }
}
