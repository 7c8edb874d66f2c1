//! Several calls of one task in one buffer, and their outcomes likewise.
//!
//! A chunk is `len: u32 little-endian, bytes` repeated; an outcome chunk is
//! `tag: u8, len: u32 little-endian, bytes` repeated, where tag 0 is a value in the chunk's content
//! type and tag 1 a [`TaskError`] in MessagePack. The lengths let one bad call fail alone.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::outcome::{Outcome, TaskError};
use crate::payload::{ContentType, Payload, PayloadError};

/// The encoded arguments of one or more calls of the same task.
#[derive(Debug, Clone)]
pub struct Chunk {
    content_type: ContentType,
    bytes: Bytes,
    count: usize,
}

impl Chunk {
    /// A chunk of one call.
    pub fn single(arguments: &Payload) -> Self {
        let mut bytes = Vec::with_capacity(arguments.bytes.len() + 4);
        push_bytes(&mut bytes, &arguments.bytes);
        Self {
            content_type: arguments.content_type,
            bytes: bytes.into(),
            count: 1,
        }
    }

    /// Reads a chunk that arrived from elsewhere.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Decode`] if the bytes are not whole records.
    pub fn from_bytes(content_type: ContentType, bytes: Bytes) -> Result<Self, PayloadError> {
        let mut rest = &bytes[..];
        let mut count = 0;
        while !rest.is_empty() {
            let size_bytes = rest.len();
            rest = split_record(rest)
                .ok_or_else(|| PayloadError::Decode {
                    reason: "a chunk ends inside a record".to_owned(),
                    size_bytes,
                })?
                .1;
            count += 1;
        }
        Ok(Self {
            content_type,
            bytes,
            count,
        })
    }

    /// What the arguments are encoded in.
    pub fn content_type(&self) -> ContentType {
        self.content_type
    }

    /// The whole chunk as it travels.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many calls it holds.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it holds no call.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The arguments of each call in turn.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (record, tail) = split_record(rest)?;
            rest = tail;
            Some(record)
        })
    }

    /// The arguments of each call in turn as a payload that shares this chunk's bytes.
    pub fn payloads(&self) -> impl Iterator<Item = Payload> {
        self.iter().map(|record| Payload {
            content_type: self.content_type,
            bytes: self.bytes.slice_ref(record),
        })
    }

    /// The calls from number `first` on, as a chunk of their own.
    #[must_use]
    pub fn tail(&self, first: usize) -> Self {
        let skipped: usize = self.iter().take(first).map(|record| record.len() + 4).sum();
        Self {
            content_type: self.content_type,
            bytes: self.bytes.slice(skipped..),
            count: self.count.saturating_sub(first),
        }
    }

    /// Call number `index` alone.
    ///
    /// # Panics
    ///
    /// If there is no such call.
    #[must_use]
    pub fn nth(&self, index: usize) -> Self {
        let mut tail = self.tail(index);
        let len = tail.iter().next().expect("the index is below `len`").len();
        tail.bytes.truncate(len + 4);
        tail.count = 1;
        tail
    }
}

/// Builds a [`Chunk`] call by call.
#[derive(Debug)]
pub struct ChunkBuilder {
    content_type: ContentType,
    bytes: Vec<u8>,
    count: usize,
}

impl ChunkBuilder {
    /// An empty chunk in `content_type`.
    pub fn new(content_type: ContentType) -> Self {
        Self {
            content_type,
            bytes: Vec::new(),
            count: 0,
        }
    }

    /// Appends the arguments of one call, a tuple.
    ///
    /// # Errors
    ///
    /// As [`ContentType::encode_into`]; the chunk is then as before.
    pub fn push<A: Serialize>(&mut self, arguments: &A) -> Result<(), PayloadError> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        if let Err(error) = self.content_type.encode_into(arguments, &mut self.bytes) {
            self.bytes.truncate(start);
            return Err(error);
        }
        set_length(&mut self.bytes, start);
        self.count += 1;
        Ok(())
    }

    /// Takes the last call back, if the chunk had `size_bytes` before it.
    pub fn pop(&mut self, size_bytes: usize) {
        self.bytes.truncate(size_bytes);
        self.count -= 1;
    }

    /// What the arguments are encoded in.
    pub fn content_type(&self) -> ContentType {
        self.content_type
    }

    /// How many bytes it holds so far.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// How many calls it holds so far.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it holds no call yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The finished chunk.
    pub fn finish(self) -> Chunk {
        Chunk {
            content_type: self.content_type,
            bytes: self.bytes.into(),
            count: self.count,
        }
    }
}

/// The outcomes of neighbouring calls of one chunk, in order.
#[derive(Debug, Clone)]
pub struct OutcomeChunk {
    /// The number of the first call answered here.
    pub first: usize,
    /// How long these calls ran, together.
    pub busy: Duration,
    content_type: ContentType,
    bytes: Bytes,
    count: usize,
}

const VALUE: u8 = 0;
const ERROR: u8 = 1;

impl OutcomeChunk {
    /// Builds a chunk whose first outcome is that of call `first`.
    pub fn builder(content_type: ContentType, first: usize) -> OutcomeChunkBuilder {
        OutcomeChunkBuilder {
            first,
            content_type,
            bytes: Vec::new(),
            count: 0,
        }
    }

