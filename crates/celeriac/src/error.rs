//! Why an app could not do what was asked, before any task's own outcome.

use celeriac_core::canvas::FreezeError;
use celeriac_core::{
    BoxError, BrokerError, DestinationError, PayloadError, Place, PlaceError, QueueNameError,
    RegistryError, TaskError, TaskId, TopologyError,
};
use celeriac_executor::ExecutorError;
use celeriac_worker::WorkerError;

use crate::report::{ExitStatus, Report};

/// What most functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an app could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no place.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The program's tasks cannot be served.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The pool could not be started.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// The broker or result backend refused or is away.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// It is no place to send to: no name of a queue or an exchange.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// The broker did not take it, however often it was asked to.
    #[error("it could not be sent in {attempts} attempts")]
    Unsent {
        /// How often it was tried.
        attempts: u32,
        /// Why it failed the last time.
        source: BrokerError,
    },
    /// Of several calls a broker has taken some, or may have, but not all.
    ///
    /// Those that are named in neither list were not sent.
    #[error("{} of the calls were sent, and {} more may have been", sent.len(), unconfirmed.len())]
    PartlySent {
        /// The calls that the broker has, in their order. They run;
        /// [`App::handle`](crate::App::handle) follows them.
        sent: Vec<TaskId>,
        /// The calls that it has or has not: whoever sends them again may have them run twice.
        unconfirmed: Vec<TaskId>,
        /// Why the others were not sent.
        source: Box<Error>,
    },
    /// The queues cannot be defined so.
    #[error(transparent)]
    Queues(#[from] TopologyError),
    /// The arguments cannot be encoded, or are too large.
    #[error("the arguments of `{task}` cannot be sent")]
    Arguments {
        /// The task.
        task: String,
        /// What is wrong with them.
        source: PayloadError,
    },
    /// A call of a canvas cannot be written into a message.
    #[error("the call of `{task}` cannot be sent")]
    Canvas {
        /// The task.
        task: String,
        /// What is wrong with the call.
        source: BoxError,
    },
    /// A pool was asked for what only a broker can do.
    #[error("`{place}` cannot {what}: it is no broker")]
    NoBroker {
        /// The app's place.
        place: Place,
        /// What it was asked for, as a verb.
        what: &'static str,
    },
    /// The result of a call cannot be read by this app, because it goes to the call's sender alone.
    #[error(
        "`{place}` sends the result of {id} to the app that sent the call, which is not this one"
    )]
    NotKept {
        /// The app's place.
        place: Place,
        /// The call.
        id: TaskId,
    },
    /// The place cannot carry out a chord.
    #[error("`{place}` carries out no chords: {reason}")]
    Chord {
        /// The app's place.
        place: Place,
        /// What is in the way.
        reason: &'static str,
    },
    /// The place cannot hold a session.
    #[error("`{place}` holds no session: {reason}")]
    Session {
        /// The app's place.
        place: Place,
        /// What is in the way.
        reason: &'static str,
    },
    /// A task failed; only where a task's outcome ends the whole call, as in
    /// [`Map::collect`](crate::Map::collect).
    #[error(transparent)]
    Task(#[from] TaskError),
    /// A worker of the app has stopped, because another one has its name.
    #[error(transparent)]
    NameTaken(WorkerError),
    /// The app was shut down.
    #[error("the app was shut down")]
    Closed,
}

impl Error {
    /// What is wrong if not all of several calls were sent because of `source`.
    pub(crate) fn partly_sent(sent: Vec<TaskId>, unconfirmed: Vec<TaskId>, source: Self) -> Self {
        if sent.is_empty() && unconfirmed.is_empty() {
            return source;
        }
        Self::PartlySent {
            sent,
            unconfirmed,
            source: Box::new(source),
        }
    }
}

impl From<FreezeError> for Error {
    fn from(error: FreezeError) -> Self {
        Self::Arguments {
            task: error.task,
            source: error.source,
        }
    }
}

impl From<WorkerError> for Error {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Broker(error) => Self::Broker(error),
            other => Self::NameTaken(other),
        }
    }
}

impl Report for Error {
    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Place(error) => error.exit_status(),
            Self::Registry(error) => error.exit_status(),
            Self::Executor(error) => error.exit_status(),
            Self::Broker(error) | Self::Unsent { source: error, .. } => error.exit_status(),
            Self::Destination(error) => error.exit_status(),
            Self::PartlySent { source, .. } => source.exit_status(),
            Self::Task(error) => error.exit_status(),
            Self::NameTaken(error) => error.exit_status(),
            Self::Queues(_)
            | Self::Session { .. }
            | Self::Chord { .. }
            | Self::NoBroker { .. }
            | Self::NotKept { .. } => ExitStatus::Configuration,
            Self::Arguments { .. } | Self::Canvas { .. } | Self::Closed => ExitStatus::Unexpected,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Broker(error) | Self::Unsent { source: error, .. } => error.help(),
            Self::PartlySent { source, .. } => source.help(),
            Self::NameTaken(error) => error.help(),
            Self::Chord { .. } => Some(
                "keep results where parts are counted: `App::builder().results(\"redis://HOST\")`, \
                 and the same for the workers"
                    .to_owned(),
            ),
            Self::NoBroker { .. } => {
                Some("keep the call's `Handle`, or send it to a broker".to_owned())
            }
            Self::NotKept { .. } => Some(
                "keep results where everybody can read them: \
                 `App::builder().results(\"redis://HOST\")`, and the same for the workers; or ask \
                 the app that sent the call"
                    .to_owned(),
            ),
            Self::Session { .. } => Some("open it on `threads` or `coroutines`".to_owned()),
            Self::Closed => Some("open another one with `App::on`".to_owned()),
            _ => None,
        }
    }
}

impl From<QueueNameError> for Error {
    fn from(error: QueueNameError) -> Self {
        Self::Destination(error.into())
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
