//! What a worker has done so far, in numbers.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::metrics::Metrics;

/// What a worker has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerReport {
    /// Deliveries fetched.
    pub received: u64,
    /// Calls that returned.
    pub succeeded: u64,
    /// Calls that failed for good, dead ones included.
    pub failed: u64,
    /// Calls that were cancelled, or had expired.
    pub revoked: u64,
    /// Attempts that failed and were sent again.
    pub retried: u64,
    /// Deliveries given back to their queue.
    pub given_back: u64,
    /// Settlements that came too late: another worker has the message.
    pub lease_lost: u64,
    /// Settlements that could not be carried out; the messages return when the lease ends.
    pub unsettled: u64,
    /// How often fetching worked again after it had failed, or was begun anew because it was stuck.
    pub reconnects: u64,
    /// Deliveries held now.
    pub held: u64,
    /// Whether the broker answered when it was last asked.
    pub ready: bool,
}

/// The counters behind a [`WorkerReport`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) received: AtomicU64,
    pub(crate) succeeded: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) revoked: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) given_back: AtomicU64,
    pub(crate) lease_lost: AtomicU64,
    pub(crate) unsettled: AtomicU64,
    pub(crate) reconnects: AtomicU64,
    pub(crate) held: AtomicU64,
    pub(crate) ready: AtomicBool,
    /// The dispatcher runs a call itself, in a pool that blocks.
    pub(crate) in_call: AtomicBool,
    /// What was counted in all, once the worker has ended.
    pub(crate) last: OnceLock<Metrics>,
}

impl Counters {
    pub(crate) fn report(&self) -> WorkerReport {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WorkerReport {
            received: read(&self.received),
            succeeded: read(&self.succeeded),
            failed: read(&self.failed),
            revoked: read(&self.revoked),
            retried: read(&self.retried),
            given_back: read(&self.given_back),
            lease_lost: read(&self.lease_lost),
            unsettled: read(&self.unsettled),
            reconnects: read(&self.reconnects),
            held: read(&self.held),
            ready: self.ready.load(Ordering::Relaxed),
        }
    }
}

/// Counts one more; only the dispatcher writes, anybody reads.
pub(crate) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

pub(crate) fn add(counter: &AtomicU64, more: usize) {
    counter.fetch_add(more as u64, Ordering::Relaxed);
}
