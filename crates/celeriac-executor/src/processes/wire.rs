//! The frames between a pool and its children.
//!
//! A frame is `length: u32, kind: u8, header, body`, all numbers little-endian; the length counts
//! what follows it. The parent trusts nothing it reads here.

use celeriac_core::ContentType;

/// Changes whenever a frame does. Both ends are the same binary, so it only guards the marker.
pub(super) const VERSION: u32 = 2;

/// The longest frame a child may send: a full buffer of outcomes, one more, and their header.
pub(super) const CHILD_FRAME_LIMIT: usize = 192 * 1024;

/// The longest frame a parent sends: an inline chunk, an id and a header.
pub(super) const PARENT_FRAME_LIMIT: usize = 192 * 1024;

/// The longest task id a child can be given.
pub(super) const ID_LIMIT: usize = 32 * 1024;

/// A chunk to run.
pub(super) const RUN: u8 = 1;
/// A child is ready; its version and the number of its process.
pub(super) const HELLO: u8 = 2;
/// Outcomes of neighbouring calls.
pub(super) const OUTCOMES: u8 = 3;
/// One outcome whose bytes are in the outbox.
pub(super) const LARGE: u8 = 4;
/// How far a call has come.
pub(super) const PROGRESS: u8 = 5;

/// Cuts numbers and bytes off a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn u8(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*bytes))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*bytes))
    }

    pub(super) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }
}

/// A stream holds a frame longer than allowed.
#[derive(Debug)]
pub(super) struct TooLong(pub(super) usize);

/// The first frame of `bytes` without its length, and how many bytes it takes in all; `None` until
/// it is whole.
pub(super) fn split_frame(bytes: &[u8], limit: usize) -> Result<Option<(&[u8], usize)>, TooLong> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length > limit {
        return Err(TooLong(length));
    }
    Ok(rest.get(..length).map(|frame| (frame, length + 4)))
}

/// Begins a frame at the end of `out`; [`end_frame`] fills in its length.
pub(super) fn begin_frame(out: &mut Vec<u8>, kind: u8) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(kind);
    start
}

/// Ends the frame that began at `start`.
pub(super) fn end_frame(out: &mut [u8], start: usize) {
    let length = u32::try_from(out.len() - start - 4).expect("frames are limited far below 4 GiB");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// The header of a [`RUN`] frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunHeader<'a> {
    pub(super) seat: u32,
    pub(super) serial: u32,
    /// Binds the outcomes to this request.
    pub(super) nonce: u64,
    /// The task's place among the registered ones.
    pub(super) task: u32,
    pub(super) content_type: ContentType,
    pub(super) attempt: u32,
    /// The number of the chunk's first call in its invocation.
    pub(super) first: u32,
    pub(super) count: u32,
    /// Nanoseconds; 0 for none.
    pub(super) soft: u64,
    pub(super) hard: u64,
    /// The id of the invocation's first call.
    pub(super) id: &'a str,
    /// The length of the chunk in the seat's inbox, or 0 if it follows the header.
    pub(super) inbox: u32,
}

impl<'a> RunHeader<'a> {
    /// Appends a whole frame with `body` after the header.
    pub(super) fn write(&self, out: &mut Vec<u8>, body: &[u8]) {
        let start = begin_frame(out, RUN);
        out.push(content_code(self.content_type));
        for number in [
            self.seat,
            self.serial,
            self.task,
            self.attempt,
            self.first,
            self.count,
            self.inbox,
            u32::try_from(self.id.len()).expect("ids are limited"),
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.nonce, self.soft, self.hard] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(body);
        end_frame(out, start);
    }

    /// Reads what follows the kind; the rest of `fields` is the body.
    pub(super) fn read(fields: &mut Fields<'a>) -> Option<Self> {
        let content_type = content_type(fields.u8()?)?;
        let seat = fields.u32()?;
        let serial = fields.u32()?;
        let task = fields.u32()?;
        let attempt = fields.u32()?;
        let first = fields.u32()?;
        let count = fields.u32()?;
        let inbox = fields.u32()?;
        let id_len = fields.u32()? as usize;
        Some(Self {
            seat,
            serial,
            nonce: fields.u64()?,
            task,
            content_type,
            attempt,
            first,
            count,
            soft: fields.u64()?,
            hard: fields.u64()?,
            id: std::str::from_utf8(fields.bytes(id_len)?).ok()?,
            inbox,
        })
    }
}

fn content_code(content_type: ContentType) -> u8 {
    match content_type {
        ContentType::Json => 0,
        ContentType::Msgpack => 1,
        ContentType::Yaml => 2,
        ContentType::Pickle => 3,
        ContentType::Data => 4,
        _ => 5,
    }
}

fn content_type(code: u8) -> Option<ContentType> {
    match code {
        0 => Some(ContentType::Json),
        1 => Some(ContentType::Msgpack),
        2 => Some(ContentType::Yaml),
        3 => Some(ContentType::Pickle),
        4 => Some(ContentType::Data),
        5 => Some(ContentType::Text),
        _ => None,
    }
}

/// The length of an [`OUTCOMES`] frame's header with its length and kind.
pub(super) const OUTCOMES_HEADER: usize = 4 + 1 + 4 + 8 + 4 + 8;

/// Where in it the time stands.
pub(super) const BUSY_AT: usize = OUTCOMES_HEADER - 8;

/// What every frame about a chunk begins with: which one it is, and which call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct About {
    pub(super) seat: u32,
    pub(super) nonce: u64,
    pub(super) index: u32,
}

impl About {
    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            seat: fields.u32()?,
            nonce: fields.u64()?,
            index: fields.u32()?,
        })
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.seat.to_le_bytes());
        out.extend_from_slice(&self.nonce.to_le_bytes());
        out.extend_from_slice(&self.index.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_survives_its_frame() {
        let header = RunHeader {
            seat: 3,
            serial: 9,
            nonce: 1 << 60,
            task: 2,
            content_type: ContentType::Json,
            attempt: 1,
            first: 10,
            count: 4,
            soft: 5,
            hard: 6,
            id: "order-7",
            inbox: 0,
        };
        let mut out = vec![1, 2, 3];
        header.write(&mut out, b"body");
        let (frame, taken) = split_frame(&out[3..], 1000).unwrap().unwrap();
        assert_eq!(taken, out.len() - 3);
        let mut fields = Fields(frame);
        assert_eq!(fields.u8(), Some(RUN));
        assert_eq!(RunHeader::read(&mut fields), Some(header));
        assert_eq!(fields.0, b"body");
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_before_it_is_whole() {
        let bytes = u32::MAX.to_le_bytes();
        assert_eq!(split_frame(&bytes, 1000).unwrap_err().0, u32::MAX as usize);
    }

    proptest! {
        #[test]
        fn junk_is_read_or_refused_but_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some((frame, taken))) = split_frame(&bytes, 100) {
                prop_assert_eq!(frame.len() + 4, taken);
            }
            let _ = RunHeader::read(&mut Fields(&bytes));
            let _ = About::read(&mut Fields(&bytes));
        }
    }
}
