//! Why a place could not be connected.

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a place could not be connected, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is none that is known here.
    #[error("`{address}` is no place to share at; it should begin with {known}")]
    Address {
        /// The address, without its password.
        address: String,
        /// How addresses begin.
        known: &'static str,
    },
    /// No connection, or it was lost before an answer came.
    #[error("{place} cannot be reached")]
    Unreachable {
        /// The place, without its password.
        place: String,
        /// What was reported.
        source: BoxError,
    },
    /// It answers, but not what this version understands.
    #[error("{place} answers in a way that is not understood; run the same version everywhere")]
    Foreign {
        /// The place, without its password.
        place: String,
        /// What was not understood.
        source: BoxError,
    },
    /// One side does not know the key of the other.
    #[error("{place} and this program have different keys")]
    Key {
        /// The place.
        place: String,
    },
    /// The key cannot be used.
    #[error("the key file {path} cannot be used")]
    KeyFile {
        /// Its path.
        path: String,
        /// Why not.
        source: BoxError,
    },
    /// A file for TLS cannot be used.
    #[error("the file {path} cannot be used for TLS")]
    TlsFile {
        /// Its path.
        path: String,
        /// Why not.
        source: BoxError,
    },
    /// Its certificate is not for this address, or of no authority that is trusted.
    #[error("{place} has a certificate that is not trusted")]
    Untrusted {
        /// The place.
        place: String,
        /// What is wrong with it.
        source: BoxError,
    },
    /// It speaks TLS and its address does not say so, or the other way round.
    #[error("{place} {reason}")]
    OtherSpeech {
        /// The place.
        place: String,
        /// What it speaks, and how its address begins.
        reason: &'static str,
    },
    /// It refused, as it has too much to do or was told something wrong.
    #[error("{place} refused: {reason}")]
    Refused {
        /// The place.
        place: String,
        /// What it said.
        reason: String,
    },
}

impl Error {
    pub(super) fn unreachable(place: &str, source: impl Into<BoxError>) -> Self {
        Self::Unreachable {
            place: place.to_owned(),
            source: source.into(),
        }
    }

    #[cfg(any(feature = "manager", feature = "redis", feature = "sqlite"))]
    pub(super) fn foreign(place: &str, source: impl Into<BoxError>) -> Self {
        Self::Foreign {
            place: place.to_owned(),
            source: source.into(),
        }
    }

    /// Whether the same call, made again later, may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Refused { .. })
    }
}
