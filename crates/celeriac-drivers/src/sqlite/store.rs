//! An opened database: the ports' verbs, sent to the threads that carry them out.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use celeriac_core::results::ResultWatch;
use celeriac_core::{
    BoxFuture, Broker, BrokerError, ChordPart, ChordStore, Consumer, ConsumerInfo, DeadMessage,
    DeadReason, Destination, Joined, Message, QueueInfo, QueueName, ResultBackend, StoredResult,
    TaskId, broker::Subscription,
};
use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::consumer::SqliteConsumer;
use super::failure::Failure;
use super::keeper::{Keeper, Leases};
use super::lease::{Holder, Identity};
use super::linux::{self, FileWatch};
use super::messages::NewMessages;
use super::place::Place;
use super::reader::{Reader, Reads};
use super::results::{self, Replace};
use super::schema;
use super::signals::Signals;
use super::statements;
use super::transaction::{Pulse, from_ms, wall_ms};
use super::wake::Wake;
use super::watch::SqliteWatch;
use super::writer::{Keep, Writer, Writes};
use crate::{DriverOptions, Durability};

/// An opened SQLite database.
///
/// Clones share it; when the last of them and of their consumers is dropped, what was sent is
/// written, and the threads end.
#[derive(Clone)]
pub struct SqliteStore {
    pub(super) inner: Arc<Inner>,
}

/// What consumers and watches share with the store they came from.
pub(super) struct Inner {
    pub(super) place: Arc<Place>,
    pub(super) writes: Writes,
    pub(super) reads: Reads,
    pub(super) signals: Arc<Signals>,
    pub(super) leases: Arc<Leases>,
    pub(super) own: Arc<Identity>,
    pub(super) options: DriverOptions,
    // Last: it waits for the threads, which end when nobody can send to them any more.
    _threads: Threads,
}

/// Opens the database at `path`, or makes one if there is none and `options` allow it.
///
/// Its directory must exist. Two processes that make the same one at the same time get one.
///
/// # Errors
///
/// [`BrokerError::Unusable`] with the reason and the remedy if the file is not a database of ours,
/// is of a newer schema, damaged, read-only or on a network file system;
/// [`BrokerError::Unavailable`] if it stays locked for 30 s; [`BrokerError::Full`].
pub async fn open(path: &Path, options: &DriverOptions) -> Result<Arc<SqliteStore>, BrokerError> {
    let (reply, opened) = oneshot::channel();
    let (owned, options) = (path.to_owned(), options.clone());
    // Opening may wait for a lock, which must not hold up the caller's executor.
    let opening = thread::Builder::new()
        .name("sqlite-open".to_owned())
        .spawn(move || {
            let _ = reply.send(SqliteStore::open(&owned, options));
        });
    let outcome = match opening {
        Ok(_) => opened
            .await
            .unwrap_or_else(|_| Err(Failure::Other("opening it panicked".to_owned()))),
        Err(error) => Err(Failure::Io(error.to_string())),
    };
    outcome.map(Arc::new).map_err(|failure| failure.at(path))
}

