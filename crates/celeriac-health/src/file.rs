//! A file that is touched while the worker lives, for probes that look at its age.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tracing::warn;

use crate::HealthError;

/// See the module.
#[derive(Debug)]
pub(crate) struct HealthFile {
    path: PathBuf,
    /// Whether it was told that the file cannot be written.
    told: AtomicBool,
}

impl HealthFile {
    /// Checks that the file can be written, and leaves none: the worker is not ready yet, and one of an
    /// earlier worker says nothing of it.
    pub(crate) fn new(path: PathBuf) -> Result<Self, HealthError> {
        let file = Self {
            path,
            told: AtomicBool::new(false),
        };
        let failed = |source| HealthError::File {
            path: file.path.clone(),
            source,
        };
        file.write().map_err(failed)?;
        fs::remove_file(&file.path).map_err(failed)?;
        Ok(file)
    }

    fn write(&self) -> io::Result<()> {
        let file = File::options().create(true).append(true).open(&self.path)?;
        file.set_modified(SystemTime::now())
    }

    /// Makes it as new as now.
    pub(crate) fn touch(&self) {
        match self.write() {
            Ok(()) => self.told.store(false, Ordering::Relaxed),
            Err(error) if !self.told.swap(true, Ordering::Relaxed) => {
                let error = &error as &dyn Error;
                warn!(error, path = %self.path.display(), "the health file cannot be written");
            }
            Err(_) => {}
        }
    }

    /// Removes it.
    pub(crate) fn remove(&self) {
        // Somebody else may have removed it.
        let _ = fs::remove_file(&self.path);
    }
}
