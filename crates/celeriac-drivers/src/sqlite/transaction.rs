//! One write transaction: the numbers it gives, the queues it knows, the news it makes.

use std::collections::HashMap;

use celeriac_core::QueueName;
use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, OptionalExtension};

use super::failure::Failure;
use super::statements;

/// Counters that tell what has happened in the database since somebody last looked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pulse {
    /// The last number given to a message, result, holder or revocation.
    pub(super) sequence: i64,
    /// Commits that made messages ready or delayed.
    pub(super) messages: i64,
    /// Commits that stored results.
    pub(super) results: i64,
    /// Commits that revoked.
    pub(super) revoked: i64,
}

impl Pulse {
    /// What the database holds now.
    pub(super) fn load(connection: &Connection) -> Result<Self, Failure> {
        let mut statement = connection.prepare_cached(statements::LOAD_PULSE)?;
        Ok(statement.query_row([], |row| {
            Ok(Self {
                sequence: row.get(0)?,
                messages: row.get(1)?,
                results: row.get(2)?,
                revoked: row.get(3)?,
            })
        })?)
    }

    fn save(&self, connection: &Connection) -> Result<(), Failure> {
        let mut statement = connection.prepare_cached(statements::SAVE_PULSE)?;
        statement.execute((self.sequence, self.messages, self.results, self.revoked))?;
        Ok(())
    }
}

/// News a transaction made, for the counters of [`Pulse`].
#[derive(Debug, Clone, Copy)]
pub(super) enum News {
    /// Messages became ready or delayed.
    Messages,
    /// Results were stored.
    Results,
    /// Calls were revoked.
    Revoked,
}

/// What is kept of queues between transactions: they are never renumbered.
pub(super) type QueueNumbers = HashMap<QueueName, i64>;

/// A write transaction in progress.
#[derive(Debug)]
pub(super) struct Transaction<'c> {
    connection: &'c Connection,
    queues: &'c mut QueueNumbers,
    before: Pulse,
    pulse: Pulse,
}

impl<'c> Transaction<'c> {
    /// Takes up the transaction that has just been begun on `connection`.
    pub(super) fn begin(
        connection: &'c Connection,
        queues: &'c mut QueueNumbers,
    ) -> Result<Self, Failure> {
        let before = Pulse::load(connection)?;
        Ok(Self {
            connection,
            queues,
            before,
            pulse: before,
        })
    }

    /// Writes the counters back, and says what they are if there is news for others.
    pub(super) fn finish(self) -> Result<Option<Pulse>, Failure> {
        if self.pulse == self.before {
            return Ok(None);
        }
        self.pulse.save(self.connection)?;
        let news = Pulse {
            sequence: self.before.sequence,
            ..self.pulse
        } != self.before;
        Ok(news.then_some(self.pulse))
    }

    /// Undoes everything since the savepoint of the command that runs.
    pub(super) fn undo(&mut self) -> Result<(), Failure> {
        self.queues.clear();
        self.execute(statements::UNDO, [])?;
        Ok(())
    }

    /// What it is a transaction of.
    pub(super) fn connection(&self) -> &'c Connection {
        self.connection
    }

    /// The prepared `statement`.
    pub(super) fn prepare(&self, statement: &str) -> Result<CachedStatement<'c>, Failure> {
        Ok(self.connection.prepare_cached(statement)?)
    }

    /// Runs `statement` and says how many rows it changed.
    pub(super) fn execute(
        &self,
        statement: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<usize, Failure> {
        Ok(self.prepare(statement)?.execute(parameters)?)
    }

    /// The one value `statement` selects, if it selects any.
    pub(super) fn value<T: rusqlite::types::FromSql>(
        &self,
        statement: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<Option<T>, Failure> {
        Ok(self
            .prepare(statement)?
            .query_row(parameters, |row| row.get(0))
            .optional()?)
    }

    /// A number nothing else in this database has or had.
    pub(super) fn next_number(&mut self) -> i64 {
        self.pulse.sequence += 1;
        self.pulse.sequence
    }

    /// Notes that there is news for others, once the transaction is committed.
    pub(super) fn announce(&mut self, news: News) {
        // Once a transaction is enough.
        let (counter, before) = match news {
            News::Messages => (&mut self.pulse.messages, self.before.messages),
            News::Results => (&mut self.pulse.results, self.before.results),
            News::Revoked => (&mut self.pulse.revoked, self.before.revoked),
        };
        *counter = before + 1;
    }

    /// The number of `queue`, which is made if it is new.
    pub(super) fn queue(&mut self, queue: &QueueName) -> Result<i64, Failure> {
        if let Some(number) = self.queues.get(queue) {
            return Ok(*number);
        }
        self.execute(statements::ADD_QUEUE, [queue.as_str()])?;
        let number = self
            .value(statements::FIND_QUEUE, [queue.as_str()])?
            .ok_or_else(|| Failure::Other("a queue that was just made is not there".into()))?;
        self.queues.insert(queue.clone(), number);
        Ok(number)
    }
}

/// Wall-clock time in milliseconds since 1970.
pub(super) fn wall_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// The first whole millisecond at or after `time`.
pub(super) fn ceil_ms(time: Timestamp) -> i64 {
    let floor = time.as_millisecond();
    if time.subsec_nanosecond() % 1_000_000 > 0 {
        floor + 1
    } else {
        floor
    }
}

/// The time of a stored number of milliseconds; the epoch for one that is out of range.
pub(super) fn from_ms(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}
