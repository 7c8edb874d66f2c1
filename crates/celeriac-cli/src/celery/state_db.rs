//! `--statedb`: what a worker knows to be revoked, kept from one start to the next.
//!
//! Redis keeps it itself. RabbitMQ cannot, so there it stands in a file, one id a line: beside the one that is
//! named, which may be a database of Celery's.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use celeriac_core::TaskId;
use celeriac_worker::Revocations;

use super::failure::Failure;

/// How often it is looked whether more has been revoked: what a worker that is killed forgets.
pub(crate) const EVERY: Duration = Duration::from_secs(1);

/// The worker's signals wait meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// The file.
#[derive(Debug)]
pub(crate) struct StateDb {
    path: PathBuf,
    /// What stands in it.
    ids: Vec<String>,
}

impl StateDb {
    /// Reads the one beside `named`; one that is not there yet says nothing.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(crate) fn open(named: &str) -> Result<Self, Failure> {
        let path = PathBuf::from(format!("{named}.celeriac"));
        let ids = match fs::read_to_string(&path) {
            Ok(text) => text.lines().map(str::to_owned).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                let failed = format!("cannot read the state database {}", path.display());
                return Err(Failure::other(failed).because(error));
            }
        };
        Ok(Self { path, ids })
    }

    /// What was revoked before.
    pub(crate) fn revoked(&self) -> Vec<TaskId> {
        self.ids.iter().map(|id| id.as_str().into()).collect()
    }

    /// Brings the file up to date, if there is one and the worker can be asked. What was written last stands there whole,
    /// whenever this is dropped.
    pub(crate) async fn update(state_db: &mut Option<Self>, revocations: &Revocations) {
        let Some(this) = state_db else { return };
        // It answers between two deliveries, and not at all when it has ended.
        let known = tokio::time::timeout(PATIENCE, revocations.known()).await;
        let Ok(Some(ids)) = known else { return };
        if ids == this.ids {
            return;
        }
        this.ids = ids;
        if let Err(error) = this.write() {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::error!(error, "the state database cannot be written");
        }
    }

    fn write(&self) -> io::Result<()> {
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        let mut file = fs::File::create(&name)?;
        for id in &self.ids {
            // An id is one line, or it would be two that nobody revoked.
            if !id.contains(['\n', '\r']) {
                writeln!(file, "{id}")?;
            }
        }
        file.sync_all()?;
        fs::rename(name, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("state").display().to_string();
        let mut state = StateDb::open(&named).unwrap();
        assert!(state.revoked().is_empty());
        state.ids = ["a", "b\nc", "d"].map(str::to_owned).into();
        state.write().unwrap();
        let revoked: Vec<TaskId> = ["a", "d"].map(Into::into).into();
        assert_eq!(StateDb::open(&named).unwrap().revoked(), revoked);
        fs::write(format!("{named}.celeriac"), b"\xff").unwrap();
        assert!(StateDb::open(&named).is_err());
    }
}
