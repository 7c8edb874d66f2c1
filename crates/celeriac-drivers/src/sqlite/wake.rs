//! The side file through which processes wake each other and take turns.
//!
//! A write to it is seen by every process that watches it: that is how news travels without
//! polling. Its lock is a turnstile in front of the database's write lock: whoever waits for the
//! write lock holds the turnstile, so that a busy writer cannot overtake him twice. The turnstile
//! is a courtesy: after a while it is passed without, and safety never depends on it.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

/// How long the turnstile is waited for before it is passed without.
const PATIENCE: Duration = Duration::from_secs(30);

/// The file `<db>-wake`.
#[derive(Debug)]
pub(super) struct Wake {
    file: File,
    path: PathBuf,
}

impl Wake {
    /// Opens the side file of the database at `database`, or makes it, for its owner only.
    pub(super) fn open(database: &Path) -> io::Result<Self> {
        let mut path = database.as_os_str().to_owned();
        path.push("-wake");
        let path = PathBuf::from(path);
        let options = || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).mode(0o600);
            options
        };
        let file = match options().create_new(true).open(&path) {
            Ok(file) => {
                file.set_permissions(Permissions::from_mode(0o600))?;
                file
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options().open(&path)?,
            Err(error) => return Err(error),
        };
        Ok(Self { file, path })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Wakes every process that watches.
    pub(super) fn ring(&self) {
        // On a full disk the byte that is there is overwritten; and watchers look once a second.
        let _ = self.file.write_at(&[1], 0);
    }

    /// Waits for our turn and does `enter` inside the turnstile.
    pub(super) fn in_turn<T>(&self, enter: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let mut pause = Duration::from_micros(50);
        let mut inside = true;
        while flock(&self.file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if started.elapsed() > PATIENCE {
                inside = false;
                break;
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(1));
        }
        let value = enter();
        if inside {
            let _ = flock(&self.file, FlockOperation::NonBlockingUnlock);
        }
        value
    }
}
