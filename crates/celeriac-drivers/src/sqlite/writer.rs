//! The one thread that writes: it gathers what waits into one transaction and answers all of it.
//!
//! # Invariants
//!
//! - A command is answered only after its transaction was committed, or not at all carried out.
//! - A command that fails is undone alone; a commit that fails fails every command in it.
//! - After a failed read or write the handle is closed, and opened again only if the file is whole.

use std::sync::Arc;

use celeriac_core::BrokerError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::failure::{Failure, RESTORE};
use super::place::Place;
use super::schema;
use super::signals::Signals;
use super::statements;
use super::transaction::{Pulse, QueueNumbers, Transaction};
use super::wake::Wake;

/// The most commands in one transaction.
const MOST_COMMANDS: usize = 512;

/// Bodies of so many bytes fill a transaction: the log must not grow without bound.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// Whether a command must survive a power cut once it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// It must.
    Durably,
    /// It need not: losing it repeats some work at most.
    Loosely,
}

/// A command, and who waits for its answer.
trait Job: Send {
    fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<(), Failure>;
    fn answer(self: Box<Self>, committed: Result<(), Failure>);
}

struct Call<F, T> {
    work: Option<F>,
    value: Option<T>,
    reply: oneshot::Sender<Result<T, Failure>>,
}

impl<F, T> Job for Call<F, T>
where
    F: FnOnce(&mut Transaction<'_>) -> Result<T, Failure> + Send,
    T: Send,
{
    fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<(), Failure> {
        if let Some(work) = self.work.take() {
            self.value = Some(work(transaction)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), Failure>) {
        let Self { value, reply, .. } = *self;
        let answer = committed.and_then(|()| {
            value.ok_or_else(|| Failure::Other("a command was not carried out".to_owned()))
        });
        // Nobody may be waiting any more.
        let _ = reply.send(answer);
    }
}

/// A command on its way to the writer.
struct Sent {
    job: Box<dyn Job>,
    keep: Keep,
    size_bytes: usize,
}

/// Where commands are sent to the writer.
#[derive(Debug, Clone)]
pub(super) struct Writes {
    sender: mpsc::Sender<Sent>,
    place: Arc<Place>,
}

/// Room for one command, taken beforehand.
#[derive(Debug)]
pub(super) struct Room<'a>(mpsc::Permit<'a, Sent>);

/// The answer to a command, when it comes.
#[derive(Debug)]
pub(super) struct Answer<T> {
    receiver: oneshot::Receiver<Result<T, Failure>>,
}

impl<T> Answer<T> {
    /// Waits for it.
    ///
    /// Cancel safe: it can be waited for again.
    pub(super) async fn get(&mut self, place: &Place) -> Result<T, BrokerError> {
        match (&mut self.receiver).await {
            Ok(answer) => answer.map_err(|failure| failure.at(place.path())),
            Err(_) => Err(closed(place)),
        }
    }

    /// Waits for it on a plain thread.
    pub(super) fn get_blocking(self) -> Result<T, Failure> {
        self.receiver
            .blocking_recv()
            .unwrap_or_else(|_| Err(Failure::Other("the store was closed".to_owned())))
    }
}

impl Writes {
    /// The channel of the writer of `place`.
    fn channel(place: Arc<Place>) -> (Self, mpsc::Receiver<Sent>) {
        let (sender, receiver) = mpsc::channel(MOST_COMMANDS);
        (Self { sender, place }, receiver)
    }

    /// Waits until there is room for one command.
    pub(super) async fn room(&self) -> Result<Room<'_>, BrokerError> {
        let permit = self.sender.reserve().await;
        Ok(Room(permit.map_err(|_| closed(&self.place))?))
    }

    /// Carries out `work` and waits until it is committed.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        keep: Keep,
        size_bytes: usize,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, BrokerError> {
        let mut answer = self.room().await?.send(keep, size_bytes, work);
        answer.get(&self.place).await
    }

    /// Sends `work` from a plain thread, waiting for room.
    pub(super) fn run_blocking<T: Send + 'static>(
        &self,
        keep: Keep,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (sent, answer) = envelop(keep, 0, work);
        self.sender
            .blocking_send(sent)
            .map_err(|_| Failure::Other("the store was closed".to_owned()))?;
        answer.get_blocking()
    }

    /// Sends `work` if there is room at once; nobody waits for its answer.
    pub(super) fn try_run(
        &self,
        keep: Keep,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<(), Failure> + Send + 'static,
    ) -> bool {
        let (sent, _) = envelop(keep, 0, work);
        self.sender.try_send(sent).is_ok()
    }
}

impl Room<'_> {
    /// Sends `work`, whose answer can be waited for.
    pub(super) fn send<T: Send + 'static>(
        self,
        keep: Keep,
        size_bytes: usize,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Answer<T> {
        let (sent, answer) = envelop(keep, size_bytes, work);
        self.0.send(sent);
        answer
    }
}

fn envelop<T: Send + 'static>(
    keep: Keep,
    size_bytes: usize,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<T, Failure> + Send + 'static,
) -> (Sent, Answer<T>) {
    let (reply, receiver) = oneshot::channel();
    let job = Box::new(Call {
        work: Some(work),
        value: None,
        reply,
    });
    let sent = Sent {
        job,
        keep,
        size_bytes,
    };
    (sent, Answer { receiver })
}

