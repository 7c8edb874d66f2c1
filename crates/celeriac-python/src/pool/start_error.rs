//! Why a pool of Python children cannot start, or cannot go on.

use std::io;
use std::sync::Arc;

/// Why an app, or its pool, could not be started.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The app cannot be run.
    #[error("the app cannot be run ({why})")]
    App {
        /// `no_celery`, `import`, `no_app`, `refused`, `settings` or `error`.
        why: String,
        /// Python's own traceback, if there is one.
        traceback: String,
        /// What the user can do, in one line.
        advice: String,
    },
    /// Python ended without a word.
    #[error("Python ended before the app was imported: {status}")]
    Died {
        /// How it ended.
        status: String,
    },
    /// Children die before they can run anything.
    #[error("every child of the app dies at its start: {cause}")]
    Children {
        /// How the last one ended.
        cause: String,
    },
    /// The fork server has died so often in a row that it is not started again.
    #[error("the process that has imported the app died {times} times in a row")]
    KeepsDying {
        /// How often.
        times: u32,
        /// How the last one ended.
        #[source]
        last: Box<StartError>,
    },
    /// The system refused a process, a thread or a descriptor.
    #[error("Python cannot be started")]
    System(#[source] Arc<io::Error>),
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::System(Arc::new(error))
    }
}
