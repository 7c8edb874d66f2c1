//! What is done with a message that was delivered to us: decided from it alone.

use std::num::NonZeroU32;

use celeriac_core::{DeadReason, Message, StoredResult, TaskError};
use celeriac_wire::DecodeError;
use celeriac_wire::compression::DEFAULT_INFLATED_LIMIT_BYTES;
use jiff::Timestamp;

use super::codec::{self, Way};
use super::delay;
use super::transport::Incoming;

/// What is done with a message.
#[derive(Debug)]
pub(crate) enum Sorted {
    /// The worker gets it, delivered so often with this time, when it is due; its call is revoked if
    /// the last says so.
    For(Message, u32, Option<Timestamp>, bool),
    /// Its body inflates to more than `inflated_limit_bytes`, and others are not to wait for that.
    Large,
    /// It waits in the server for now, on this level of delay.
    Wait(usize, u32),
    /// It is published again with this count, so that the next death is counted too: its queue only
    /// knows that it came back, not how often.
    Count(u32),
    /// It is dead, delivered so often; with what those who wait are told.
    Dead(DeadReason, String, u32, Option<StoredResult>),
}

/// By what that is decided.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// The largest body that is taken, as it travels.
    pub(crate) body_limit_bytes: usize,
    /// The largest that is inflated here and now.
    pub(crate) inflated_limit_bytes: usize,
    pub(crate) most_deliveries: NonZeroU32,
    /// Whether what is early waits in the consumer itself if it has to wait.
    pub(crate) waits_here: bool,
}

/// Decides what is done with `incoming` at `now`.
pub(crate) fn sort(
    incoming: &Incoming,
    rules: Rules,
    now: Timestamp,
    is_revoked: impl Fn(&Message) -> bool,
) -> Sorted {
    let is_large = incoming.body.len() > rules.body_limit_bytes;
    let (message, way) = if is_large {
        (
            Err("its body is over the limit".to_owned()),
            Way::of(&incoming.properties),
        )
    } else {
        let limit_bytes = rules.inflated_limit_bytes;
        let (message, way) = codec::open(&incoming.properties, &incoming.body, limit_bytes);
        let is_over = message
            .as_ref()
            .is_err_and(DecodeError::is_over_inflated_limit);
        if is_over && limit_bytes < DEFAULT_INFLATED_LIMIT_BYTES {
            return Sorted::Large;
        }
        (message.map_err(|error| error.to_string()), way)
    };
    let uncounted = incoming.redelivered && !way.counts_itself();
    let before = way.before(incoming.redelivered);
    let message = match message {
        Ok(message) => Message {
            exchange: incoming.exchange.clone(),
            ..message
        },
        Err(reason) => return Sorted::Dead(DeadReason::Malformed, reason, before + 1, None),
    };
    if before >= rules.most_deliveries.get() {
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
            if !rules.waits_here && due.duration_since(now).unsigned_abs() > delay::NEAR =>
        {
            if way.is_revoked || is_revoked(&message) {
                return Sorted::For(message, before + 1, None, way.is_revoked);
            }
            Sorted::Wait(level, before)
        }
        _ => Sorted::For(message, before + 1, due, way.is_revoked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn incoming(eta: Option<Duration>, redelivered: bool, count: u32) -> Incoming {
        let mut message = celeriac_testkit::call("t", 1);
        message.headers.eta = eta.map(|after| NOW + after);
        let to = super::super::names::Entity::Dead;
        let letter = codec::encode(to, &message).unwrap();
        Incoming {
            tag: 1,
            redelivered,
            exchange: None,
            properties: codec::with_count(&letter.properties, count).unwrap(),
            body: letter.body,
        }
    }

    const RULES: Rules = Rules {
        body_limit_bytes: 1 << 20,
        inflated_limit_bytes: 1000,
        most_deliveries: NonZeroU32::new(5).unwrap(),
        waits_here: false,
    };

    fn sorted(incoming: &Incoming) -> Sorted {
        sort(incoming, RULES, NOW, |_| false)
    }

    #[test]
    fn a_fresh_message_is_for_the_worker() {
        assert!(matches!(
            sorted(&incoming(None, false, 0)),
            Sorted::For(_, 1, None, false)
        ));
        assert!(matches!(
            sorted(&incoming(None, false, 3)),
            Sorted::For(_, 4, None, false)
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
        assert!(matches!(sorted(&near), Sorted::For(_, 1, Some(_), false)));
        let revoked = sort(&far, RULES, NOW, |_| true);
        assert!(matches!(revoked, Sorted::For(_, 2, None, false)));
    }

    #[test]
    fn what_is_no_message_is_dead() {
        let mut nonsense = incoming(None, false, 0);
        nonsense.properties = super::super::transport::Properties::default();
        let found = sorted(&nonsense);
        assert!(
            matches!(found, Sorted::Dead(DeadReason::Malformed, _, 1, None)),
            "{found:?}"
        );
        let large = incoming(None, false, 0);
        let rules = Rules {
            body_limit_bytes: 3,
            ..RULES
        };
        let found = sort(&large, rules, NOW, |_| false);
        assert!(matches!(found, Sorted::Dead(DeadReason::Malformed, ..)));
    }

    #[test]
    fn what_inflates_to_much_is_left_to_another_thread() {
        let mut message = celeriac_testkit::call("t", 1);
        let long = format!("[[\"{}\"], {{}}, {{}}]", "x".repeat(2000));
        message.body.bytes = long.into();
        let header = ("compression".to_owned(), "zlib".into());
        message.headers.extra.extend([header]);
        let letter = codec::encode(super::super::names::Entity::Dead, &message).unwrap();
        let large = Incoming {
            tag: 1,
            redelivered: false,
            exchange: None,
            properties: letter.properties,
            body: letter.body,
        };
        assert!(matches!(sorted(&large), Sorted::Large));
        let mut rules = RULES;
        rules.inflated_limit_bytes = DEFAULT_INFLATED_LIMIT_BYTES;
        let found = sort(&large, rules, NOW, |_| false);
        assert!(matches!(found, Sorted::For(..)), "{found:?}");
    }
}
