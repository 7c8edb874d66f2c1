//! The thread that reads, on a connection of its own: readers never wait for the writer.

use std::sync::Arc;

use celeriac_core::BrokerError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::failure::Failure;
use super::place::Place;
use super::schema;

/// How many questions may wait.
const MOST_WAITING: usize = 64;

type Question = Box<dyn FnOnce(Result<&Connection, Failure>) -> Option<Failure> + Send>;

/// Where questions are sent to the reader.
#[derive(Debug, Clone)]
pub(super) struct Reads {
    sender: mpsc::Sender<Question>,
    place: Arc<Place>,
}

impl Reads {
    /// Runs `work` on the reader's connection, in one snapshot.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, BrokerError> {
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |connection| {
            let outcome = connection.and_then(|connection| {
                let snapshot = connection.unchecked_transaction()?;
                work(&snapshot)
            });
            let failure = outcome.as_ref().err().cloned();
            let _ = reply.send(outcome);
            failure
        });
        let closed = || BrokerError::Closed {
            address: self.place.path().display().to_string(),
        };
        self.sender.send(question).await.map_err(|_| closed())?;
        let outcome = answer.await.map_err(|_| closed())?;
        outcome.map_err(|failure| failure.at(self.place.path()))
    }
}

/// The reader, inside its thread.
pub(super) struct Reader {
    receiver: mpsc::Receiver<Question>,
    place: Arc<Place>,
    connection: Option<Connection>,
}

impl Reader {
    /// A reader of `place` that starts with `connection`, and where questions are sent.
    pub(super) fn new(place: Arc<Place>, connection: Connection) -> (Self, Reads) {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        let reads = Reads {
            sender,
            place: place.clone(),
        };
        let reader = Self {
            receiver,
            place,
            connection: Some(connection),
        };
        (reader, reads)
    }

    /// Answers until everybody who could ask is gone.
    pub(super) fn run(mut self) {
        while let Some(question) = self.receiver.blocking_recv() {
            let failure = match self.ready() {
                Ok(connection) => question(Ok(connection)),
                Err(failure) => question(Err(failure)),
            };
            if failure.is_some_and(|failure| failure.breaks_handle()) {
                self.connection = None;
            }
        }
    }

    fn ready(&mut self) -> Result<&Connection, Failure> {
        self.place.check()?;
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => schema::connect(self.place.path())?,
        };
        Ok(self.connection.insert(connection))
    }
}
