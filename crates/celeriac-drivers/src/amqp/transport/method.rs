//! Methods: what client and server say to each other on a channel.
//!
//! # Sources
//!
//! Numbers and arguments are those of AMQP 0-9-1 with RabbitMQ's extensions.

use super::frame::{self, METHOD, put_short};
use super::reader::Reader;

/// A class and a method of it.
pub(super) type Id = (u16, u16);

/// The numbers of the methods that are named elsewhere.
pub(super) mod id {
    use super::Id;

    pub(crate) const START: Id = (10, 10);
    pub(crate) const START_OK: Id = (10, 11);
    pub(crate) const TUNE: Id = (10, 30);
    pub(crate) const TUNE_OK: Id = (10, 31);
    pub(crate) const OPEN: Id = (10, 40);
    pub(crate) const OPEN_OK: Id = (10, 41);
    pub(crate) const CLOSE: Id = (10, 50);
    pub(crate) const CLOSE_OK: Id = (10, 51);
    pub(crate) const BLOCKED: Id = (10, 60);
    pub(super) const UNBLOCKED: Id = (10, 61);
    pub(crate) const CHANNEL_OPEN: Id = (20, 10);
    pub(super) const CHANNEL_FLOW: Id = (20, 20);
    pub(crate) const CHANNEL_FLOW_OK: Id = (20, 21);
    pub(crate) const CHANNEL_CLOSE: Id = (20, 40);
    pub(crate) const CHANNEL_CLOSE_OK: Id = (20, 41);
    pub(crate) const EXCHANGE_DECLARE: Id = (40, 10);
    pub(crate) const EXCHANGE_DELETE: Id = (40, 20);
    pub(crate) const EXCHANGE_BIND: Id = (40, 30);
    /// The only one whose answer has not the next number.
    const EXCHANGE_UNBIND: Id = (40, 40);
    pub(crate) const QUEUE_DECLARE: Id = (50, 10);
    pub(crate) const QUEUE_DECLARE_OK: Id = (50, 11);
    pub(crate) const QUEUE_BIND: Id = (50, 20);
    pub(crate) const QUEUE_PURGE: Id = (50, 30);
    pub(super) const QUEUE_PURGE_OK: Id = (50, 31);
    pub(crate) const QUEUE_DELETE: Id = (50, 40);
    pub(super) const QUEUE_DELETE_OK: Id = (50, 41);
    pub(crate) const QOS: Id = (60, 10);
    pub(crate) const CONSUME: Id = (60, 20);
    pub(crate) const CANCEL: Id = (60, 30);
    pub(crate) const CANCEL_OK: Id = (60, 31);
    pub(crate) const PUBLISH: Id = (60, 40);
    pub(super) const RETURN: Id = (60, 50);
    pub(crate) const DELIVER: Id = (60, 60);
    pub(crate) const ACK: Id = (60, 80);
    pub(crate) const NACK: Id = (60, 120);
    pub(crate) const SELECT: Id = (85, 10);

    /// The number of the answer to a question.
    pub(crate) fn answer((class, method): Id) -> Id {
        debug_assert_ne!((class, method), EXCHANGE_UNBIND);
        (class, method + 1)
    }
}

