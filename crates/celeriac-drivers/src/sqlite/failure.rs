//! What SQLite reports, as an error that can be told to many callers.

use std::path::Path;

use celeriac_core::BrokerError;
use rusqlite::ErrorCode;

/// Why a transaction, or one command of it, failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Failure {
    /// Another process holds the lock.
    #[error("another process holds the database locked: {0}")]
    Locked(String),
    /// The disk is full, or a quota is.
    #[error("{0}")]
    Full(String),
    /// Reading or writing the file failed.
    #[error("{0}")]
    Io(String),
    /// The file is damaged, or it is no longer there.
    #[error("{0}")]
    Unusable(String, &'static str),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

pub(super) const RESTORE: &str =
    "run `db check` on it; restore it from a backup, or move it away to start anew";

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed,
            ) => Self::Locked(text),
            Some(ErrorCode::DiskFull) => Self::Full(text),
            Some(ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory) => Self::Io(text),
            Some(ErrorCode::DatabaseCorrupt) => {
                Self::Unusable(format!("it is corrupt: {text}"), RESTORE)
            }
            Some(ErrorCode::NotADatabase) => Self::Unusable(
                "it is not a database".to_owned(),
                "give the path of a celeriac database, or of no file at all to make one",
            ),
            Some(ErrorCode::ReadOnly) => Self::Unusable(
                "it is read-only".to_owned(),
                "give this user write permission to the file and its directory",
            ),
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Self::Unusable(
                "it cannot be opened".to_owned(),
                "give this user read and write permission to the file and its directory",
            ),
            // Content of a type the schema does not allow.
            None if is_conversion(&error) => {
                Self::Unusable(format!("it is corrupt: {text}"), RESTORE)
            }
            _ => Self::Other(text),
        }
    }
}

fn is_conversion(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::QueryReturnedNoRows
            | rusqlite::Error::Utf8Error(..)
    )
}

impl Failure {
    /// Whether the handle must not be trusted any more: after a failed write or sync nobody knows
    /// what reached the disk.
    pub(super) fn breaks_handle(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Unusable(..))
    }

    /// The port's error for it.
    pub(super) fn at(self, path: &Path) -> BrokerError {
        let address = path.display().to_string();
        match self {
            Self::Full(reason) => BrokerError::Full { address, reason },
            Self::Unusable(reason, help) => BrokerError::Unusable {
                address,
                reason,
                help: help.to_owned(),
            },
            Self::Other(reason) => BrokerError::Unusable {
                address,
                reason,
                help: RESTORE.to_owned(),
            },
            failure @ (Self::Locked(_) | Self::Io(_)) => BrokerError::Unavailable {
                address,
                source: Box::new(failure),
            },
        }
    }
}
