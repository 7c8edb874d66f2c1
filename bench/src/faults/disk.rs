//! A disk whose power can be cut: a file system in a file in memory.
//!
//! What the kernel has not written to it when the file is copied is what a power cut loses.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Room for the database and its log; a larger image takes longer to copy.
const SIZE_BYTES: u64 = 128 * 1024 * 1024;

/// A mounted file system; dropping it unmounts it.
#[derive(Debug)]
pub(super) struct Disk {
    image: PathBuf,
    folder: PathBuf,
}

impl Disk {
    /// Makes a new one in `place`, which should be in memory, and mounts it. Takes root.
    pub(super) fn make(place: &Path) -> io::Result<Self> {
        let image = place.join("disk.img");
        File::create(&image)?.set_len(SIZE_BYTES)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        Self::mount(image, place.join("disk"))
    }

    /// Where it is mounted.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The disk as it is found when the power comes back after a cut now.
    ///
    /// Those who write to it must have been stopped: the copy takes milliseconds.
    pub(super) fn after_cut(&self) -> io::Result<Self> {
        let image = self.image.with_file_name("cut.img");
        fs::copy(&self.image, &image)?;
        let folder = self.folder.with_file_name("cut");
        Self::mount(image, folder)
    }

    fn mount(image: PathBuf, folder: PathBuf) -> io::Result<Self> {
        fs::create_dir(&folder)?;
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(&folder))?;
        Ok(Self { image, folder })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("umount").arg(&self.folder)) {
            eprintln!("error: {error}");
        }
    }
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output().map_err(|error| {
        io::Error::new(error.kind(), format!("cannot run {command:?}: {error}"))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!(
        "{command:?} failed, which needs root: {reason}"
    )))
}
