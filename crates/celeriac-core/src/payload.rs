//! Encoded arguments and results: bytes, and the name of what they are encoded in.

use std::fmt;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::opaque::OpaqueType;
use crate::tree::Tree;

/// What a [`Payload`] is encoded in.
///
/// Rust tasks read JSON and MessagePack, and YAML if that feature is built. All are self-describing,
/// so a type that works in one works in the others. The rest are known by name, so that a body passes
/// through unread to somebody who understands it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ContentType {
    /// JSON, the wire format of brokers.
    Json,
    /// MessagePack with named fields, used between a pool and its children.
    Msgpack,
    /// YAML, which Celery can be set to write.
    Yaml,
    /// Python's pickle. It is never decoded here: unpickling runs what the sender wrote.
    Pickle,
    /// Bytes as they are.
    Data,
    /// Text as it is.
    Text,
    /// Another one, which passes through unread.
    Opaque(OpaqueType),
}

impl ContentType {
    const ALL: [Self; 6] = [
        Self::Json,
        Self::Msgpack,
        Self::Yaml,
        Self::Pickle,
        Self::Data,
        Self::Text,
    ];

    /// The MIME type under which a broker stores it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Msgpack => "application/x-msgpack",
            Self::Yaml => "application/x-yaml",
            Self::Pickle => "application/x-python-serialize",
            Self::Data => "application/data",
            Self::Text => "application/text",
            Self::Opaque(other) => other.as_str(),
        }
    }

    /// The name that Celery's settings have for it, such as `msgpack`; the MIME type of one that is
    /// opaque.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Msgpack => "msgpack",
            Self::Yaml => "yaml",
            Self::Pickle => "pickle",
            Self::Data => "data",
            Self::Text => "text",
            Self::Opaque(other) => other.as_str(),
        }
    }

    /// The content type of a MIME type, or of a name as settings have it.
    pub fn from_name(name: &str) -> Option<Self> {
        let named = |known: &Self| known.as_str() == name || known.name() == name;
        Self::ALL.into_iter().find(named)
    }

    /// The content type of a MIME type, ours in any case of letters. It is opaque if it is none of
    /// ours, and nothing if there is [none of that name](OpaqueType::named).
    pub fn from_mime(mime: &str) -> Option<Self> {
        let named = |known: &Self| known.as_str().eq_ignore_ascii_case(mime);
        let known = Self::ALL.into_iter().find(named);
        known.or_else(|| OpaqueType::named(mime).map(Self::Opaque))
    }

    /// Appends the encoded `value` to `out`.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Encode`] if the value has no form in this content type, for example a map
    /// in JSON whose keys are not text. `out` then ends where it ended before.
    pub fn encode_into<T: Serialize + ?Sized>(
        self,
        value: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), PayloadError> {
        let start = out.len();
        let written = match self {
            Self::Json => serde_json::to_writer(&mut *out, value).map_err(|e| e.to_string()),
            Self::Msgpack => {
                rmp_serde::encode::write_named(&mut *out, value).map_err(|e| e.to_string())
            }
            #[cfg(feature = "yaml")]
            Self::Yaml => yaml_into(value, out),
            opaque => Err(opaque.refusal()),
        };
        written.map_err(|reason| {
            out.truncate(start);
            PayloadError::Encode { reason }
        })
    }

    /// Decodes `bytes`, all of them.
    ///
    /// What only Python writes into JSON is read as [`tree`](crate::tree) says.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Decode`] with what does not fit; never the bytes themselves.
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, PayloadError> {
        let quick = match self {
            Self::Json => serde_json::from_slice(bytes).ok(),
            Self::Msgpack => rmp_serde::from_slice(bytes).ok(),
            _ => None,
        };
        match quick {
            Some(value) => Ok(value),
            None => self
                .tree(bytes)?
                .read()
                .map_err(|error| PayloadError::Decode {
                    reason: error.to_string(),
                    size_bytes: bytes.len(),
                }),
        }
    }

    /// Reads `bytes` without knowing the type of the value.
    pub(crate) fn tree(self, bytes: &[u8]) -> Result<Tree, PayloadError> {
        match self {
            Self::Json => Tree::parse(bytes).map_err(|error| error.to_string()),
            Self::Msgpack => {
                rmp_serde::from_slice(bytes).map_err(|_| "it is no MessagePack".to_owned())
            }
            #[cfg(feature = "yaml")]
            Self::Yaml => Tree::parse_yaml(bytes),
            opaque => Err(opaque.refusal()),
        }
        .map_err(|reason| PayloadError::Decode {
            reason,
            size_bytes: bytes.len(),
        })
    }

    /// Why Rust tasks do not read this content type, and what helps.
    fn refusal(self) -> String {
        format!(
            "Rust tasks do not read {}; send with the serializer json or msgpack",
            self.as_str()
        )
    }
}

