//! What bodies are encoded in and compressed with on their way to a broker.

use celeriac_core::{BrokerError, BrokerUrl, CallOptions, Compression, ContentType, Message};
use celeriac_wire::compression::deflate;

/// What calls are sent in that say nothing else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyFormat {
    pub(crate) serializer: ContentType,
    pub(crate) compression: Option<Compression>,
}

impl Default for BodyFormat {
    fn default() -> Self {
        Self {
            serializer: ContentType::Json,
            compression: None,
        }
    }
}

impl BodyFormat {
    /// Refuses what this build cannot write.
    pub(crate) fn check(self, broker: &BrokerUrl) -> Result<(), BrokerError> {
        let unsupported = |reason: &dyn std::error::Error| BrokerError::Unsupported {
            address: broker.to_string(),
            what: format!("get messages in this form: {reason}"),
        };
        self.serializer
            .encode_into(&(), &mut Vec::new())
            .map_err(|error| unsupported(&error))?;
        if let Some(compression) = self.compression {
            deflate(compression, b"").map_err(|error| unsupported(&error))?;
        }
        Ok(())
    }

    /// What a call is encoded in.
    pub(crate) fn serializer_of(self, options: &CallOptions) -> ContentType {
        options.serializer.unwrap_or(self.serializer)
    }

    /// Has `message` compressed, unless its call says how.
    pub(crate) fn compress(self, message: &mut Message) {
        if let Some(compression) = self.compression {
            let headers = &mut message.headers.extra;
            headers
                .entry("compression")
                .or_insert_with(|| compression.as_str().into());
        }
    }
}
