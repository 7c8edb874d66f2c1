//! Results read back from the bytes they came in.

use std::any::Any;

use bytes::Bytes;
use celeriac_core::{ContentType, ErrorKind, Outcome, OutcomeChunk, TaskError};
use serde::de::DeserializeOwned;

/// Bytes of at least this length share the memory they came in; shorter ones would keep much more
/// of it than they need.
const SHARED_BYTES: usize = 64 * 1024;

/// Reads a result back.
pub(crate) fn decode<V: DeserializeOwned>(content_type: ContentType, value: &[u8]) -> Outcome<V> {
    content_type.decode(value).map_err(|error| {
        TaskError::new(
            ErrorKind::BadResult,
            format!("its result is no value of its type: {error}"),
        )
    })
}

/// Reads a result of `chunk` back, without a copy if it is plain [`Bytes`] and many of them.
pub(crate) fn decode_shared<V: DeserializeOwned + 'static>(
    chunk: &OutcomeChunk,
    value: &[u8],
) -> Outcome<V> {
    if value.len() >= SHARED_BYTES
        && chunk.content_type() == ContentType::Msgpack
        && let Some(output) = shared(chunk.bytes(), value)
    {
        return Ok(output);
    }
    decode(chunk.content_type(), value)
}

/// `value`, which lies in `whole`, if `V` is `Bytes` and it is one string of bytes.
fn shared<V: 'static>(whole: &Bytes, value: &[u8]) -> Option<V> {
    let mut output: Option<V> = None;
    let place = (&mut output as &mut dyn Any).downcast_mut::<Option<Bytes>>()?;
    // MessagePack's `bin 32`, the only form of so many bytes.
    let (&[0xc6, a, b, c, d], content) = value.split_first_chunk()? else {
        return None;
    };
    if u32::from_be_bytes([a, b, c, d]) as usize == content.len() {
        *place = Some(whole.slice_ref(content));
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded<V: serde::Serialize>(value: &V) -> Bytes {
        let mut out = Vec::new();
        ContentType::Msgpack.encode_into(value, &mut out).unwrap();
        out.into()
    }

    #[test]
    fn bytes_are_shared_and_nothing_else_is() {
        let value = Bytes::from(vec![7; SHARED_BYTES]);
        let whole = encoded(&value);
        let read: Bytes = shared(&whole, &whole).unwrap();
        assert_eq!(read, value);
        assert!(whole.as_ptr_range().contains(&read.as_ptr()));
        assert_eq!(shared::<Vec<u8>>(&whole, &whole), None);
        assert_eq!(shared::<Bytes>(&whole, &whole[..whole.len() - 1]), None);
        let list = encoded(&vec![7_u8; SHARED_BYTES]);
        assert_eq!(shared::<Bytes>(&list, &list), None);
    }
}
