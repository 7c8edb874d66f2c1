//! What a connection knows: its channels, who waits on each, and what is to be sent.
//!
//! Callers write what they say straight into what is to be sent, so what is said first is sent first;
//! the [pump](super::pump) sends it, and brings what arrives to those who wait for it.

use std::collections::HashMap;

use super::LinkError;
use super::frame::{self, Frame};
use super::lane::Lane;
use super::method::{self, Heard, id};
use super::outbox::Outbox;

/// Something that is wrong on a connection, or the end of it.
pub(super) type End = LinkError;

/// See the module.
#[derive(Debug)]
pub(super) struct Switchboard {
    /// What is to be sent.
    pub(super) outgoing: Outbox,
    /// How often that was taken over to be sent.
    pub(super) gathered: u64,
    lanes: HashMap<u16, Lane>,
    /// The number that was given to a channel last.
    last: u16,
    most_channels: u16,
    /// The largest frame both sides take.
    pub(super) frame_bytes: usize,
    /// Why there is no connection any more.
    over: Option<LinkError>,
    /// Why the server takes no messages for now.
    pub(super) blocked: Option<String>,
}

fn nonsense() -> LinkError {
    LinkError::Lost("the server sent what is no AMQP".to_owned())
}

impl Switchboard {
    /// Of a connection with these agreements.
    pub(super) fn new(most_channels: u16, frame_bytes: usize) -> Self {
        Self {
            outgoing: Outbox::default(),
            gathered: 0,
            lanes: HashMap::new(),
            last: 0,
            most_channels,
            frame_bytes,
            over: None,
            blocked: None,
        }
    }

    /// Why there is no connection any more, if there is none.
    pub(super) fn check(&self) -> Result<(), LinkError> {
        self.over
            .as_ref()
            .map_or(Ok(()), |error| Err(error.afterwards()))
    }

    /// A new channel, which the server does not know of yet.
    pub(super) fn add_lane(&mut self) -> Result<u16, LinkError> {
        self.check()?;
        for _ in 0..self.most_channels {
            self.last = self.last % self.most_channels + 1;
            if !self.lanes.contains_key(&self.last) {
                self.lanes.insert(self.last, Lane::default());
                return Ok(self.last);
            }
        }
        let text = "the server allows no more channels on one connection";
        Err(LinkError::Lost(text.to_owned()))
    }

    /// A channel that has not ended, and what is to be sent.
    pub(super) fn lane(&mut self, number: u16) -> Result<(&mut Lane, &mut Outbox), LinkError> {
        self.check()?;
        let gone = || LinkError::Lost("the channel is closed".to_owned());
        let lane = self.lanes.get_mut(&number).ok_or_else(gone)?;
        lane.check()?;
        Ok((lane, &mut self.outgoing))
    }

    /// Nobody needs the channel any more.
    pub(super) fn leave(&mut self, number: u16) {
        let Some(lane) = self.lanes.get_mut(&number) else {
            return;
        };
        if lane.check().is_err() || self.over.is_some() {
            self.lanes.remove(&number);
        } else {
            lane.leave();
            method::put_close(&mut self.outgoing.bytes, number, id::CHANNEL_CLOSE);
        }
    }

    /// The connection has ended: tells all who wait.
    pub(super) fn end(&mut self, error: &LinkError) {
        if self.over.is_none() {
            self.over = Some(error.clone());
            for lane in self.lanes.values_mut() {
                lane.end(error);
            }
        }
    }

    /// Brings a frame to those who wait for it.
    pub(super) fn take_in(&mut self, frame: &Frame<'_>) -> Result<(), End> {
        if frame.channel == 0 {
            return match frame.kind {
                frame::METHOD => self.on_connection(method::read(frame.payload)),
                frame::HEARTBEAT => Ok(()),
                _ => Err(nonsense()),
            };
        }
        // What belongs to a channel that is gone was on its way.
        let Some(lane) = self.lanes.get_mut(&frame.channel) else {
            return Ok(());
        };
        match frame.kind {
            frame::METHOD => {
                let heard = method::read(frame.payload).ok_or_else(nonsense)?;
                self.on_channel(frame.channel, heard)
            }
            frame::HEADER => lane.header(frame.payload).ok_or_else(nonsense),
            frame::BODY => lane.body(frame.payload).ok_or_else(nonsense),
            _ => Err(nonsense()),
        }
    }

    fn on_connection(&mut self, heard: Option<Heard<'_>>) -> Result<(), End> {
        match heard {
            Some(Heard::Close(code, text)) => {
                method::put(&mut self.outgoing.bytes, 0, id::CLOSE_OK, |_| {});
                Err(LinkError::Refused { code, text })
            }
            Some(Heard::CloseOk) => Err(LinkError::Lost("it was closed".to_owned())),
            Some(Heard::Blocked(reason)) => {
                self.blocked = Some(reason);
                Ok(())
            }
            Some(Heard::Unblocked) => {
                self.blocked = None;
                Ok(())
            }
            _ => Err(nonsense()),
        }
    }

    fn on_channel(&mut self, number: u16, heard: Heard<'_>) -> Result<(), End> {
        let Some(lane) = self.lanes.get_mut(&number) else {
            return Ok(());
        };
        let out = &mut self.outgoing.bytes;
        match heard {
            Heard::Deliver {
                consumer,
                tag,
                redelivered,
                exchange,
                routing_key,
            } => lane.deliver(consumer, tag, redelivered, [exchange, routing_key]),
            Heard::Return {
                exchange,
                routing_key,
            } => lane.returned([exchange, routing_key]),
            Heard::Ack { tag, multiple } => lane.answered(tag, multiple, true),
            Heard::Nack { tag, multiple } => lane.answered(tag, multiple, false),
            Heard::Cancel { consumer, asks } => {
                lane.cancelled(consumer);
                if asks {
                    method::put(out, number, id::CANCEL_OK, |out| {
                        out.push(u8::try_from(consumer.len()).unwrap_or_default());
                        out.extend(consumer);
                    });
                }
            }
            Heard::CancelOk { consumer } => {
                lane.cancelled(consumer);
                return lane.answer(id::CANCEL_OK, [0, 0]).ok_or_else(nonsense);
            }
            // Servers of today never ask; one that does is told that we heard it.
            Heard::Flow(active) => method::put(out, number, id::CHANNEL_FLOW_OK, |out| {
                out.push(u8::from(active));
            }),
            Heard::ChannelClose(code, text) => {
                method::put(out, number, id::CHANNEL_CLOSE_OK, |_| {});
                lane.end(&LinkError::Refused { code, text });
            }
            Heard::ChannelCloseOk => {
                self.lanes.remove(&number);
            }
            Heard::Answer(id, numbers) => return lane.answer(id, numbers).ok_or_else(nonsense),
            _ => return Err(nonsense()),
        }
        Ok(())
    }
}
