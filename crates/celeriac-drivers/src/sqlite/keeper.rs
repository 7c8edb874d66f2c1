//! The thread that keeps watch: over the wake file, the clock, our leases and those of others.
//!
//! It waits for another process to write, for a delayed message to fall due, or for a second to
//! pass, whichever comes first. In a process that consumes it renews our leases and ends those of
//! holders that died, and drops results that have expired.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::failure::Failure;
use super::lease::{Holder, Identity, Registration};
use super::linux::{self, FileWatch};
use super::signals::Signals;
use super::statements;
use super::transaction::{Pulse, Transaction, wall_ms};
use super::writer::{Keep, Writes};

/// The safety net under the wake file, and the pace of sweeping.
const TICK_MS: i64 = 1000;

/// A watch that comes this much too late was stopped itself, and knows nothing of others.
const STOPPED_MS: i64 = 3000;

/// How long after that nobody is taken for dead by silence alone.
const GRACE_MS: i64 = 10_000;

/// How many expired results are dropped in one transaction.
const EXPIRED_AT_ONCE: i64 = 2000;

/// How long a revocation is remembered.
const KEEP_REVOKED_MS: i64 = 365 * 24 * 60 * 60 * 1000;

/// One consumer's hold on the database.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) registration: Registration,
    holder: AtomicI64,
    renewed_ms: AtomicI64,
    closed: AtomicBool,
}

impl Lease {
    /// The lease of a consumer that was registered as `holder`.
    pub(super) fn new(registration: Registration, holder: i64) -> Self {
        Self {
            registration,
            holder: AtomicI64::new(holder),
            renewed_ms: AtomicI64::new(linux::boot_ms()),
            closed: AtomicBool::new(false),
        }
    }

    /// The number it has now.
    pub(super) fn holder(&self) -> i64 {
        self.holder.load(Ordering::SeqCst)
    }

    /// Ends it, and says whether it had ended before.
    pub(super) fn close(&self) -> bool {
        self.closed.swap(true, Ordering::SeqCst)
    }

    /// Whether it has ended: it is then neither renewed nor claimed for.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Takes a new number if the old one was taken away, for what comes from now on.
    pub(super) fn ensure(
        &self,
        transaction: &mut Transaction<'_>,
        own: &Identity,
    ) -> Result<i64, Failure> {
        let holder = self.holder();
        if transaction.is_registered(holder)? {
            return Ok(holder);
        }
        tracing::warn!(consumer = self.registration.name, "lease was lost");
        let new = transaction.register(&self.registration, own)?;
        // If this transaction fails, the number is nobody's and the next one sees to it.
        self.holder.store(new, Ordering::SeqCst);
        Ok(new)
    }

    fn is_due(&self, boot_ms: i64) -> bool {
        let third = i64::try_from(self.registration.lease.as_millis() / 3).unwrap_or(i64::MAX);
        boot_ms.saturating_sub(self.renewed_ms.load(Ordering::SeqCst)) >= third
    }
}

/// The consumers of this process, by a number of their own.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<i64, Arc<Lease>>>);

impl Leases {
    /// Keeps `lease` from now on, under the number it was first registered by.
    pub(super) fn add(&self, key: i64, lease: Arc<Lease>) {
        self.lock().insert(key, lease);
    }

    /// Keeps it no more.
    pub(super) fn remove(&self, key: i64) {
        self.lock().remove(&key);
    }

    fn all(&self) -> Vec<Arc<Lease>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<i64, Arc<Lease>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keeper, inside its thread.
pub(super) struct Keeper {
    pub(super) connection: Connection,
    pub(super) watch: FileWatch,
    pub(super) stop: Arc<OwnedFd>,
    pub(super) signals: Arc<Signals>,
    pub(super) leases: Arc<Leases>,
    pub(super) writes: Writes,
    pub(super) own: Arc<Identity>,
}

/// What the keeper remembers from one round to the next.
struct Rounds {
    next_tick_ms: i64,
    last_look_ms: i64,
    grace_until_ms: i64,
    next_due_ms: Option<i64>,
    messages: i64,
}

impl Keeper {
    /// Keeps watch until the stop bell rings.
    pub(super) fn run(self) {
        let now = linux::boot_ms();
        let mut rounds = Rounds {
            next_tick_ms: now,
            last_look_ms: now,
            grace_until_ms: 0,
            next_due_ms: None,
            messages: 0,
        };
        loop {
            let wait = rounds.wait(linux::boot_ms(), wall_ms());
            if self.watch.wait(&self.stop, wait).is_err() {
                std::thread::sleep(Duration::from_millis(10));
            }
            if rustix::io::read(&*self.stop, &mut [0_u8; 8]).is_ok() {
                return;
            }
            if let Err(failure) = self.round(&mut rounds) {
                tracing::warn!(error = %failure, "keeping watch failed");
                rounds.next_due_ms = None;
                rounds.next_tick_ms = linux::boot_ms() + TICK_MS;
            }
        }
    }