/// Something the server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard<'a> {
    /// A message for one of our consumers; its properties and its body follow.
    Deliver {
        consumer: &'a [u8],
        tag: u64,
        redelivered: bool,
        exchange: &'a [u8],
        routing_key: &'a [u8],
    },
    /// A message of ours that no queue took; it follows itself.
    Return {
        exchange: &'a [u8],
        routing_key: &'a [u8],
    },
    /// It has taken what we published under this number, and all before it if `multiple`.
    Ack { tag: u64, multiple: bool },
    /// It has not taken it.
    Nack { tag: u64, multiple: bool },
    /// It has ended a consumer of ours; it wants no answer unless `asks`.
    Cancel { consumer: &'a [u8], asks: bool },
    /// It has ended a consumer as we asked.
    CancelOk { consumer: &'a [u8] },
    /// It asks us to stop publishing on this channel, or to go on.
    Flow(bool),
    /// It ends the channel.
    ChannelClose(u16, String),
    /// The channel has ended as we asked.
    ChannelCloseOk,
    /// It ends the connection.
    Close(u16, String),
    /// The connection has ended as we asked.
    CloseOk,
    /// It takes no messages for now.
    Blocked(String),
    /// It takes messages again.
    Unblocked,
    /// A login begins, with these ways to log in.
    Start { mechanisms: &'a [u8] },
    /// The most channels, the largest frame in bytes, the seconds between heartbeats: 0 for any.
    Tune(u16, u32, u16),
    /// The answer to a question, with up to two numbers.
    Answer(Id, [u32; 2]),
}

/// What a method says; nothing if it is none that we know.
pub(super) fn read(payload: &[u8]) -> Option<Heard<'_>> {
    let mut reader = Reader(payload);
    let id = (reader.u16()?, reader.u16()?);
    Some(match id {
        id::DELIVER => Heard::Deliver {
            consumer: reader.short()?,
            tag: reader.u64()?,
            redelivered: reader.u8()? & 1 != 0,
            exchange: reader.short()?,
            routing_key: reader.short()?,
        },
        id::RETURN => {
            // Code and words.
            reader.u16()?;
            reader.short()?;
            Heard::Return {
                exchange: reader.short()?,
                routing_key: reader.short()?,
            }
        }
        id::ACK => Heard::Ack {
            tag: reader.u64()?,
            multiple: reader.u8()? & 1 != 0,
        },
        id::NACK => Heard::Nack {
            tag: reader.u64()?,
            multiple: reader.u8()? & 1 != 0,
        },
        id::CANCEL => Heard::Cancel {
            consumer: reader.short()?,
            asks: reader.u8()? & 1 == 0,
        },
        id::CANCEL_OK => Heard::CancelOk {
            consumer: reader.short()?,
        },
        id::CHANNEL_FLOW => Heard::Flow(reader.u8()? & 1 != 0),
        id::CHANNEL_CLOSE => Heard::ChannelClose(reader.u16()?, reader.text()?),
        id::CHANNEL_CLOSE_OK => Heard::ChannelCloseOk,
        id::CLOSE => Heard::Close(reader.u16()?, reader.text()?),
        id::CLOSE_OK => Heard::CloseOk,
        id::BLOCKED => Heard::Blocked(reader.text()?),
        id::UNBLOCKED => Heard::Unblocked,
        id::START => {
            // The version and what the server says of itself.
            reader.u16()?;
            reader.long()?;
            Heard::Start {
                mechanisms: reader.long()?,
            }
        }
        id::TUNE => Heard::Tune(reader.u16()?, reader.u32()?, reader.u16()?),
        id::QUEUE_DECLARE_OK => {
            reader.short()?;
            Heard::Answer(id, [reader.u32()?, reader.u32()?])
        }
        id::QUEUE_PURGE_OK | id::QUEUE_DELETE_OK => Heard::Answer(id, [reader.u32()?, 0]),
        (_, 11 | 21 | 31 | 41 | 51) => Heard::Answer(id, [0, 0]),
        _ => return None,
    })
}

/// Adds a method to `out`, whose arguments `write` adds.
pub(super) fn put(out: &mut Vec<u8>, channel: u16, id: Id, write: impl FnOnce(&mut Vec<u8>)) {
    frame::put(out, METHOD, channel, |out| {
        out.extend(id.0.to_be_bytes());
        out.extend(id.1.to_be_bytes());
        write(out);
    });
}

/// Adds the end of a channel or connection, of our own accord.
pub(super) fn put_close(out: &mut Vec<u8>, channel: u16, id: Id) {
    put(out, channel, id, |out| {
        out.extend(200_u16.to_be_bytes());
        put_short(out, "OK");
        out.extend([0; 4]);
    });
}

/// Adds an acknowledgement.
pub(super) fn put_ack(out: &mut Vec<u8>, channel: u16, tag: u64, multiple: bool) {
    put(out, channel, id::ACK, |out| {
        out.extend(tag.to_be_bytes());
        out.push(u8::from(multiple));
    });
}

/// Adds the refusal of a delivery, which goes back to its queue.
pub(super) fn put_nack(out: &mut Vec<u8>, channel: u16, tag: u64, multiple: bool) {
    put(out, channel, id::NACK, |out| {
        out.extend(tag.to_be_bytes());
        out.push(u8::from(multiple) | 0b10);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_delivery_is_read() {
        let mut payload = vec![0, 60, 0, 60];
        put_short(&mut payload, "me");
        payload.extend(7_u64.to_be_bytes());
        payload.push(1);
        put_short(&mut payload, "world");
        put_short(&mut payload, "jobs");
        let heard = Heard::Deliver {
            consumer: b"me",
            tag: 7,
            redelivered: true,
            exchange: b"world",
            routing_key: b"jobs",
        };
        assert_eq!(read(&payload), Some(heard));
        assert_eq!(read(&payload[..8]), None);
    }

    #[test]
    fn answers_are_told_from_questions() {
        assert_eq!(read(&[0, 40, 0, 11]), Some(Heard::Answer((40, 11), [0, 0])));
        assert_eq!(read(&[0, 60, 0, 70]), None);
        assert_eq!(id::answer(id::QOS), (60, 11));
    }

    proptest! {
        #[test]
        fn nonsense_is_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = read(&bytes);
        }
    }
}
