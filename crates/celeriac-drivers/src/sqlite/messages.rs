//! Messages on their way into the database, and back into their queues.

use std::fmt::Write as _;

use bytes::Bytes;
use celeriac_core::{BrokerError, Destination, Message, QueueName};
use jiff::Timestamp;

use super::failure::Failure;
use super::statements;
use super::transaction::{News, Transaction, ceil_ms, wall_ms};
use crate::destination::only_queue;
use crate::{headers, refusal};

/// Where a message stands: its queue, its rank in it, and how often it was delivered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) queue: i64,
    pub(super) rank: i64,
    pub(super) deliveries: i64,
}

/// Messages as they are stored.
///
/// Their texts stand in two buffers one after another: thousands are made on one thread and dropped
/// on another, and allocations of their own would cost more than the encoding.
#[derive(Debug, Default)]
pub(super) struct NewMessages {
    rows: Vec<Row>,
    names: String,
    headers: Vec<u8>,
}

/// One of them; its texts begin where those of the one before end.
#[derive(Debug)]
struct Row {
    queue: QueueName,
    rank: i64,
    due_ms: Option<i64>,
    task_id_end: usize,
    task_end: usize,
    headers_end: usize,
    content_type: &'static str,
    body: Bytes,
}

impl NewMessages {
    /// Encodes all of `messages`, or none if a body is over `limit_bytes` or goes to an exchange.
    pub(super) fn encode(
        messages: Vec<(Destination, Message)>,
        limit_bytes: usize,
        address: impl Fn() -> String,
    ) -> Result<Self, BrokerError> {
        let mut new = Self::default();
        new.rows.reserve(messages.len());
        for (destination, message) in messages {
            let queue = only_queue(destination, &address)?;
            new.push(queue, message, limit_bytes)?;
        }
        Ok(new)
    }

    fn push(
        &mut self,
        queue: QueueName,
        message: Message,
        limit_bytes: usize,
    ) -> Result<(), BrokerError> {
        refusal::check_size(&message, limit_bytes)?;
        let known = &message.headers;
        // Writing to a text cannot fail.
        let _ = write!(self.names, "{}", known.id);
        let task_id_end = self.names.len();
        self.names.push_str(&known.task);
        headers::encode_into(known, &mut self.headers);
        self.rows.push(Row {
            queue,
            rank: 9 - i64::from(message.priority.min(9)),
            due_ms: known.eta.map(ceil_ms),
            task_id_end,
            task_end: self.names.len(),
            headers_end: self.headers.len(),
            content_type: message.body.content_type.as_str(),
            body: message.body.bytes,
        });
        Ok(())
    }

    /// About how much they take in the log.
    pub(super) fn size_bytes(&self) -> usize {
        let bodies: usize = self.rows.iter().map(|row| row.body.len()).sum();
        bodies + self.headers.len()
    }
}

impl Transaction<'_> {
    /// Stores `messages`.
    pub(super) fn publish(&mut self, messages: &NewMessages) -> Result<(), Failure> {
        let Some(first) = messages.rows.first() else {
            return Ok(());
        };
        let now_ms = wall_ms();
        let mut insert = self.prepare(statements::INSERT_MESSAGE)?;
        let mut ready = self.prepare(statements::INSERT_READY)?;
        let mut queue = (&first.queue, self.queue(&first.queue)?);
        let (mut name, mut header) = (0, 0);
        for row in &messages.rows {
            if row.queue != *queue.0 {
                queue = (&row.queue, self.queue(&row.queue)?);
            }
            let number = self.next_number();
            insert.execute((
                number,
                &messages.names[name..row.task_id_end],
                &messages.names[row.task_id_end..row.task_end],
                row.content_type,
                &messages.headers[header..row.headers_end],
                &row.body[..],
            ))?;
            (name, header) = (row.task_end, row.headers_end);
            if row.due_ms.is_none() {
                ready.execute((queue.1, row.rank, number, 0))?;
                continue;
            }
            let standing = Standing {
                queue: queue.1,
                rank: row.rank,
                deliveries: 0,
            };
            self.enqueue(number, standing, row.due_ms, now_ms)?;
        }
        self.announce(News::Messages);
        Ok(())
    }

    /// Makes a stored message ready, or delayed until `due_ms` if that is in the future.
    pub(super) fn enqueue(
        &self,
        number: i64,
        at: Standing,
        due_ms: Option<i64>,
        now_ms: i64,
    ) -> Result<(), Failure> {
        let row = (at.queue, at.rank, number, at.deliveries);
        match due_ms.filter(|due_ms| *due_ms > now_ms) {
            None => self.execute(statements::INSERT_READY, row)?,
            Some(due_ms) => self.execute(
                statements::INSERT_DELAYED,
                (row.0, row.1, row.2, row.3, due_ms),
            )?,
        };
        Ok(())
    }

    /// Drops what waits in `queue`, and says how many messages that were.
    pub(super) fn purge(&mut self, queue: &QueueName) -> Result<u64, Failure> {
        let Some(queue) = self.value::<i64>(statements::FIND_QUEUE, [queue.as_str()])? else {
            return Ok(0);
        };
        let mut dropped = 0;
        for (messages, places) in [
            (statements::PURGE_READY_MESSAGES, statements::PURGE_READY),
            (
                statements::PURGE_DELAYED_MESSAGES,
                statements::PURGE_DELAYED,
            ),
        ] {
            self.execute(messages, [queue])?;
            dropped += self.execute(places, [queue])? as u64;
        }
        Ok(dropped)
    }

    /// Marks calls as revoked, and makes those that are delayed ready.
    pub(super) fn revoke(&mut self, ids: &[String], now: Timestamp) -> Result<(), Failure> {
        for id in ids {
            let number = self.next_number();
            self.execute(statements::REVOKE, (number, id, now.as_millisecond()))?;
            self.announce(News::Revoked);
            if self.execute(statements::HASTEN_REVOKED, [id])? > 0 {
                self.execute(statements::DELETE_HASTENED, [id])?;
                self.announce(News::Messages);
            }
        }
        Ok(())
    }
}
