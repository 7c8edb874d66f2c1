//! The calls of a map that were taken from its inputs and whose outcomes were not yet taken from it.
//!
//! # Invariants
//!
//! - Each call has one outcome: what comes for a call that has one, or for an attempt that was given
//!   up, is dropped.
//! - In an ordered map an outcome is passed on when all before it were.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{Chunk, Control, Interrupt, Outcome, TaskError};
use slab::Slab;
use smallvec::SmallVec;

/// Names one flight, and no later one in its slot: the slot in the upper half, a number in the lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

impl Ticket {
    fn new(slot: u32, number: u32) -> Self {
        Self(u64::from(slot) << 32 | u64::from(number))
    }

    fn slot(self) -> usize {
        (self.0 >> 32) as usize
    }

    /// The ticket as one number, never `u64::MAX`.
    pub(super) fn to_bits(self) -> u64 {
        self.0
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// Calls that were sent together.
pub(super) struct Flight<V> {
    ticket: Ticket,
    places: SmallVec<[Place<V>; 1]>,
    /// How many outcomes were passed on in order.
    passed: usize,
    missing: usize,
    /// How the map reaches the calls; nothing if they stand in its line.
    pub(super) sent: Option<Box<Sent>>,
}

/// What is kept of calls that were given to an executor by themselves.
pub(super) struct Sent {
    /// The number of the first call among all of the map.
    pub(super) first: usize,
    /// The lines to its invocations.
    pub(super) controls: Vec<Arc<Control>>,
    /// The arguments, if calls may be run again.
    pub(super) chunk: Option<Chunk>,
}

/// What is known of one call.
enum Place<V> {
    /// This attempt is under way.
    Missing(u32),
    Here(Outcome<V>),
    Passed,
}

/// A call that is to be run again after some time.
pub(super) struct Again {
    pub(super) index: usize,
    pub(super) attempt: u32,
    pub(super) delay: Duration,
}

/// The calls between the inputs of a map and its outcomes.
pub(super) struct Window<V> {
    flights: Slab<Flight<V>>,
    next_number: u32,
    /// The flights in the order of their inputs; `None` if order does not matter.
    order: Option<VecDeque<Ticket>>,
    ready: VecDeque<Outcome<V>>,
    under_way: usize,
}

impl<V> Window<V> {
    pub(super) fn new(ordered: bool) -> Self {
        Self {
            flights: Slab::new(),
            next_number: 0,
            order: ordered.then(VecDeque::new),
            ready: VecDeque::new(),
            under_way: 0,
        }
    }

    /// How many calls are under way or wait to be taken.
    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    /// Whether nothing is under way any more.
    pub(super) fn has_landed(&self) -> bool {
        self.flights.is_empty()
    }

    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// An outcome that is here already.
    pub(super) fn take_ready(&mut self) -> Option<Outcome<V>> {
        let outcome = self.ready.pop_front()?;
        self.under_way -= 1;
        Some(outcome)
    }

    /// Opens a flight of `count` calls.
    ///
    /// # Panics
    ///
    /// If 2^32 flights are open at once.
    pub(super) fn open(&mut self, count: usize, sent: Option<Box<Sent>>) -> Ticket {
        let entry = self.flights.vacant_entry();
        let slot = u32::try_from(entry.key())
            .ok()
            .filter(|slot| *slot < u32::MAX);
        let slot = slot.expect("a window is smaller than 2^32 flights");
        let ticket = Ticket::new(slot, self.next_number);
        self.next_number = self.next_number.wrapping_add(1);
        entry.insert(Flight {
            ticket,
            places: (0..count).map(|_| Place::Missing(1)).collect(),
            passed: 0,
            missing: count,
            sent,
        });
        if let Some(order) = &mut self.order {
            order.push_back(ticket);
        }
        self.under_way += count;
        ticket
    }

    /// The flight of `ticket`, unless it is over.
    pub(super) fn flight(&mut self, ticket: Ticket) -> Option<&mut Flight<V>> {
        self.flights
            .get_mut(ticket.slot())
            .filter(|flight| flight.ticket == ticket)
    }

    /// Takes outcomes of one flight, from its `first` call on, of attempt `attempt`.
    ///
    /// Calls that failed and may be run again, as `retry` says, are returned instead of taken.
    pub(super) fn land(
        &mut self,
        ticket: Ticket,
        first: usize,
        attempt: u32,
        outcomes: impl Iterator<Item = Outcome<V>>,
        retry: impl Fn(&TaskError) -> Option<Duration>,
    ) -> SmallVec<[Again; 1]> {
        let mut again = SmallVec::new();
        let slot = ticket.slot();
        let Some(flight) = self
            .flights
            .get_mut(slot)
            .filter(|flight| flight.ticket == ticket)
        else {
            return again;
        };
        let repeatable = flight
            .sent
            .as_ref()
            .is_some_and(|sent| sent.chunk.is_some());
        let places = flight.places.get_mut(first..).unwrap_or_default();
        for ((place, index), outcome) in places.iter_mut().zip(first..).zip(outcomes) {
            if !matches!(place, Place::Missing(current) if *current == attempt) {
                continue;
            }
            if repeatable
                && let Err(error) = &outcome
                && let Some(delay) = retry(error)
            {
                let attempt = attempt + 1;
                *place = Place::Missing(attempt);
                again.push(Again {
                    index,
                    attempt,
                    delay,
                });
                continue;
            }
            flight.missing -= 1;
            if self.order.is_some() {
                *place = Place::Here(outcome);
            } else {
                *place = Place::Passed;
                self.ready.push_back(outcome);
            }
        }
        if self.order.is_some() {
            self.pass_in_order();
        } else if flight.missing == 0 {
            self.flights.remove(slot);
        }
        again
    }

    /// Moves the outcomes that are next in order to where they are taken from.
    fn pass_in_order(&mut self) {
        let Some(order) = &mut self.order else {
            return;
        };
        while let Some(next) = order.front() {
            let slot = next.slot();
            let flight = &mut self.flights[slot];
            for place in &mut flight.places[flight.passed..] {
                if !matches!(place, Place::Here(_)) {
                    return;
                }
                if let Place::Here(outcome) = std::mem::replace(place, Place::Passed) {
                    self.ready.push_back(outcome);
                }
                flight.passed += 1;
            }
            self.flights.remove(slot);
            order.pop_front();
        }
    }

    /// Tells every call that was given to an executor by itself that nobody wants it.
    pub(super) fn cancel(&self) {
        let sent = self
            .flights
            .iter()
            .filter_map(|(_, flight)| flight.sent.as_ref());
        for control in sent.flat_map(|sent| &sent.controls) {
            control.interrupt(Interrupt::Cancelled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(window: &mut Window<u32>) -> Vec<u32> {
        std::iter::from_fn(|| window.take_ready())
            .map(Result::unwrap)
            .collect()
    }

    fn land(window: &mut Window<u32>, ticket: Ticket, first: usize, values: &[u32]) {
        let outcomes = values.iter().map(|value| Ok(*value));
        window.land(ticket, first, 1, outcomes, |_| None);
    }

    #[test]
    fn outcomes_are_passed_on_in_order_whichever_way_they_came() {
        let mut window = Window::new(true);
        let (early, late) = (window.open(2, None), window.open(1, None));
        land(&mut window, late, 0, &[3]);
        land(&mut window, early, 1, &[2]);
        assert!(!window.is_ready());
        land(&mut window, early, 0, &[1]);
        assert_eq!(values(&mut window), [1, 2, 3]);
        assert!(window.has_landed());
        assert_eq!(window.under_way(), 0);
    }

    #[test]
    fn what_comes_twice_or_too_late_is_dropped() {
        let mut window = Window::new(false);
        let first = window.open(2, None);
        land(&mut window, first, 0, &[1]);
        land(&mut window, first, 0, &[1]);
        land(&mut window, first, 1, &[2, 9, 9]);
        let second = window.open(1, None);
        assert_eq!(first.slot(), second.slot(), "the slot is used again");
        land(&mut window, first, 0, &[7]);
        assert_eq!(values(&mut window), [1, 2]);
        assert_eq!(window.under_way(), 1);
    }

    #[test]
    fn an_attempt_that_was_given_up_is_not_heard() {
        let sent = Sent {
            first: 0,
            controls: Vec::new(),
            chunk: Some(
                celeriac_core::chunk::ChunkBuilder::new(celeriac_core::ContentType::Json).finish(),
            ),
        };
        let mut window = Window::new(false);
        let ticket = window.open(1, Some(Box::new(sent)));
        let failed = || std::iter::once(Err::<u32, _>(TaskError::cancelled()));
        let again = window.land(ticket, 0, 1, failed(), |_| Some(Duration::ZERO));
        assert_eq!((again[0].index, again[0].attempt), (0, 2));
        land(&mut window, ticket, 0, &[1]);
        assert!(!window.is_ready());
        window.land(ticket, 0, 2, std::iter::once(Ok(5)), |_| None);
        assert_eq!(values(&mut window), [5]);
    }
}
