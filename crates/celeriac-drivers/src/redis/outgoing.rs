//! Messages on their way out: the text of each, and the list it goes to.

use celeriac_core::{BrokerError, Destination, Message, QueueName};
use celeriac_wire::envelope::{self, Route};
use jiff::Timestamp;
use uuid::Uuid;

use super::keys::Keys;
use crate::destination::only_queue;
use crate::headers;

/// A message as it is sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) queue: QueueName,
    pub(super) list: String,
    pub(super) text: Vec<u8>,
}

/// The messages as they are sent, unless one is too large.
pub(super) fn encode_all(
    messages: Vec<(Destination, Message)>,
    keys: &Keys,
    limit_bytes: usize,
) -> Result<Vec<Outgoing>, BrokerError> {
    let now = Timestamp::now();
    let encode = |(destination, message): (Destination, Message)| {
        let queue = only_queue(destination, || "redis".to_owned())?;
        headers::check_size(&message, limit_bytes)?;
        let list = keys.list(queue.as_str(), message.priority);
        let mut tag = Uuid::encode_buffer();
        let route = Route {
            routing_key: queue.as_str(),
            delivery_tag: &*Uuid::new_v4().hyphenated().encode_lower(&mut tag),
            ..Route::default()
        };
        let mut text = Vec::new();
        envelope::write(&message, &route, now, &mut text);
        Ok(Outgoing { queue, list, text })
    };
    messages.into_iter().map(encode).collect()
}
