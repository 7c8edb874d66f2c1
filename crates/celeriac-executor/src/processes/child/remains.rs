//! What a dead child leaves.

use std::process::ExitStatus;

use super::super::arena::{Arena, Running};
use super::super::credit::Pace;
use super::super::death::Doom;
use super::super::job::Job;
use super::Child;
use super::flight::Flight;

/// How it died, and what it held.
pub(in crate::processes) struct Remains {
    pub(in crate::processes) status: Option<ExitStatus>,
    pub(in crate::processes) noted: u64,
    pub(in crate::processes) greeted: bool,
    pub(in crate::processes) doom: Option<Doom>,
    pub(in crate::processes) expected: bool,
    fresh: bool,
    lanes: Vec<Running>,
    arena: Arena,
    flights: Vec<(u32, Flight)>,
}

impl Child {
    /// After its death: reaps it, and takes what it left in the socket and in the black box.
    pub(in crate::processes) fn bury(
        mut self,
        scratch: &mut [u8],
        paces: &mut [Pace],
        now: u64,
    ) -> Remains {
        let status = self.process.reap();
        if !matches!(self.doom, Some(Doom::Junk(_))) {
            let doom = self.doom.take();
            self.receive(scratch, paces, now);
            if self.doom.is_none() {
                self.stream.recover(&self.arena);
                self.answer(paces);
            }
            self.doom = doom.or(self.doom);
        }
        Remains {
            status,
            noted: self.arena.board().cause(),
            greeted: self.process.pid().is_some(),
            doom: self.doom,
            expected: self.hung_up,
            fresh: self.fresh,
            lanes: self.arena.board().lanes().collect(),
            arena: self.arena,
            flights: self.seats.into_flights(),
        }
    }
}

impl Remains {
    /// Gives the running calls their verdict and returns what is still to be run.
    pub(in crate::processes) fn settle(self, cause: &str) -> Vec<Job> {
        let victims: Vec<Vec<usize>> = self
            .flights
            .iter()
            .map(|(seat, flight)| flight.victims(*seat, &self.arena, &self.lanes))
            .collect();
        // If it never ran a call, the first one it was given may be what it cannot take.
        let mut suspect = self.fresh && victims.iter().all(Vec::is_empty);
        let mut rest = Vec::new();
        for ((_, flight), victims) in self.flights.into_iter().zip(victims) {
            let suspect = std::mem::take(&mut suspect);
            rest.extend(flight.land(&victims, suspect, self.doom.as_ref(), cause));
        }
        rest
    }
}
