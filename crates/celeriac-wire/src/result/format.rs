//! What results are stored in, which readers are told by their settings or see for themselves.
//!
//! # Sources
//!
//! Celery's `result_serializer` and `result_compression`, as its 5.7 stores them.

use std::borrow::Cow;

use celeriac_core::{Compression, ContentType, StoredResult, Tree};

use super::{ResultError, encode, part};
use crate::body;
use crate::compression::{DEFAULT_INFLATED_LIMIT_BYTES, deflate, inflate, named};

/// What a compressed result begins with, before the MIME type of its compression and a zero.
///
/// Readers from 5.7 on take both, older ones only what is not compressed.
const COMPRESSED: &[u8] = b"\0celery-compressed\0";

/// What the results of a store are encoded in, and compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultFormat {
    /// JSON, MessagePack or YAML. Celery's readers take only the one they are set to.
    pub serializer: ContentType,
    /// What makes smaller whatever it can make smaller; the rest stays as it is.
    pub compression: Option<Compression>,
}

impl Default for ResultFormat {
    /// JSON, not compressed.
    fn default() -> Self {
        Self {
            serializer: ContentType::Json,
            compression: None,
        }
    }
}

impl ResultFormat {
    /// A result as it is stored.
    ///
    /// # Errors
    ///
    /// [`ResultError::Value`] if the value has no form in JSON, and [`ResultError::Compression`] if this
    /// build has no code for the compression.
    pub fn encode(self, stored: &StoredResult) -> Result<Vec<u8>, ResultError> {
        let json = encode(stored)?;
        if self.serializer == ContentType::Json {
            return self.compress(json);
        }
        let tree = Tree::parse(&json).expect("it was just written");
        self.compress(body::encode(self.serializer, tree).into())
    }

    /// A part of a chord as it is stored.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn encode_part(self, stored: &StoredResult) -> Result<Vec<u8>, ResultError> {
        self.compress(body::encode(self.serializer, part::tree(stored)?).into())
    }

    fn compress(self, plain: Vec<u8>) -> Result<Vec<u8>, ResultError> {
        let Some(compression) = self.compression else {
            return Ok(plain);
        };
        let small = deflate(compression, &plain)?;
        let marked = [COMPRESSED, compression.as_str().as_bytes(), b"\0", &small].concat();
        Ok(if marked.len() < plain.len() {
            marked
        } else {
            plain
        })
    }
}

/// What was stored, inflated if it is compressed.
pub(super) fn inflated(stored: &[u8]) -> Result<Cow<'_, [u8]>, ResultError> {
    let Some(rest) = stored.strip_prefix(COMPRESSED) else {
        return Ok(stored.into());
    };
    let end = rest.iter().position(|byte| *byte == 0);
    let end = end.unwrap_or(rest.len());
    let name = String::from_utf8_lossy(&rest[..end]);
    let small = rest.get(end + 1..).unwrap_or_default();
    // Once only: a stream that inflates to itself would never end.
    Ok(inflate(named(&name)?, small, DEFAULT_INFLATED_LIMIT_BYTES)?.into())
}

/// What a map or list is serialized in, by its first byte: YAML may begin as JSON does.
pub(super) fn sort(plain: &[u8]) -> ContentType {
    match plain.first() {
        Some(0x80) => ContentType::Pickle,
        Some(0x81..=0x9f | 0xdc..=0xdf) => ContentType::Msgpack,
        Some(b'{' | b'[') | None => ContentType::Json,
        Some(_) => ContentType::Yaml,
    }
}

/// A map or list of whatever serializer.
pub(super) fn read(plain: &[u8]) -> Result<Tree, ResultError> {
    match sort(plain) {
        ContentType::Pickle => return Err(ResultError::Pickled),
        ContentType::Json => Tree::parse(plain).or_else(|_| Tree::decode(ContentType::Yaml, plain)),
        serializer => Tree::decode(serializer, plain),
    }
    .map_err(ResultError::Unread)
}