    /// Reads outcomes that arrived from elsewhere.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Decode`] if the bytes are not whole records with known tags. The values
    /// inside are not looked at.
    pub fn from_bytes(
        content_type: ContentType,
        first: usize,
        busy: Duration,
        bytes: Bytes,
    ) -> Result<Self, PayloadError> {
        let mut rest = &bytes[..];
        let mut count = 0;
        while !rest.is_empty() {
            let size_bytes = rest.len();
            let junk = |reason: &str| PayloadError::Decode {
                reason: reason.to_owned(),
                size_bytes,
            };
            if rest[0] > ERROR {
                return Err(junk("an outcome has an unknown tag"));
            }
            rest = split_record(&rest[1..])
                .ok_or_else(|| junk("an outcome is cut short"))?
                .1;
            count += 1;
        }
        Ok(Self {
            first,
            busy,
            content_type,
            bytes,
            count,
        })
    }

    /// How many outcomes it holds.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The records as they travel.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What the values are encoded in.
    pub fn content_type(&self) -> ContentType {
        self.content_type
    }

    /// Each outcome in turn, its value still encoded.
    pub fn iter(&self) -> impl Iterator<Item = Outcome<&[u8]>> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (&tag, tail) = rest.split_first()?;
            let (record, tail) = split_record(tail)?;
            rest = tail;
            Some(if tag == VALUE {
                Ok(record)
            } else {
                Err(ContentType::Msgpack.decode(record).unwrap_or_else(|_| {
                    TaskError::lost("its outcome could not be read back from the child")
                }))
            })
        })
    }

    /// Each outcome in turn as a payload that shares this chunk's bytes.
    pub fn payloads(&self) -> impl Iterator<Item = Outcome<Payload>> {
        self.iter().map(|outcome| {
            outcome.map(|value| Payload {
                content_type: self.content_type,
                bytes: self.bytes.slice_ref(value),
            })
        })
    }
}

/// Builds an [`OutcomeChunk`].
#[derive(Debug)]
pub struct OutcomeChunkBuilder {
    first: usize,
    content_type: ContentType,
    bytes: Vec<u8>,
    count: usize,
}

impl OutcomeChunkBuilder {
    /// Appends the outcome of the next call.
    pub fn push(&mut self, outcome: &Outcome<Vec<u8>>) {
        push_outcome(&mut self.bytes, outcome.as_ref().map(Vec::as_slice));
        self.count += 1;
    }

    /// The finished chunk; its calls ran for `busy` together.
    pub fn finish(self, busy: Duration) -> OutcomeChunk {
        OutcomeChunk {
            first: self.first,
            busy,
            content_type: self.content_type,
            bytes: self.bytes.into(),
            count: self.count,
        }
    }
}

/// Appends one outcome record: tag, length, bytes.
pub fn push_outcome(out: &mut Vec<u8>, outcome: Result<&[u8], &TaskError>) {
    match outcome {
        Ok(value) => {
            out.push(VALUE);
            push_bytes(out, value);
        }
        Err(error) => {
            out.push(ERROR);
            let start = out.len();
            out.extend_from_slice(&[0; 4]);
            ContentType::Msgpack
                .encode_into(error, out)
                .expect("an error is text and numbers, which MessagePack always holds");
            set_length(out, start);
        }
    }
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(bytes);
    set_length(out, start);
}

/// Writes the length of what follows the four bytes at `start`.
fn set_length(out: &mut [u8], start: usize) {
    let length = u32::try_from(out.len() - start - 4).expect("bodies are limited far below 4 GiB");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Splits `len, bytes` off the front.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunk_of(values: &[String]) -> Chunk {
        let mut builder = ChunkBuilder::new(ContentType::Msgpack);
        for value in values {
            builder.push(&(value,)).unwrap();
        }
        builder.finish()
    }

    proptest! {
        #[test]
        fn a_chunk_survives_its_bytes(values in proptest::collection::vec(".*", 0..20)) {
            let chunk = chunk_of(&values);
            let read = Chunk::from_bytes(ContentType::Msgpack, chunk.bytes().clone()).unwrap();
            prop_assert_eq!(read.len(), values.len());
            let decoded: Vec<(String,)> =
                read.iter().map(|record| ContentType::Msgpack.decode(record).unwrap()).collect();
            prop_assert_eq!(decoded.into_iter().map(|(value,)| value).collect::<Vec<_>>(), values);
        }

        #[test]
        fn junk_is_refused_or_read_but_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            if let Ok(chunk) = Chunk::from_bytes(ContentType::Json, bytes.clone()) {
                prop_assert_eq!(chunk.iter().count(), chunk.len());
            }
            if let Ok(chunk) = OutcomeChunk::from_bytes(ContentType::Json, 0, Duration::ZERO, bytes) {
                prop_assert_eq!(chunk.iter().count(), chunk.len());
            }
        }
    }

    #[test]
    fn a_tail_and_a_single_call_are_chunks_of_their_own() {
        let chunk = chunk_of(&["a".into(), "bb".into(), "ccc".into()]);
        assert_eq!(chunk.tail(1).iter().count(), 2);
        assert_eq!(chunk.nth(1).iter().next(), chunk.iter().nth(1));
        assert!(chunk.tail(3).is_empty());
    }

    #[test]
    fn outcomes_keep_values_and_errors_apart() {
        let mut builder = OutcomeChunk::builder(ContentType::Json, 4);
        builder.push(&Ok(b"7".to_vec()));
        builder.push(&Err(TaskError::failed("Broken", "no disk")));
        let chunk = builder.finish(Duration::from_millis(2));
        let read =
            OutcomeChunk::from_bytes(ContentType::Json, 4, chunk.busy, chunk.bytes().clone())
                .unwrap();
        let outcomes: Vec<_> = read.payloads().collect();
        assert_eq!(outcomes[0].as_ref().unwrap().decode::<u8>().unwrap(), 7);
        assert_eq!(outcomes[1].as_ref().unwrap_err().message(), "no disk");
    }
}