impl SqliteStore {
    fn open(path: &Path, options: DriverOptions) -> Result<Self, Failure> {
        let (connections, place) = schema::open(path, options.create)?;
        let [for_writer, for_reader, for_keeper] = connections;
        let io = |error: std::io::Error| Failure::Io(error.to_string());
        let wake = Wake::open(place.path()).map_err(io)?;
        let watch = FileWatch::new(wake.path()).map_err(io)?;
        let stop = Arc::new(linux::stop_bell().map_err(io)?);

        let place = Arc::new(place);
        let signals = Arc::new(Signals::new(Pulse::load(&for_keeper)?));
        let leases = Arc::new(Leases::default());
        let own = Arc::new(Identity::current());
        let durably = match options.durability {
            Durability::Full => Keep::Durably,
            Durability::Normal => Keep::Loosely,
        };
        let (writer, writes) =
            Writer::new(place.clone(), for_writer, wake, signals.clone(), durably);
        let (reader, reads) = Reader::new(place.clone(), for_reader);
        let keeper = Keeper {
            connection: for_keeper,
            watch,
            stop: stop.clone(),
            signals: signals.clone(),
            leases: leases.clone(),
            writes: writes.clone(),
            own: own.clone(),
        };
        let mut threads = Threads {
            stop,
            running: Vec::new(),
        };
        threads.start("sqlite-keeper", move || keeper.run())?;
        threads.start("sqlite-writer", move || writer.run())?;
        threads.start("sqlite-reader", move || reader.run())?;
        Ok(Self {
            inner: Arc::new(Inner {
                place,
                writes,
                reads,
                signals,
                leases,
                own,
                options,
                _threads: threads,
            }),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.inner.place.path()
    }

    fn limit_bytes(&self) -> usize {
        self.inner.options.body_limit_bytes
    }
}

/// The threads of a store, which end when it does.
struct Threads {
    stop: Arc<OwnedFd>,
    running: Vec<JoinHandle<()>>,
}

impl Threads {
    fn start(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
        self.running
            .push(thread.map_err(|error| Failure::Io(error.to_string()))?);
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        linux::ring(&self.stop);
        for thread in self.running.drain(..) {
            // A thread that panicked has said so; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SqliteStore({})", self.path().display())
    }
}

impl Broker for SqliteStore {
    fn publish(
        &self,
        messages: Vec<(Destination, Message)>,
    ) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            let messages = NewMessages::encode(messages, self.limit_bytes(), || {
                self.path().display().to_string()
            })?;
            let size_bytes = messages.size_bytes();
            self.inner
                .writes
                .run(Keep::Durably, size_bytes, move |transaction| {
                    transaction.publish(&messages)
                })
                .await
        })
    }

    fn consume(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Arc<dyn Consumer>, BrokerError>> {
        Box::pin(async move {
            let consumer = SqliteConsumer::register(self.inner.clone(), subscription).await?;
            Ok(Arc::new(consumer) as Arc<dyn Consumer>)
        })
    }

    fn revoke<'a>(&'a self, ids: &'a [TaskId]) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            let ids: Vec<_> = ids.iter().map(TaskId::to_string).collect();
            self.inner
                .writes
                .run(Keep::Durably, 0, move |transaction| {
                    transaction.revoke(&ids, Timestamp::now())
                })
                .await
        })
    }

    fn results(&self) -> Option<Arc<dyn ResultBackend>> {
        Some(Arc::new(self.clone()))
    }

    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueInfo>, BrokerError>> {
        Box::pin(self.inner.reads.run(list_queues))
    }

    fn consumers(&self) -> BoxFuture<'_, Result<Vec<ConsumerInfo>, BrokerError>> {
        Box::pin(async move {
            let own = self.inner.own.clone();
            self.inner
                .reads
                .run(move |connection| {
                    let mut holders = Holder::list(connection)?;
                    let now = linux::boot_ms();
                    holders.retain(|holder| !holder.is_gone(&own) && !holder.has_lapsed(now));
                    Ok(holders.iter().map(Holder::info).collect())
                })
                .await
        })
    }

    fn purge<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<u64, BrokerError>> {
        let queue = queue.clone();
        let purge =
            move |transaction: &mut super::transaction::Transaction<'_>| transaction.purge(&queue);
        Box::pin(self.inner.writes.run(Keep::Durably, 0, purge))
    }

    fn dead(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadMessage>, BrokerError>> {
        Box::pin(
            self.inner
                .reads
                .run(move |connection| list_dead(connection, limit)),
        )
    }

    fn retry_dead<'a>(&'a self, numbers: &'a [i64]) -> BoxFuture<'a, Result<u64, BrokerError>> {
        Box::pin(async move {
            let numbers = numbers.to_vec();
            self.inner
                .writes
                .run(Keep::Durably, 0, move |transaction| {
                    transaction.retry_dead(&numbers)
                })
                .await
        })
    }

    fn drop_dead<'a>(&'a self, numbers: &'a [i64]) -> BoxFuture<'a, Result<u64, BrokerError>> {
        Box::pin(async move {
            let numbers = numbers.to_vec();
            self.inner
                .writes
                .run(Keep::Durably, 0, move |transaction| {
                    transaction.drop_dead(&numbers)
                })
                .await
        })
    }
}

