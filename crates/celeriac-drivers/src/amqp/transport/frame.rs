//! Frames: what a connection is cut into.
//!
//! ```text
//! kind (1 byte) · channel (2) · size (4) · payload · 0xCE
//! ```

use super::LinkError;
use super::reader::Reader;

pub(super) const METHOD: u8 = 1;
pub(super) const HEADER: u8 = 2;
pub(super) const BODY: u8 = 3;
pub(super) const HEARTBEAT: u8 = 8;

/// The last byte of each frame.
pub(super) const END: u8 = 0xCE;

/// What a frame has besides its payload, in bytes.
pub(super) const OVERHEAD: usize = 8;

/// The first thing a client says; a server that speaks another protocol answers the like.
pub(super) const GREETING: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

/// A frame that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) kind: u8,
    pub(super) channel: u16,
    pub(super) payload: &'a [u8],
}

/// The first frame in `bytes` and how many of them it takes; nothing if it is not complete yet.
/// None has more than `most_bytes`.
pub(super) fn split(
    bytes: &[u8],
    most_bytes: usize,
) -> Result<Option<(Frame<'_>, usize)>, LinkError> {
    let mut reader = Reader(bytes);
    let (Some(kind), Some(channel), Some(size)) = (reader.u8(), reader.u16(), reader.u32()) else {
        return Ok(None);
    };
    if kind == GREETING[0] {
        return Err(LinkError::Lost("it speaks another version of AMQP".into()));
    }
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size > most_bytes.saturating_sub(OVERHEAD) {
        return Err(LinkError::Lost("it sent a frame larger than agreed".into()));
    }
    let (Some(payload), Some(end)) = (reader.take(size), reader.u8()) else {
        return Ok(None);
    };
    if end != END {
        return Err(LinkError::Lost("it sent a frame without an end".into()));
    }
    let frame = Frame {
        kind,
        channel,
        payload,
    };
    Ok(Some((frame, size + OVERHEAD)))
}

/// Adds a frame to `out`, whose payload `write` adds.
pub(super) fn put(out: &mut Vec<u8>, kind: u8, channel: u16, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    out.extend(channel.to_be_bytes());
    let at = out.len();
    out.extend([0; 4]);
    write(out);
    let size = u32::try_from(out.len() - at - 4).expect("it was checked against the agreed size");
    out[at..at + 4].copy_from_slice(&size.to_be_bytes());
    out.push(END);
}

/// Adds the start of a frame whose payload has `size` bytes.
pub(super) fn put_start(out: &mut Vec<u8>, kind: u8, channel: u16, size: usize) {
    let size = u32::try_from(size).expect("it was checked against the agreed size");
    out.push(kind);
    out.extend(channel.to_be_bytes());
    out.extend(size.to_be_bytes());
}

/// Adds a text of which the length was checked.
pub(super) fn put_short(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).expect("names are checked before they are written"));
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..5),
            channel: u16,
            cut in 0_usize..200,
        ) {
            let mut bytes = Vec::new();
            for payload in &payloads {
                put(&mut bytes, BODY, channel, |out| out.extend(payload));
            }
            let mut seen = Vec::new();
            let mut at = 0;
            for end in [cut.min(bytes.len()), bytes.len()] {
                while let Some((frame, size)) = split(&bytes[at..end], 100).unwrap() {
                    prop_assert_eq!((frame.kind, frame.channel), (BODY, channel));
                    seen.push(frame.payload.to_vec());
                    at += size;
                }
            }
            prop_assert_eq!(seen, payloads);
        }

        #[test]
        fn nonsense_is_refused_or_incomplete(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(Some((_, size))) = split(&bytes, 40) {
                prop_assert!(size <= bytes.len());
            }
        }
    }

    #[test]
    fn a_frame_that_is_too_large_or_has_no_end_is_refused() {
        let mut bytes = Vec::new();
        put(&mut bytes, METHOD, 1, |out| out.extend([7; 20]));
        assert!(split(&bytes, 27).is_err());
        *bytes.last_mut().unwrap() = 0;
        assert!(split(&bytes, 28).is_err());
        assert!(split(b"AMQP\x00\x01\x00\x00", 28).is_err());
    }
}
