//! The file a store was opened on, and whether it is still the one at its path.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::failure::Failure;

/// A database file, known by its inode.
#[derive(Debug, Clone)]
pub(super) struct Place {
    path: PathBuf,
    inode: (u64, u64),
}

impl Place {
    /// The file that is at `path` now.
    pub(super) fn of(path: &Path) -> Result<Self, Failure> {
        // The directory may be changed, and the way to it; the file stays where it is.
        let path = fs::canonicalize(path).map_err(|error| Failure::Io(error.to_string()))?;
        let found = fs::metadata(&path).map_err(|error| Failure::Io(error.to_string()))?;
        let inode = (found.dev(), found.ino());
        Ok(Self { path, inode })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// An error if the file was removed or replaced: what is written to it now is lost with it.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match fs::metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == self.inode => Ok(()),
            _ => Err(Failure::Unusable(
                "the file was removed or replaced while it was open".to_owned(),
                "put it back, or restart this process to use the one that is there now",
            )),
        }
    }
}