fn closed(place: &Place) -> BrokerError {
    BrokerError::Closed {
        address: place.path().display().to_string(),
    }
}

/// The writer, inside its thread.
pub(super) struct Writer {
    receiver: mpsc::Receiver<Sent>,
    place: Arc<Place>,
    connection: Option<Connection>,
    queues: QueueNumbers,
    wake: Wake,
    signals: Arc<Signals>,
    /// What the most careful commands get.
    durably: Keep,
    /// What the connection is set to.
    synchronous: Keep,
}

impl Writer {
    /// A writer for `place` that starts with `connection`, and where its commands are sent.
    pub(super) fn new(
        place: Arc<Place>,
        connection: Connection,
        wake: Wake,
        signals: Arc<Signals>,
        durably: Keep,
    ) -> (Self, Writes) {
        let (writes, receiver) = Writes::channel(place.clone());
        let writer = Self {
            receiver,
            place,
            connection: Some(connection),
            queues: QueueNumbers::new(),
            wake,
            signals,
            durably,
            synchronous: Keep::Durably,
        };
        (writer, writes)
    }

    /// Writes until everybody who could send commands is gone.
    pub(super) fn run(mut self) {
        while let Some(first) = self.receiver.blocking_recv() {
            let mut size_bytes = first.size_bytes;
            let mut batch = vec![first];
            while batch.len() < MOST_COMMANDS && size_bytes < MOST_BYTES {
                let Ok(next) = self.receiver.try_recv() else {
                    break;
                };
                size_bytes += next.size_bytes;
                batch.push(next);
            }
            self.write(batch);
        }
    }

    /// Carries out `batch` in one transaction and answers it.
    fn write(&mut self, mut batch: Vec<Sent>) {
        let mut failures: Vec<Option<Failure>> = batch.iter().map(|_| None).collect();
        let committed = self.transact(&mut batch, &mut failures);
        if let Err(failure) = &committed {
            tracing::warn!(error = %failure, "transaction failed");
            self.queues.clear();
            if failure.breaks_handle() {
                self.connection = None;
            }
        }
        for (sent, failure) in batch.into_iter().zip(failures) {
            let outcome = match failure {
                Some(own) => Err(own),
                None => committed.clone(),
            };
            sent.job.answer(outcome);
        }
    }

    fn transact(
        &mut self,
        batch: &mut [Sent],
        failures: &mut [Option<Failure>],
    ) -> Result<(), Failure> {
        self.place.check()?;
        let keep = if batch.iter().any(|sent| sent.keep == Keep::Durably) {
            self.durably
        } else {
            Keep::Loosely
        };
        self.prepare(keep)?;
        let connection = self.connection.as_ref().expect("it was just prepared");
        self.wake
            .in_turn(|| connection.execute_batch(statements::BEGIN))?;
        let done = carry_out(connection, &mut self.queues, batch, failures);
        if done.is_err() && !connection.is_autocommit() {
            let _ = connection.execute_batch(statements::ROLLBACK);
        }
        if let Some(pulse) = done? {
            self.wake.ring();
            self.signals.raise(pulse);
        }
        Ok(())
    }

    /// Makes sure there is a connection, set to `keep`.
    fn prepare(&mut self, keep: Keep) -> Result<(), Failure> {
        let connection = if let Some(connection) = self.connection.take() {
            connection
        } else {
            self.synchronous = Keep::Durably;
            reopen(&self.place)?
        };
        let connection = self.connection.insert(connection);
        if self.synchronous != keep {
            connection.execute_batch(match keep {
                Keep::Durably => include_str!("statements/session/durably.sql"),
                Keep::Loosely => include_str!("statements/session/loosely.sql"),
            })?;
            self.synchronous = keep;
        }
        Ok(())
    }
}

/// Opens the file again after a failure, if it is whole.
fn reopen(place: &Place) -> Result<Connection, Failure> {
    let connection = schema::connect(place.path())?;
    schema::check_identity(&connection)?;
    let verdict: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if verdict != "ok" {
        return Err(Failure::Unusable(
            format!("it is corrupt: {verdict}"),
            RESTORE,
        ));
    }
    tracing::info!("database opened again after a failure");
    Ok(connection)
}

/// Runs each command, undoes those that fail, and commits. Says the pulse if there is news.
fn carry_out(
    connection: &Connection,
    queues: &mut QueueNumbers,
    batch: &mut [Sent],
    failures: &mut [Option<Failure>],
) -> Result<Option<Pulse>, Failure> {
    let alone = batch.len() == 1;
    let mut transaction = Transaction::begin(connection, queues)?;
    for (sent, failed) in batch.iter_mut().zip(failures) {
        if alone {
            sent.job.run(&mut transaction)?;
            continue;
        }
        transaction.execute(statements::SAVEPOINT, [])?;
        if let Err(failure) = sent.job.run(&mut transaction) {
            // Some failures end the whole transaction.
            if connection.is_autocommit() || failure.breaks_handle() {
                return Err(failure);
            }
            transaction.undo()?;
            *failed = Some(failure);
        }
        transaction.execute(statements::RELEASE_SAVEPOINT, [])?;
    }
    let pulse = transaction.finish()?;
    connection.execute_batch(statements::COMMIT)?;
    Ok(pulse)
}
