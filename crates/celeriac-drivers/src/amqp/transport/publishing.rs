//! Publishing on a channel.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::channel::{bits, check};
use super::frame::{self, put_short};
use super::method::{self, id};
use super::outbox::Outbox;
use super::{Channel, LinkError, Properties};

/// The class of messages, and a weight that means nothing.
const CONTENT: [u8; 4] = [0, 60, 0, 0];

/// A message to be published.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    /// Whether it is an error if no queue takes it.
    pub(crate) mandatory: bool,
    pub(crate) properties: Properties,
    pub(crate) body: Bytes,
}

/// What became of a message that the server did not take.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No queue is there for the message with this number.
    Unrouted(usize),
    /// Its queue refused the message with this number.
    Nacked(usize, String),
}

impl Refusal {
    /// The number of the message among those that were published with it.
    pub(crate) fn place(&self) -> usize {
        match self {
            Self::Unrouted(place) | Self::Nacked(place, _) => *place,
        }
    }
}

/// Why the server did not answer to all messages, and to which it did.
#[derive(Debug)]
pub(crate) struct Unpublished {
    pub(crate) error: LinkError,
    /// The numbers of those that it has taken.
    pub(crate) confirmed: Vec<usize>,
}

impl From<LinkError> for Unpublished {
    fn from(error: LinkError) -> Self {
        Self {
            error,
            confirmed: Vec::new(),
        }
    }
}

impl Channel {
    /// Publishes messages one after the other, and resolves when the server has answered to each:
    /// with those that it did not take. After `wait` there is an error instead, though what is not sent
    /// by then may be sent yet. The channel must be one that confirms.
    pub(crate) async fn publish(
        &self,
        messages: Vec<Outgoing>,
        wait: Duration,
    ) -> Result<Vec<Refusal>, Unpublished> {
        messages.iter().try_for_each(Outgoing::check)?;
        let shared = self.shared();
        let (first, mut told) = {
            let mut switchboard = shared.switchboard();
            let most_bytes = switchboard.frame_bytes;
            let (lane, out) = switchboard.lane(self.number())?;
            let confirms = lane.confirms.as_mut().ok_or_else(|| {
                LinkError::NotTaken("the server does not confirm on this channel".to_owned())
            })?;
            put_all(out, self.number(), &messages, most_bytes)?;
            confirms.publish(messages)
        };
        shared.send();
        let answer = if let Ok(answer) = timeout(wait, &mut told).await {
            answer
        } else {
            self.give_up(first);
            told.await
        };
        let ended = |_| Err(LinkError::Lost("the connection has ended".to_owned()).into());
        answer.unwrap_or_else(ended)
    }

    /// Ends the wait for the answers to what was published from this number on.
    fn give_up(&self, first: u64) {
        let mut switchboard = self.shared().switchboard();
        // If it has ended, that was told.
        if let Ok((lane, _)) = switchboard.lane(self.number())
            && let Some(confirms) = &mut lane.confirms
        {
            confirms.give_up(first, LinkError::TimedOut("basic.publish"));
        }
    }

    /// Publishes a message without waiting for a confirmation.
    pub(crate) fn tell(&self, message: &Outgoing) -> Result<(), LinkError> {
        message.check()?;
        let shared = self.shared();
        let mut switchboard = shared.switchboard();
        let most_bytes = switchboard.frame_bytes;
        let (lane, out) = switchboard.lane(self.number())?;
        put_all(
            out,
            self.number(),
            std::slice::from_ref(message),
            most_bytes,
        )?;
        if let Some(confirms) = &mut lane.confirms {
            confirms.skip();
        }
        drop(switchboard);
        shared.send();
        Ok(())
    }
}

impl Outgoing {
    fn check(&self) -> Result<(), LinkError> {
        check(&[&self.exchange, &self.routing_key])
    }
}

/// Adds all messages, or none and why.
fn put_all(
    outbox: &mut Outbox,
    channel: u16,
    messages: &[Outgoing],
    most_bytes: usize,
) -> Result<(), LinkError> {
    let room = most_bytes - frame::OVERHEAD;
    let fits = |message: &Outgoing| message.properties.bytes().len() + CONTENT.len() + 8 <= room;
    if !messages.iter().all(fits) {
        let text = "the headers of a message are larger than the server takes";
        return Err(LinkError::Unsayable(text.to_owned()));
    }
    for message in messages {
        let out = &mut outbox.bytes;
        method::put(out, channel, id::PUBLISH, |out| {
            out.extend([0, 0]);
            put_short(out, &message.exchange);
            put_short(out, &message.routing_key);
            out.push(bits(&[message.mandatory]));
        });
        frame::put(out, frame::HEADER, channel, |out| {
            out.extend(CONTENT);
            out.extend((message.body.len() as u64).to_be_bytes());
            out.extend(message.properties.bytes());
        });
        let mut body = message.body.clone();
        while !body.is_empty() {
            outbox.put_body(channel, body.split_to(room.min(body.len())));
        }
    }
    Ok(())
}
