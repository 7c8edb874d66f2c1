//! Holders, and how it is known that one is dead.
//!
//! A holder's heartbeat is time since boot, so no wall-clock jump ends a lease. A holder is dead
//! if this machine was booted since, if its process is gone, or if its heartbeat is older than its
//! lease.

use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{ConsumerInfo, QueueName};
use rusqlite::Connection;

use super::failure::Failure;
use super::linux;
use super::statements;
use super::transaction::{News, Transaction, from_ms};
use crate::queues::Queues;

/// What tells one process from every other, on this machine and through reboots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) pid: u32,
    pub(super) start_ticks: i64,
    pub(super) pid_namespace: i64,
    pub(super) boot_id: String,
}

impl Identity {
    /// This process.
    pub(super) fn current() -> Self {
        let pid = std::process::id();
        Self {
            pid,
            start_ticks: linux::start_ticks(pid).unwrap_or(0),
            pid_namespace: linux::pid_namespace(),
            boot_id: linux::boot_id(),
        }
    }

    /// Whether `other` is certainly gone, as far as this process can see.
    fn knows_gone(&self, other: &Self) -> bool {
        if self.boot_id != other.boot_id {
            return true;
        }
        let visible = self.pid_namespace != 0 && self.pid_namespace == other.pid_namespace;
        visible && linux::start_ticks(other.pid) != Some(other.start_ticks)
    }
}

/// A registered holder, as the database has it.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    pub(super) number: i64,
    pub(super) name: String,
    pub(super) queues: Vec<QueueName>,
    pub(super) identity: Identity,
    pub(super) lease_ms: i64,
    pub(super) started_ms: i64,
    pub(super) heartbeat_ms: i64,
    pub(super) held: u64,
}

impl Holder {
    /// All holders.
    pub(super) fn list(connection: &Connection) -> Result<Vec<Self>, Failure> {
        let mut statement = connection.prepare_cached(statements::LIST_HOLDERS)?;
        let rows = statement.query_map([], |row| {
            let queues: String = row.get(2)?;
            Ok(Self {
                number: row.get(0)?,
                name: row.get(1)?,
                queues: serde_json::from_str(&queues).unwrap_or_default(),
                identity: Identity {
                    pid: row.get(3)?,
                    start_ticks: row.get(4)?,
                    pid_namespace: row.get(5)?,
                    boot_id: row.get(6)?,
                },
                lease_ms: row.get(7)?,
                started_ms: row.get(8)?,
                heartbeat_ms: row.get(9)?,
                held: row.get::<_, i64>(10)?.unsigned_abs(),
            })
        })?;
        rows.map(|row| Ok(row?)).collect()
    }

    /// Whether its process is gone.
    pub(super) fn is_gone(&self, own: &Identity) -> bool {
        own.knows_gone(&self.identity)
    }

    /// Whether it has been silent for longer than its lease.
    pub(super) fn has_lapsed(&self, boot_ms: i64) -> bool {
        boot_ms.saturating_sub(self.heartbeat_ms) > self.lease_ms
    }

    /// Logs that it died and how many messages go back.
    pub(super) fn say_died(&self, messages: usize) {
        tracing::warn!(
            consumer = self.name,
            pid = self.identity.pid,
            messages,
            "consumer died, its messages go back"
        );
    }

    /// What is told of it.
    pub(super) fn info(&self) -> ConsumerInfo {
        let silent_ms = linux::boot_ms().saturating_sub(self.heartbeat_ms);
        ConsumerInfo {
            name: self.name.clone(),
            pid: self.identity.pid,
            queues: self.queues.clone(),
            held: self.held,
            started_at: from_ms(self.started_ms),
            silent_for: Duration::from_millis(u64::try_from(silent_ms).unwrap_or(0)),
        }
    }
}

/// What a consumer registers as.
#[derive(Debug, Clone)]
pub(super) struct Registration {
    pub(super) name: String,
    pub(super) queues: Arc<Queues>,
    pub(super) lease: Duration,
    pub(super) started_ms: i64,
}

impl Transaction<'_> {
    /// Registers a holder, and says its number.
    pub(super) fn register(
        &mut self,
        registration: &Registration,
        own: &Identity,
    ) -> Result<i64, Failure> {
        let queues = self.listed(registration)?;
        let number = self.next_number();
        let lease_ms = i64::try_from(registration.lease.as_millis()).unwrap_or(i64::MAX);
        self.execute(
            statements::INSERT_HOLDER,
            rusqlite::params![
                number,
                registration.name,
                queues,
                own.pid,
                own.start_ticks,
                own.pid_namespace,
                own.boot_id,
                lease_ms,
                registration.started_ms,
                linux::boot_ms(),
            ],
        )?;
        Ok(number)
    }

    /// Tells others which queues a holder takes from now.
    pub(super) fn take_from(
        &mut self,
        holder: i64,
        registration: &Registration,
    ) -> Result<(), Failure> {
        let queues = self.listed(registration)?;
        self.execute(statements::SET_HOLDER_QUEUES, (holder, queues))?;
        Ok(())
    }

    /// The queues as others read them; those that were not there before are now.
    fn listed(&mut self, registration: &Registration) -> Result<String, Failure> {
        let queues = registration.queues.all();
        for queue in &queues {
            self.queue(queue)?;
        }
        serde_json::to_string(&queues).map_err(|error| Failure::Other(error.to_string()))
    }

    /// Renews the lease of a holder, and says whether it still had one.
    pub(super) fn renew(&self, holder: i64) -> Result<bool, Failure> {
        Ok(self.execute(statements::RENEW_HOLDER, (holder, linux::boot_ms()))? > 0)
    }

    /// Whether a holder is registered.
    pub(super) fn is_registered(&self, holder: i64) -> Result<bool, Failure> {
        Ok(self
            .value::<i64>(statements::FIND_HOLDER, [holder])?
            .is_some())
    }

    /// Ends a holder; what it holds goes back, and counts as delivered if `counted`.
    pub(super) fn unregister(&mut self, holder: i64, counted: bool) -> Result<(), Failure> {
        self.execute(statements::DELETE_HOLDER, [holder])?;
        self.give_back(holder, counted)?;
        Ok(())
    }

    /// Ends the holders whose process is gone, so that a worker that is started again after a crash
    /// finds at once what the one before it held.
    pub(super) fn sweep_gone(&mut self, own: &Identity) -> Result<(), Failure> {
        let mut gone = Holder::list(self.connection())?;
        gone.retain(|holder| holder.is_gone(own));
        for holder in gone {
            if let Some(messages) = self.sweep(&holder)? {
                holder.say_died(messages);
            }
        }
        Ok(())
    }

    /// Ends a dead holder, unless it was heard of meanwhile; what it held goes back. Says how many
    /// messages that were.
    pub(super) fn sweep(&mut self, holder: &Holder) -> Result<Option<usize>, Failure> {
        let gone = self.execute(
            statements::DELETE_SILENT_HOLDER,
            (holder.number, holder.heartbeat_ms),
        )?;
        if gone == 0 {
            return Ok(None);
        }
        self.give_back(holder.number, true).map(Some)
    }

    fn give_back(&mut self, holder: i64, counted: bool) -> Result<usize, Failure> {
        let uncounted = i64::from(!counted);
        let given = self.execute(statements::GIVE_BACK, (holder, uncounted))?;
        if given > 0 {
            self.execute(statements::DELETE_GIVEN_BACK, [holder])?;
            self.announce(News::Messages);
        }
        Ok(given)
    }
}
