//! News inside this process: who waits for messages, results or revocations is woken.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use super::transaction::Pulse;

/// One bell for each kind of news.
#[derive(Debug)]
pub(super) struct Signals {
    last: Mutex<Pulse>,
    pub(super) messages: watch::Sender<()>,
    pub(super) results: watch::Sender<()>,
    pub(super) revoked: watch::Sender<()>,
}

impl Signals {
    /// Bells that have rung for everything up to `pulse`.
    pub(super) fn new(pulse: Pulse) -> Self {
        Self {
            last: Mutex::new(pulse),
            messages: watch::Sender::new(()),
            results: watch::Sender::new(()),
            revoked: watch::Sender::new(()),
        }
    }

    /// Rings the bells of what has happened up to `pulse`.
    pub(super) fn raise(&self, pulse: Pulse) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if pulse.messages > last.messages {
            self.messages.send_replace(());
        }
        if pulse.results > last.results {
            self.results.send_replace(());
        }
        if pulse.revoked > last.revoked {
            self.revoked.send_replace(());
        }
        *last = Pulse {
            sequence: pulse.sequence.max(last.sequence),
            messages: pulse.messages.max(last.messages),
            results: pulse.results.max(last.results),
            revoked: pulse.revoked.max(last.revoked),
        };
    }
}
