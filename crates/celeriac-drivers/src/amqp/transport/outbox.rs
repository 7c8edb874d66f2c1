//! What a connection is to send: frames in their order, between which large bodies stand uncopied.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes};

use super::frame;

/// A part of a body of this size, in bytes, is sent from where it is; copying a smaller one costs less
/// than a system call.
const LARGE: usize = 16 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Everything but the large parts. What is to be sent is added here.
    pub(super) bytes: Vec<u8>,
    /// How many of these are sent.
    sent: usize,
    /// Each large part, and before which byte it stands.
    large: VecDeque<(usize, Bytes)>,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len() && self.large.is_empty()
    }

    /// Adds a frame with a part of a body.
    pub(super) fn put_body(&mut self, channel: u16, part: Bytes) {
        if part.len() < LARGE {
            return frame::put(&mut self.bytes, frame::BODY, channel, |out| {
                out.extend(&part);
            });
        }
        frame::put_start(&mut self.bytes, frame::BODY, channel, part.len());
        self.large.push_back((self.bytes.len(), part));
        self.bytes.push(frame::END);
    }

    /// What is to be sent next; nothing if all is sent.
    pub(super) fn next(&self) -> &[u8] {
        match self.large.front() {
            Some((at, part)) if *at == self.sent => part,
            Some((at, _)) => &self.bytes[self.sent..*at],
            None => &self.bytes[self.sent..],
        }
    }

    /// So many bytes of that are sent.
    pub(super) fn advance(&mut self, count: usize) {
        match self.large.front_mut() {
            Some((at, part)) if *at == self.sent => {
                part.advance(count);
                if part.is_empty() {
                    self.large.pop_front();
                }
            }
            _ => self.sent += count,
        }
    }

    /// Empties it, and keeps room for `most_bytes` at most.
    pub(super) fn clear(&mut self, most_bytes: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(most_bytes);
        self.sent = 0;
        self.large.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_are_sent_in_their_order_however_they_are_cut(
            sizes in prop::collection::vec(prop_oneof![0..9_usize, LARGE - 2..LARGE + 2], 0..6),
            cuts in prop::collection::vec(1..20_000_usize, 1..9),
        ) {
            let (mut outbox, mut copied) = (Outbox::default(), Vec::new());
            for (number, size) in sizes.into_iter().enumerate() {
                let part = vec![u8::try_from(number).unwrap(); size];
                frame::put(&mut copied, frame::BODY, 7, |out| out.extend(&part));
                outbox.put_body(7, part.into());
            }
            let mut sent = Vec::new();
            let mut cuts = cuts.into_iter().cycle();
            while !outbox.is_empty() {
                let next = outbox.next();
                let count = next.len().min(cuts.next().unwrap());
                prop_assert!(count > 0);
                sent.extend_from_slice(&next[..count]);
                outbox.advance(count);
            }
            prop_assert!(sent == copied);
        }
    }
}
