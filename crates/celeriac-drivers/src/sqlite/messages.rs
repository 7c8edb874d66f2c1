//! Messages on their way into the database, and back into their queues.

use bytes::Bytes;
use celeriac_core::{BrokerError, Message, QueueName};
use jiff::Timestamp;

use super::failure::Failure;
use super::statements;
use super::transaction::{News, Transaction, ceil_ms, wall_ms};
use crate::headers;

/// Where a message stands: its queue, its rank in it, and how often it was delivered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) queue: i64,
    pub(super) rank: i64,
    pub(super) deliveries: i64,
}

/// A message as it is stored.
#[derive(Debug)]
pub(super) struct NewMessage {
    queue: QueueName,
    rank: i64,
    due_ms: Option<i64>,
    task_id: String,
    task: String,
    content_type: &'static str,
    headers: Vec<u8>,
    body: Bytes,
}

impl NewMessage {
    /// Encodes `message`, unless its body is over `limit_bytes`.
    pub(super) fn encode(
        queue: QueueName,
        message: Message,
        limit_bytes: usize,
    ) -> Result<Self, BrokerError> {
        headers::check_size(&message, limit_bytes)?;
        Ok(Self {
            queue,
            rank: 9 - i64::from(message.priority.min(9)),
            due_ms: message.headers.eta.map(ceil_ms),
            task_id: message.headers.id.to_string(),
            headers: headers::encode(&message.headers),
            task: message.headers.task,
            content_type: message.body.content_type.as_str(),
            body: message.body.bytes,
        })
    }

    /// Encodes all of `messages`, or none.
    pub(super) fn encode_all(
        messages: Vec<(QueueName, Message)>,
        limit_bytes: usize,
    ) -> Result<Vec<Self>, BrokerError> {
        messages
            .into_iter()
            .map(|(queue, message)| Self::encode(queue, message, limit_bytes))
            .collect()
    }

    /// About how much it takes in the log.
    pub(super) fn size_bytes(&self) -> usize {
        self.body.len() + self.headers.len()
    }
}

impl Transaction<'_> {
    /// Stores `messages`.
    pub(super) fn publish(&mut self, messages: &[NewMessage]) -> Result<(), Failure> {
        if messages.is_empty() {
            return Ok(());
        }
        let now_ms = wall_ms();
        let mut insert = self.prepare(statements::INSERT_MESSAGE)?;
        let mut ready = self.prepare(statements::INSERT_READY)?;
        for message in messages {
            let queue = self.queue(&message.queue)?;
            let number = self.next_number();
            insert.execute((
                number,
                &message.task_id,
                &message.task,
                message.content_type,
                &message.headers[..],
                &message.body[..],
            ))?;
            if message.due_ms.is_none() {
                ready.execute((queue, message.rank, number, 0))?;
                continue;
            }
            let standing = Standing {
                queue,
                rank: message.rank,
                deliveries: 0,
            };
            self.enqueue(number, standing, message.due_ms, now_ms)?;
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
