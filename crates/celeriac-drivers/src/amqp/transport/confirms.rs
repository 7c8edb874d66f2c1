//! What was published on a channel and is not yet answered.
//!
//! # Sources
//!
//! RabbitMQ numbers what is published on a channel from 1 on, and answers to each number or to all up
//! to one. What no queue took it sends back before it answers, without its number; that it is ours is
//! known by its contents.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{LinkError, Outgoing, Properties, Refusal, Unpublished};

pub(super) type Told = Result<Vec<Refusal>, Unpublished>;

/// Messages that were published together.
#[derive(Debug)]
struct Batch {
    messages: Vec<Outgoing>,
    /// Which are not answered to yet.
    open: Vec<bool>,
    /// Up to here all are.
    first_open: usize,
    left: usize,
    unrouted: Vec<usize>,
    refusals: Vec<Refusal>,
    done: oneshot::Sender<Told>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Confirms {
    last: u64,
    /// By the number of their first message.
    batches: BTreeMap<u64, Batch>,
}

impl Confirms {
    /// Takes note of messages that are published now; what comes of them is told to the receiver. Also
    /// gives the number of the first.
    pub(super) fn publish(&mut self, messages: Vec<Outgoing>) -> (u64, oneshot::Receiver<Told>) {
        let (done, told) = oneshot::channel();
        let first = self.last + 1;
        if messages.is_empty() {
            let _ = done.send(Ok(Vec::new()));
            return (first, told);
        }
        let count = messages.len();
        self.last += count as u64;
        let batch = Batch {
            messages,
            open: vec![true; count],
            first_open: 0,
            left: count,
            unrouted: Vec::new(),
            refusals: Vec::new(),
            done,
        };
        self.batches.insert(first, batch);
        (first, told)
    }

    /// Nobody waits any more for the messages that were published from this number on: tells those who
    /// did, with what was confirmed.
    pub(super) fn give_up(&mut self, first: u64, error: LinkError) {
        if let Some(batch) = self.batches.remove(&first) {
            batch.end(error);
        }
    }

    /// Takes note of a message that nobody waits for.
    pub(super) fn skip(&mut self) {
        self.last += 1;
    }

    /// A message came back.
    pub(super) fn returned(&mut self, address: [&[u8]; 2], properties: &Properties, body: &Bytes) {
        let is_it = |message: &Outgoing| {
            message.mandatory
                && [message.exchange.as_bytes(), message.routing_key.as_bytes()] == address
                && message.properties.correlation_id() == properties.correlation_id()
                && message.body == *body
        };
        for batch in self.batches.values_mut() {
            // Of several that are alike it does not matter which it was.
            let found = (0..batch.messages.len()).find(|&index| {
                batch.open[index]
                    && !batch.unrouted.contains(&index)
                    && is_it(&batch.messages[index])
            });
            if let Some(index) = found {
                batch.unrouted.push(index);
                return;
            }
        }
        tracing::warn!("a message came back that nobody here has sent");
    }

    /// The server answered to the message with this number, and to all before it if `multiple`.
    pub(super) fn answered(&mut self, tag: u64, multiple: bool, taken: bool) {
        let numbers = if multiple { 0..=tag } else { tag..=tag };
        let batches = self.batches.range_mut(..=tag).rev();
        let mut complete = Vec::new();
        for (first, batch) in batches {
            let from =
                usize::try_from(numbers.start().saturating_sub(*first)).unwrap_or(usize::MAX);
            let to = usize::try_from(tag - first).unwrap_or(usize::MAX);
            batch.answered(from, to, taken);
            if batch.left == 0 {
                complete.push(*first);
            }
            if !multiple {
                break;
            }
        }
        for first in complete {
            if let Some(batch) = self.batches.remove(&first) {
                batch.tell();
            }
        }
    }

    /// The channel has ended: tells all who wait.
    pub(super) fn end(&mut self, error: &LinkError) {
        for (_, batch) in std::mem::take(&mut self.batches) {
            batch.end(error.clone());
        }
    }
}

impl Batch {
    fn answered(&mut self, from: usize, to: usize, taken: bool) {
        let to = to.min(self.open.len() - 1);
        for index in from.max(self.first_open)..=to {
            if !std::mem::take(&mut self.open[index]) {
                continue;
            }
            self.left -= 1;
            if !taken && !self.unrouted.contains(&index) {
                let text = "the server refused a message, its queue is full or cannot store it";
                self.refusals.push(Refusal::Nacked(index, text.to_owned()));
            }
        }
        while self.open.get(self.first_open) == Some(&false) {
            self.first_open += 1;
        }
    }