    fn round(&self, rounds: &mut Rounds) -> Result<(), Failure> {
        let now = linux::boot_ms();
        if now - rounds.last_look_ms > STOPPED_MS {
            rounds.grace_until_ms = now + GRACE_MS;
        }
        let pulse = Pulse::load(&self.connection)?;
        self.signals.raise(pulse);
        // Compared with what this thread saw: the writer raises its own news itself.
        let mut look_for_due = pulse.messages != rounds.messages;
        rounds.messages = pulse.messages;
        let leases = self.leases.all();
        if rounds.next_due_ms.is_some_and(|due_ms| due_ms <= wall_ms()) {
            self.signals.messages.send_replace(());
            // Looked up again once they are claimed, or with the next tick.
            rounds.next_due_ms = None;
        }
        if now >= rounds.next_tick_ms {
            rounds.next_tick_ms = now + TICK_MS;
            look_for_due = true;
            self.tick(&leases, rounds.grace_until_ms)?;
        }
        if look_for_due && !leases.is_empty() {
            rounds.next_due_ms = self
                .connection
                .prepare_cached(statements::NEXT_DUE)?
                .query_row([], |row| row.get(0))
                .optional()?;
        }
        rounds.last_look_ms = linux::boot_ms();
        Ok(())
    }

    fn tick(&self, leases: &[Arc<Lease>], grace_until_ms: i64) -> Result<(), Failure> {
        if leases.is_empty() {
            return Ok(());
        }
        // Ours first: after a stop of the whole machine all of them look silent.
        self.renew(leases)?;
        self.sweep(grace_until_ms)?;
        self.expire()
    }

    fn renew(&self, leases: &[Arc<Lease>]) -> Result<(), Failure> {
        let now = linux::boot_ms();
        let due: Vec<_> = leases
            .iter()
            .filter(|lease| lease.is_due(now))
            .cloned()
            .collect();
        if due.is_empty() {
            return Ok(());
        }
        let (own, renewed) = (self.own.clone(), due.clone());
        self.writes
            .run_blocking(Keep::Loosely, move |transaction| {
                for lease in renewed.iter().filter(|lease| !lease.is_closed()) {
                    let holder = lease.ensure(transaction, &own)?;
                    transaction.renew(holder)?;
                }
                Ok(())
            })?;
        for lease in due {
            lease.renewed_ms.store(now, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Ends the holders that died.
    fn sweep(&self, grace_until_ms: i64) -> Result<(), Failure> {
        let now = linux::boot_ms();
        let mut dead = Holder::list(&self.connection)?;
        dead.retain(|holder| {
            holder.is_gone(&self.own) || (now >= grace_until_ms && holder.has_lapsed(now))
        });
        if dead.is_empty() {
            return Ok(());
        }
        let returned = self
            .writes
            .run_blocking(Keep::Loosely, move |transaction| {
                let mut returned = Vec::new();
                for holder in dead {
                    if let Some(messages) = transaction.sweep(&holder)? {
                        returned.push((holder, messages));
                    }
                }
                Ok(returned)
            })?;
        for (holder, messages) in returned {
            holder.say_died(messages);
        }
        Ok(())
    }

    /// Drops some results that have expired.
    fn expire(&self) -> Result<(), Failure> {
        let now = Timestamp::now();
        let any: bool = self
            .connection
            .prepare_cached(statements::ANY_EXPIRED)?
            .query_row([now.as_microsecond(), now.as_millisecond()], |row| {
                row.get(0)
            })?;
        if !any {
            return Ok(());
        }
        self.writes.run_blocking(Keep::Loosely, move |transaction| {
            transaction.execute(
                statements::EXPIRE_RESULTS,
                (now.as_microsecond(), EXPIRED_AT_ONCE),
            )?;
            let forgotten = now.as_millisecond() - KEEP_REVOKED_MS;
            transaction.execute(statements::EXPIRE_REVOKED, [forgotten])?;
            transaction.expire_chords(now.as_millisecond())?;
            Ok(())
        })
    }
}

impl Rounds {
    /// How long to wait for news from now on.
    fn wait(&self, boot_ms: i64, wall_ms: i64) -> Duration {
        let tick = self.next_tick_ms - boot_ms;
        let due = self.next_due_ms.map_or(i64::MAX, |due_ms| due_ms - wall_ms);
        let wait = tick.min(due).clamp(0, TICK_MS);
        Duration::from_millis(wait.unsigned_abs())
    }
}