impl ResultBackend for SqliteStore {
    fn store(&self, results: Vec<StoredResult>) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            // A passing state that is lost in a power cut is not missed: its call runs again.
            let keep = if results.iter().any(|result| result.state.is_final()) {
                Keep::Durably
            } else {
                Keep::Loosely
            };
            self.inner
                .writes
                .run(keep, 0, move |transaction| {
                    results
                        .iter()
                        .try_for_each(|result| transaction.store_result(result, Replace::Any))
                })
                .await
        })
    }

    fn fetch<'a>(
        &'a self,
        ids: &'a [TaskId],
    ) -> BoxFuture<'a, Result<Vec<Option<StoredResult>>, BrokerError>> {
        Box::pin(async move {
            let ids = ids.to_vec();
            self.inner
                .reads
                .run(move |connection| results::fetch(connection, &ids))
                .await
        })
    }

    fn watch(&self) -> BoxFuture<'_, Result<Box<dyn ResultWatch>, BrokerError>> {
        Box::pin(async move {
            let watch = SqliteWatch::start(self.inner.clone()).await?;
            Ok(Box::new(watch) as Box<dyn ResultWatch>)
        })
    }

    fn chords(&self) -> Option<Arc<dyn ChordStore>> {
        Some(Arc::new(self.clone()))
    }

    fn forget<'a>(&'a self, ids: &'a [TaskId]) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            let ids: Vec<_> = ids.iter().map(TaskId::to_string).collect();
            self.inner
                .writes
                .run(Keep::Durably, 0, move |transaction| {
                    transaction.forget(&ids)
                })
                .await
        })
    }
}

impl ChordStore for SqliteStore {
    fn open<'a>(&'a self, group: &'a str, size: u64) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            let group = group.to_owned();
            self.inner
                .writes
                .run(Keep::Durably, 0, move |transaction| {
                    transaction.open_chord(&group, size)
                })
                .await
        })
    }

    fn count<'a>(
        &'a self,
        claimant: &'a str,
        parts: Vec<ChordPart>,
    ) -> BoxFuture<'a, Result<Vec<Joined>, BrokerError>> {
        Box::pin(async move {
            let claimant = claimant.to_owned();
            self.inner
                .writes
                .run(Keep::Durably, 0, move |transaction| {
                    transaction.count_parts(&claimant, &parts)
                })
                .await
        })
    }

    fn close<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            let group = group.to_owned();
            self.inner
                .writes
                .run(Keep::Durably, 0, move |transaction| {
                    transaction.close_chord(&group)
                })
                .await
        })
    }
}

fn list_queues(connection: &Connection) -> Result<Vec<QueueInfo>, Failure> {
    let mut statement = connection.prepare_cached(statements::LIST_QUEUES)?;
    let mut rows = statement.query([wall_ms()])?;
    let mut queues = Vec::new();
    while let Some(row) = rows.next()? {
        queues.push(QueueInfo {
            name: queue_name(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?,
            ready: row.get::<_, i64>(1)?.unsigned_abs(),
            delayed: row.get::<_, i64>(2)?.unsigned_abs(),
            held: row.get::<_, i64>(3)?.unsigned_abs(),
            dead: row.get::<_, i64>(4)?.unsigned_abs(),
        });
    }
    Ok(queues)
}

fn list_dead(connection: &Connection, limit: usize) -> Result<Vec<DeadMessage>, Failure> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(statements::LIST_DEAD)?;
    let mut rows = statement.query([limit])?;
    let mut dead = Vec::new();
    while let Some(row) = rows.next()? {
        let reason: String = row.get(2)?;
        dead.push(DeadMessage {
            number: row.get(0)?,
            queue: queue_name(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?,
            reason: DeadReason::ALL
                .into_iter()
                .find(|known| known.as_str() == reason)
                .ok_or_else(|| damaged("the reason of a dead message"))?,
            detail: row.get(3)?,
            died_at: from_ms(row.get(4)?),
            deliveries: row.get(5)?,
            headers: row.get(6)?,
            content_type: row.get(7)?,
            body: row.get(8)?,
        });
    }
    Ok(dead)
}

fn queue_name(name: &str) -> Result<QueueName, Failure> {
    QueueName::new(name).map_err(|_| damaged("the name of a queue"))
}

fn damaged(what: &str) -> Failure {
    Failure::Unusable(
        format!("it is corrupt: {what} is not one"),
        super::failure::RESTORE,
    )
}
