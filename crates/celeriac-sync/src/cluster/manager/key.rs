//! The secret that a manager and its clients share.

use std::fmt;
use std::io;
use std::path::Path;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::cluster::Error;

/// The least a key has, in bytes.
const LEAST: usize = 32;

/// The secret that a manager and its clients share.
#[derive(Clone)]
pub struct Key(Vec<u8>);

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key")
    }
}

impl Key {
    /// Reads a key from a file, without the white space around it.
    ///
    /// # Errors
    ///
    /// [`Error::KeyFile`] if it cannot be read, if others than its owner can read it, and if it has fewer
    /// than 32 bytes.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let refuse = |source: io::Error| Error::KeyFile {
            path: path.display().to_string(),
            source: source.into(),
        };
        let unfit = |why: &str| refuse(io::Error::other(why.to_owned()));
        if is_open(path).map_err(refuse)? {
            return Err(unfit("others than its owner can read it"));
        }
        let bytes = std::fs::read(path).map_err(refuse)?;
        let key = bytes.trim_ascii().to_vec();
        if key.len() < LEAST {
            return Err(unfit("it has fewer than 32 bytes"));
        }
        Ok(Self(key))
    }

    /// The key of those who need none, as nobody but this machine can reach them.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::new_from_slice(&self.0).expect("a key may have any length");
        for part in parts {
            mac.update(part);
        }
        mac
    }

    /// The proof that this key is known, for what is said in `parts`, which have fixed lengths.
    pub(super) fn prove(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.mac(parts).finalize().into_bytes().into()
    }

    /// Whether `proof` is one, in a time that does not tell how much of it is.
    pub(super) fn accepts(&self, parts: &[&[u8]], proof: &[u8]) -> bool {
        self.mac(parts).verify_slice(proof).is_ok()
    }
}

fn is_open(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path)?.permissions().mode();
    Ok(mode & 0o077 != 0)
}