    /// Tells that there will be no more answers.
    fn end(self, error: LinkError) {
        let mut taken: Vec<bool> = self.open.iter().map(|open| !open).collect();
        let refused = self.refusals.iter().map(Refusal::place);
        for place in refused.chain(self.unrouted) {
            taken[place] = false;
        }
        let confirmed = (0..taken.len()).filter(|&place| taken[place]).collect();
        let _ = self.done.send(Err(Unpublished { error, confirmed }));
    }

    fn tell(mut self) {
        let unrouted = self.unrouted.into_iter().map(Refusal::Unrouted);
        self.refusals.extend(unrouted);
        // Whoever published may have stopped waiting.
        let _ = self.done.send(Ok(self.refusals));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Description;
    use super::*;
    use serde_json::Map;

    fn outgoing(key: &str, body: &'static str) -> Outgoing {
        Outgoing {
            exchange: String::new(),
            routing_key: key.to_owned(),
            mandatory: true,
            properties: Properties::new(&Description::default(), &Map::new()).unwrap(),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    fn batch(bodies: &[&'static str]) -> Vec<Outgoing> {
        bodies.iter().map(|body| outgoing("q", body)).collect()
    }

    fn unrouted(told: &mut oneshot::Receiver<Told>) -> Vec<usize> {
        let refusals = told.try_recv().expect("it is told").unwrap();
        let unrouted = |refusal| match refusal {
            Refusal::Unrouted(index) => index,
            Refusal::Nacked(_, text) => panic!("{text}"),
        };
        refusals.into_iter().map(unrouted).collect()
    }

    #[test]
    fn a_batch_is_told_when_all_of_it_is_answered() {
        let mut confirms = Confirms::default();
        let (_, mut first) = confirms.publish(batch(&["a", "b", "c"]));
        let (_, mut second) = confirms.publish(batch(&["d", "e"]));
        confirms.skip();
        let (_, mut third) = confirms.publish(batch(&["f"]));
        confirms.answered(2, false, true);
        confirms.answered(5, false, true);
        assert!(first.try_recv().is_err() && second.try_recv().is_err());
        confirms.answered(4, true, true);
        assert!(unrouted(&mut first).is_empty());
        assert!(unrouted(&mut second).is_empty());
        confirms.answered(7, true, true);
        assert!(unrouted(&mut third).is_empty());
        // Numbers that nobody waits for any more.
        confirms.answered(9, true, true);
        confirms.answered(1, false, false);
    }

    #[test]
    fn what_came_back_is_known_by_its_contents() {
        let mut confirms = Confirms::default();
        let (_, mut told) = confirms.publish(batch(&["a", "b", "b"]));
        let properties = outgoing("q", "b").properties;
        confirms.returned([b"", b"q"], &properties, &Bytes::from_static(b"b"));
        confirms.returned([b"", b"q"], &properties, &Bytes::from_static(b"b"));
        confirms.returned([b"q", b"q"], &properties, &Bytes::from_static(b"a"));
        confirms.answered(3, true, true);
        assert_eq!(unrouted(&mut told), [1, 2]);
    }

    #[test]
    fn a_refusal_and_the_end_are_told() {
        let mut confirms = Confirms::default();
        let (_, mut refused) = confirms.publish(batch(&["a", "b"]));
        confirms.answered(1, false, false);
        confirms.answered(2, false, true);
        let refusals = refused.try_recv().unwrap().unwrap();
        assert!(matches!(refusals[..], [Refusal::Nacked(0, _)]));
        let (_, mut open) = confirms.publish(batch(&["a"]));
        confirms.end(&LinkError::Lost("it is gone".to_owned()));
        assert!(open.try_recv().unwrap().is_err());
    }

    #[test]
    fn what_was_confirmed_before_the_end_is_told() {
        let mut confirms = Confirms::default();
        let (_, mut lost) = confirms.publish(batch(&["a", "b", "c", "d", "e"]));
        let (late, mut given_up) = confirms.publish(batch(&["f", "g"]));
        let (_, mut good) = confirms.publish(batch(&["h"]));
        let properties = outgoing("q", "c").properties;
        confirms.returned([b"", b"q"], &properties, &Bytes::from_static(b"c"));
        confirms.answered(3, true, true);
        confirms.answered(4, false, false);
        confirms.answered(7, false, true);
        confirms.give_up(late, LinkError::TimedOut("basic.publish"));
        let unpublished = given_up.try_recv().unwrap().unwrap_err();
        assert_eq!(unpublished.confirmed, [1]);
        // An answer that comes too late is nobody else's.
        confirms.answered(6, false, false);
        confirms.answered(8, false, true);
        assert!(good.try_recv().unwrap().unwrap().is_empty());
        confirms.end(&LinkError::Lost("it is gone".to_owned()));
        let unpublished = lost.try_recv().unwrap().unwrap_err();
        assert_eq!(unpublished.confirmed, [0, 1]);
    }
}
