//! Compressed bodies and results, inflated no further than a limit.
//!
//! # Invariants
//!
//! - A small input cannot make a large output: the limit is checked while inflating.
//! - What is cut short is an error, never a shorter body.

#[cfg(any(feature = "brotli", feature = "lzma"))]
use std::io::Write as _;
use std::io::{self, Read};

use celeriac_core::Compression;
use flate2::read::{ZlibDecoder, ZlibEncoder};

/// The most that one body or result is inflated to unless told otherwise: 64 MiB.
pub const DEFAULT_INFLATED_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// The most memory in KiB for the dictionary of an .xz stream: what its strongest preset needs.
#[cfg(feature = "lzma")]
const XZ_MEMORY_KIB: u32 = 80 * 1024;

/// The largest window of a zstd stream, as a power of two: what its strongest level needs.
#[cfg(feature = "zstd")]
const ZSTD_WINDOW_LOG: u32 = 27;

/// Why bytes could not be inflated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompressionError {
    /// The header names a compression that nobody here knows.
    #[error("compression `{0}` is not known")]
    Unknown(String),
    /// This build has no code for it.
    #[error("this build has no {0}; build it with the feature `{0}`")]
    NotBuilt(&'static str),
    /// They are not compressed in this way, or are damaged or cut short.
    #[error("it is no whole {0} stream")]
    Damaged(&'static str),
    /// They inflate to more than is allowed.
    #[error("it inflates to more than the limit of {limit_bytes} bytes")]
    TooLarge {
        /// How many bytes are allowed.
        limit_bytes: usize,
    },
}

/// The compression that a header names.
///
/// # Errors
///
/// [`CompressionError::Unknown`].
pub fn named(name: &str) -> Result<Compression, CompressionError> {
    Compression::from_name(name)
        .ok_or_else(|| CompressionError::Unknown(name.chars().take(80).collect()))
}

/// Inflates `bytes` to at most `limit_bytes`.
///
/// # Errors
///
/// [`CompressionError`] if they are damaged, inflate to more, or this build cannot.
pub fn inflate(
    compression: Compression,
    bytes: &[u8],
    limit_bytes: usize,
) -> Result<Vec<u8>, CompressionError> {
    let damaged = |_: io::Error| CompressionError::Damaged(compression.name());
    match compression {
        Compression::Zlib => read_within(ZlibDecoder::new(bytes), limit_bytes, damaged),
        #[cfg(feature = "bzip2")]
        Compression::Bzip2 => read_within(
            bzip2::read::MultiBzDecoder::new(bytes),
            limit_bytes,
            damaged,
        ),
        #[cfg(feature = "lzma")]
        Compression::Lzma => {
            let reader = lzma_rust2::XzReader::new_mem_limit(bytes, true, XZ_MEMORY_KIB);
            read_within(reader, limit_bytes, damaged)
        }
        #[cfg(feature = "brotli")]
        Compression::Brotli => {
            read_within(brotli::Decompressor::new(bytes, 4096), limit_bytes, damaged)
        }
        #[cfg(feature = "zstd")]
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(damaged)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(damaged)?;
            read_within(decoder, limit_bytes, damaged)
        }
        #[allow(unreachable_patterns, reason = "some builds have them all")]
        _ => Err(CompressionError::NotBuilt(compression.name())),
    }
}

/// Compresses `bytes`, at the level Python uses by default.
///
/// # Errors
///
/// [`CompressionError::NotBuilt`] if this build cannot.
pub fn deflate(compression: Compression, bytes: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let failed = |_: io::Error| CompressionError::Damaged(compression.name());
    match compression {
        Compression::Zlib => {
            let encoder = ZlibEncoder::new(bytes, flate2::Compression::default());
            read_within(encoder, usize::MAX, failed)
        }
        #[cfg(feature = "bzip2")]
        Compression::Bzip2 => {
            let encoder = bzip2::read::BzEncoder::new(bytes, bzip2::Compression::best());
            read_within(encoder, usize::MAX, failed)
        }
        #[cfg(feature = "lzma")]
        Compression::Lzma => {
            let options = lzma_rust2::XzOptions::default();
            let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).map_err(failed)?;
            writer.write_all(bytes).map_err(failed)?;
            writer.finish().map_err(failed)
        }
        #[cfg(feature = "brotli")]
        Compression::Brotli => {
            let mut writer = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
            writer.write_all(bytes).map_err(failed)?;
            Ok(writer.into_inner())
        }
        #[cfg(feature = "zstd")]
        // Whole at once, so that the frame says its size: older kombu reads no other.
        Compression::Zstd => zstd::bulk::compress(bytes, 0).map_err(failed),
        #[allow(unreachable_patterns, reason = "some builds have them all")]
        _ => Err(CompressionError::NotBuilt(compression.name())),
    }
}

/// All that `reader` has, if it is no more than `limit_bytes`.
fn read_within(
    reader: impl Read,
    limit_bytes: usize,
    damaged: impl Fn(io::Error) -> CompressionError,
) -> Result<Vec<u8>, CompressionError> {
    let mut out = Vec::new();
    let one_more = u64::try_from(limit_bytes)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    reader
        .take(one_more)
        .read_to_end(&mut out)
        .map_err(damaged)?;
    if out.len() > limit_bytes {
        return Err(CompressionError::TooLarge { limit_bytes });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built() -> impl Iterator<Item = Compression> {
        Compression::ALL
            .into_iter()
            .filter(|one| deflate(*one, b"").is_ok())
    }

    #[test]
    fn bytes_survive_every_compression() {
        let large: Vec<u8> = (0..20_000_u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect();
        for one in built() {
            for bytes in [&b""[..], b"x", &large] {
                let small = deflate(one, bytes).unwrap();
                assert_eq!(inflate(one, &small, large.len()).unwrap(), bytes, "{one:?}");
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let zeros = vec![0_u8; 1 << 20];
        for one in built() {
            let bomb = deflate(one, &zeros).unwrap();
            assert!(bomb.len() < 5_000, "{one:?}");
            let limit_bytes = 1000;
            let stopped = inflate(one, &bomb, limit_bytes);
            assert_eq!(stopped, Err(CompressionError::TooLarge { limit_bytes }));
            assert!(inflate(one, &bomb, zeros.len()).is_ok());
        }
    }

    #[test]
    fn what_is_cut_short_or_damaged_is_an_error() {
        let bytes: Vec<u8> = (0..20_000_u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        for one in built() {
            let whole = deflate(one, &bytes).unwrap();
            for length in [0, 1, whole.len() / 2, whole.len() - 1] {
                let cut = inflate(one, &whole[..length], bytes.len());
                assert!(
                    matches!(cut, Err(CompressionError::Damaged(_))),
                    "{one:?} {length}"
                );
            }
            assert!(inflate(one, b"never compressed", 1000).is_err(), "{one:?}");
        }
    }
}
