//! Why a worker has stopped although nobody asked it to.

use celeriac_core::BrokerError;

/// Why a worker has stopped although nobody asked it to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The broker refuses it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Another worker had its name already, and [it may not share
    /// it](crate::ControlSettings::shares_name).
    #[error("another worker answers to the name `{name}`")]
    NameTaken {
        /// The name.
        name: String,
    },
}
