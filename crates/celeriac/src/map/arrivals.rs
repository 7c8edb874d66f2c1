//! What came back from an executor and was not yet looked at by its map.

use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use celeriac_core::{Outcome, OutcomeChunk, TaskError};
use smallvec::SmallVec;

use super::window::Ticket;

/// What came back for the calls of one flight, or for some of them.
pub(super) struct Arrival<V> {
    pub(super) ticket: Ticket,
    /// The place of the first call in its flight.
    pub(super) first: usize,
    pub(super) attempt: u32,
    pub(super) part: Part<V>,
}

pub(super) enum Part<V> {
    Values(SmallVec<[Outcome<V>; 1]>, Duration),
    Encoded(OutcomeChunk),
    /// So many calls failed alike.
    Failed(usize, TaskError),
}

/// A mailbox with one reader.
pub(super) struct Arrivals<V>(Mutex<Mail<V>>);

struct Mail<V> {
    arrivals: Vec<Arrival<V>>,
    reader: Option<Waker>,
}

impl<V> Arrivals<V> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Mail {
            arrivals: Vec::new(),
            reader: None,
        }))
    }

    pub(super) fn push(&self, arrival: Arrival<V>) {
        let mut mail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        mail.arrivals.push(arrival);
        let reader = mail.reader.take();
        drop(mail);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Swaps what came for the empty `taken`, or leaves the waker to be called when something comes.
    pub(super) fn take(&self, taken: &mut Vec<Arrival<V>>, context: &Context<'_>) {
        let mut mail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if mail.arrivals.is_empty() {
            mail.reader = Some(context.waker().clone());
        }
        std::mem::swap(&mut mail.arrivals, taken);
    }
}