/// Writes what JSON has a form for in YAML.
#[cfg(feature = "yaml")]
fn yaml_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), String> {
    let json = serde_json::to_vec(value).map_err(|error| error.to_string())?;
    let tree = Tree::parse(&json).map_err(|error| error.to_string())?;
    out.extend_from_slice(tree.to_yaml().as_bytes());
    Ok(())
}

/// Encoded arguments or an encoded result.
///
/// Cloning shares the bytes. `Debug` shows their number, never their content.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    /// What the bytes are encoded in.
    pub content_type: ContentType,
    /// The bytes as they travel.
    pub bytes: Bytes,
}

/// Why a value could not become a payload, or a payload a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The value has no form in the content type.
    #[error("cannot be encoded: {reason}")]
    Encode {
        /// What the encoder said.
        reason: String,
    },
    /// The bytes are no value of the type.
    #[error("{size_bytes} bytes cannot be decoded: {reason}")]
    Decode {
        /// What the decoder said.
        reason: String,
        /// How many bytes there were.
        size_bytes: usize,
    },
    /// The bytes are more than allowed.
    #[error(
        "{size_bytes} bytes are over the limit of {limit_bytes}; raise the body limit or pass a reference to the data"
    )]
    TooLarge {
        /// How many bytes there were.
        size_bytes: usize,
        /// How many are allowed.
        limit_bytes: usize,
    },
}

/// The largest body that is accepted unless configured otherwise: 16 MiB.
pub const DEFAULT_BODY_LIMIT_BYTES: usize = 16 * 1024 * 1024;

impl Payload {
    /// Encodes `value`.
    ///
    /// # Errors
    ///
    /// As [`ContentType::encode_into`].
    pub fn encode<T: Serialize + ?Sized>(
        content_type: ContentType,
        value: &T,
    ) -> Result<Self, PayloadError> {
        let mut bytes = Vec::new();
        content_type.encode_into(value, &mut bytes)?;
        Ok(Self {
            content_type,
            bytes: bytes.into(),
        })
    }

    /// Decodes the value.
    ///
    /// # Errors
    ///
    /// As [`ContentType::decode`].
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        self.content_type.decode(&self.bytes)
    }

    /// Refuses a payload of more than `limit_bytes`.
    ///
    /// # Errors
    ///
    /// [`PayloadError::TooLarge`].
    pub fn check_size(&self, limit_bytes: usize) -> Result<(), PayloadError> {
        if self.bytes.len() > limit_bytes {
            return Err(PayloadError::TooLarge {
                size_bytes: self.bytes.len(),
                limit_bytes,
            });
        }
        Ok(())
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Payload({}, {} bytes)",
            self.content_type.as_str(),
            self.bytes.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn a_failed_encoding_leaves_no_bytes_behind() {
        let mut out = b"kept".to_vec();
        let bad: HashMap<(u8, u8), u8> = [((1, 2), 3)].into();
        assert!(ContentType::Json.encode_into(&bad, &mut out).is_err());
        assert_eq!(out, b"kept");
    }

    #[test]
    fn an_opaque_body_is_refused_with_a_remedy() {
        let error = ContentType::Pickle
            .decode::<u8>(b"\x80\x04K\x01.")
            .unwrap_err();
        assert!(error.to_string().contains("serializer json"), "{error}");
        assert!(ContentType::Data.encode_into(&1, &mut Vec::new()).is_err());
    }

    #[test]
    fn a_decoding_error_does_not_repeat_the_bytes() {
        let payload = Payload {
            content_type: ContentType::Json,
            bytes: "\"secret".into(),
        };
        let error = payload.decode::<String>().unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
        assert!(!format!("{payload:?}").contains("secret"));
    }
}
