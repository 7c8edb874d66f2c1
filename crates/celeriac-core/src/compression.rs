//! How a body may be compressed on its way.

use serde::{Deserialize, Serialize};

/// How a body is compressed after it was encoded; the work is done where bytes become messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Compression {
    /// RFC 1950, which kombu calls both gzip and zlib.
    Zlib,
    /// bzip2.
    Bzip2,
    /// LZMA in an .xz container.
    Lzma,
    /// Brotli.
    Brotli,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Zlib,
        Self::Bzip2,
        Self::Lzma,
        Self::Brotli,
        Self::Zstd,
    ];

    /// The MIME type that the header `compression` has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zlib => "application/x-gzip",
            Self::Bzip2 => "application/x-bz2",
            Self::Lzma => "application/x-lzma",
            Self::Brotli => "application/x-brotli",
            Self::Zstd => "application/zstd",
        }
    }

    /// The name that settings have for it, such as `zlib`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zlib => "zlib",
            Self::Bzip2 => "bzip2",
            Self::Lzma => "lzma",
            Self::Brotli => "brotli",
            Self::Zstd => "zstd",
        }
    }

    /// The compression of a MIME type, or of a name as settings have it, such as `gzip`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "application/x-gzip" | "gzip" | "zlib" => Self::Zlib,
            "application/x-bz2" | "bzip2" | "bzip" | "bz2" => Self::Bzip2,
            "application/x-lzma" | "lzma" | "xz" => Self::Lzma,
            "application/x-brotli" | "brotli" => Self::Brotli,
            "application/zstd" | "zstd" | "zstandard" => Self::Zstd,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_kombu() {
        for one in Compression::ALL {
            assert_eq!(Compression::from_name(one.as_str()), Some(one));
            assert_eq!(Compression::from_name(one.name()), Some(one));
        }
        assert_eq!(Compression::from_name("application/x-zip"), None);
    }
}
