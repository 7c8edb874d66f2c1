//! The places for chunks in a child, and what is in them.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};

use super::super::credit::Load;
use super::flight::Flight;

/// The seats of one child.
pub(super) struct Seats {
    flights: Vec<Option<Flight>>,
    free: Vec<u32>,
    /// Those taken, in the order they were filled.
    order: VecDeque<u32>,
    serial: u32,
    nonces: RandomState,
    load: Load,
}

/// A seat that was set aside for a chunk, and the names the chunk has there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reserved {
    pub(super) seat: u32,
    pub(super) serial: u32,
    pub(super) nonce: u64,
}

impl Seats {
    pub(super) fn new(count: usize) -> Self {
        let last = u32::try_from(count).expect("pools are checked to be small");
        Self {
            flights: (0..count).map(|_| None).collect(),
            free: (0..last).rev().collect(),
            order: VecDeque::new(),
            serial: 0,
            nonces: RandomState::new(),
            load: Load::default(),
        }
    }

    pub(super) fn load(&self) -> Load {
        self.load
    }

    pub(super) fn are_taken(&self) -> bool {
        self.free.is_empty()
    }

    /// Sets a seat aside; there has to be one.
    pub(super) fn reserve(&mut self) -> Reserved {
        let seat = self.free.pop().expect("it has room");
        self.serial += 1;
        Reserved {
            seat,
            serial: self.serial,
            nonce: self.nonces.hash_one(self.serial),
        }
    }

    /// Nothing comes into the seat after all.
    pub(super) fn give_back(&mut self, reserved: Reserved) {
        self.free.push(reserved.seat);
    }

    /// Puts a chunk into its seat.
    pub(super) fn fill(&mut self, seat: u32, flight: Flight) {
        self.load.chunks += 1;
        self.load.calls += flight.job.chunk.len();
        self.load.alone += usize::from(flight.alone);
        self.load.cost_ns += flight.cost_ns;
        self.order.push_back(seat);
        self.flights[seat as usize] = Some(flight);
    }

    /// Takes the chunk out of a seat, of which `left` calls have no outcome.
    pub(super) fn empty(&mut self, seat: u32, left: usize) -> Option<Flight> {
        let flight = self.flights[seat as usize].take()?;
        self.load.chunks -= 1;
        self.load.calls -= left;
        self.load.alone -= usize::from(flight.alone);
        self.load.cost_ns -= flight.cost_ns;
        self.free.push(seat);
        match self.order.front() {
            Some(&front) if front == seat => {
                self.order.pop_front();
            }
            _ => self.order.retain(|&other| other != seat),
        }
        Some(flight)
    }

    /// Calls have got their outcome.
    pub(super) fn answered(&mut self, calls: usize) {
        self.load.calls -= calls;
    }

    /// The chunk in a seat; there may be no such seat.
    pub(super) fn get(&self, seat: u32) -> Option<&Flight> {
        self.flights.get(seat as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, seat: u32) -> Option<&mut Flight> {
        self.flights.get_mut(seat as usize)?.as_mut()
    }

    /// The taken seats, in the order they were filled.
    pub(super) fn taken(&self) -> Vec<u32> {
        self.order.iter().copied().collect()
    }

    /// The chunks, in the order they were sent.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Flight> {
        self.order.iter().filter_map(|&seat| self.get(seat))
    }

    /// The chunk that was sent first.
    pub(super) fn front(&self) -> Option<&Flight> {
        self.get(*self.order.front()?)
    }

    /// All that is left, with its seats, in order.
    pub(super) fn into_flights(mut self) -> Vec<(u32, Flight)> {
        let order = std::mem::take(&mut self.order);
        let seats = order.into_iter();
        seats
            .filter_map(|seat| Some((seat, self.flights[seat as usize].take()?)))
            .collect()
    }
}
