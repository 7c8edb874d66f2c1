//! Where names are kept: a folder of each user in the memory of the machine, in it a folder for each name,
//! in that a file of each process that has what is named so.
//!
//! # Invariants
//!
//! - The folder is this user's alone, and changed by one process at a time.
//! - A file says by which address its process is asked. If that has ended there is nothing, so what is named
//!   never outlives those who have it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::process::getuid;

use super::segment::Address;
use crate::SyncError;

/// The names, while nobody else changes them.
#[derive(Debug)]
pub(super) struct Names {
    folder: PathBuf,
    _locked: File,
}

/// The file that says that this process has something; gone with this.
#[derive(Debug)]
pub(super) struct Link(PathBuf);

impl Names {
    pub(super) fn lock() -> Result<Self, SyncError> {
        let folder = PathBuf::from(format!("/dev/shm/celeriac-{}", getuid().as_raw()));
        make(&folder)?;
        let about = fs::symlink_metadata(&folder).map_err(no_room)?;
        let ours = about.is_dir() && about.uid() == getuid().as_raw();
        if !ours || about.mode() & 0o077 != 0 {
            return Err(SyncError::Gone);
        }
        let locked = File::open(&folder).map_err(no_room)?;
        flock(&locked, FlockOperation::LockExclusive).map_err(|_| SyncError::NoMemory)?;
        Ok(Self {
            folder,
            _locked: locked,
        })
    }

    /// All names there are, also those of nothing.
    pub(super) fn all(&self) -> Vec<String> {
        let mut names: Vec<_> = files(&self.folder)
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect();
        names.sort_unstable();
        names
    }

    /// What processes say that they have by a name.
    pub(super) fn addresses(&self, name: &str) -> Result<Vec<Address>, SyncError> {
        let files = files(&self.place(name)?);
        Ok(files.filter_map(|path| address(&path)).collect())
    }

    /// Writes that this process has something, unless that is written already.
    pub(super) fn write(&self, name: &str, address: Address) -> Result<Option<Link>, SyncError> {
        let place = self.place(name)?;
        let path = place.join(file(address));
        loop {
            make(&place)?;
            let mut options = File::options();
            let created = options.write(true).create_new(true).mode(0o600).open(&path);
            match created.map_err(|error| error.kind()) {
                Ok(_) => return Ok(Some(Link(path))),
                Err(io::ErrorKind::AlreadyExists) => return Ok(None),
                // The last one that had the name has just let go of it.
                Err(io::ErrorKind::NotFound) => {}
                Err(_) => {
                    // Where files are short, an empty folder is one too many. Not if others have the name.
                    let _ = fs::remove_dir(&place);
                    return Err(SyncError::NoMemory);
                }
            }
        }
    }

    /// Removes what a process has said that has ended.
    pub(super) fn remove(&self, name: &str, address: Address) {
        if let Ok(place) = self.place(name) {
            let _ = fs::remove_file(place.join(file(address)));
        }
    }

    /// Removes a name that nothing has.
    pub(super) fn forget(&self, name: &str) -> bool {
        self.place(name)
            .is_ok_and(|place| fs::remove_dir(place).is_ok())
    }

    fn place(&self, name: &str) -> Result<PathBuf, SyncError> {
        let fits = (1..=100).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || "._-".contains(char));
        fits.then(|| self.folder.join(name))
            .ok_or(SyncError::BadName)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        if let Some(place) = self.0.parent() {
            // Not if others have it.
            let _ = fs::remove_dir(place);
        }
    }
}

/// The address of which a file is called.
fn file(address: Address) -> String {
    let Address {
        pid,
        descriptor,
        id,
    } = address;
    format!("{pid}-{descriptor}-{id:x}")
}

fn address(path: &Path) -> Option<Address> {
    let mut parts = path.file_name()?.to_str()?.split('-');
    Some(Address {
        pid: parts.next()?.parse().ok()?,
        descriptor: parts.next()?.parse().ok()?,
        id: u64::from_str_radix(parts.next()?, 16).ok()?,
    })
}

/// What is in a folder; nothing if there is none.
fn files(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path()))
}

fn make(folder: &Path) -> Result<(), SyncError> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(no_room(error)),
        _ => Ok(()),
    }
}

fn no_room(_: io::Error) -> SyncError {
    SyncError::NoMemory
}
