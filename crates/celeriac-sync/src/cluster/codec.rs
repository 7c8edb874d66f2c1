//! How values look at a place: as `MessagePack`, with the names of fields.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::SyncError;

/// What can be shared between machines: what can be encoded, and decoded into an owner.
pub trait Shareable: Serialize + DeserializeOwned {}

impl<T: Serialize + DeserializeOwned> Shareable for T {}

/// How many bytes a value may take, and all that a guard puts back together.
const LARGEST: usize = 8 << 20;

/// That so many bytes can be shared at once.
pub(super) fn fits(length: usize) -> Result<(), SyncError> {
    if length > LARGEST {
        return Err(SyncError::TooLarge { most: LARGEST });
    }
    Ok(())
}

pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, SyncError> {
    let encoded = rmp_serde::to_vec_named(value).map_err(|_| SyncError::Encoding)?;
    fits(encoded.len())?;
    Ok(encoded.into())
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, SyncError> {
    rmp_serde::from_slice(bytes).map_err(|_| SyncError::OtherType)
}
