//! What processes say.

use std::time::Instant;

use super::Reactor;
use super::waiting::Source;
use crate::channel::Received;
use crate::packet::Junk;
use crate::pool::death::Doom;
use crate::pool::process::Process;

/// So many packets are read from one process before others are heard.
const MOST_PACKETS: usize = 32;

impl Reactor {
    pub(super) fn on_event(&mut self, source: Source, now: Instant) {
        match source {
            Source::Bell => {}
            Source::Control => self.on_control(now),
            Source::Server => self.on_server_death(now),
            Source::Channel(number) => self.on_packets(number, now),
            Source::Death(number) => self.on_death(number, now),
        }
    }

    pub(super) fn process_mut(&mut self, number: u64) -> Option<&mut Process> {
        if self.desk.has(number) {
            return self.desk.process.as_mut();
        }
        let mut children = self.children.iter_mut().map(|child| &mut child.process);
        children.find(|process| process.number == number)
    }

    fn on_packets(&mut self, number: u64, now: Instant) {
        if self.desk.has(number) {
            self.hear_service();
            return;
        }
        let mut children = self.children.iter();
        if let Some(index) = children.position(|child| child.process.number == number) {
            self.hear_child(index, now);
        }
    }

    fn on_death(&mut self, number: u64, now: Instant) {
        if let Some(process) = self.process_mut(number) {
            process.has_died(now);
        }
        let children = self.children.iter().map(|child| &child.process);
        let mut processes = children.chain(&self.desk.process);
        if let Some(pidfd) = processes
            .find(|process| process.number == number)
            .and_then(Process::pidfd)
        {
            // It stays readable, and has said all it can.
            self.waiting.forget(pidfd);
        }
    }

    /// Reads what a child has said; true if there may be more.
    pub(super) fn hear_child(&mut self, index: usize, now: Instant) -> bool {
        let child = &mut self.children[index];
        let was_leaving = child.leaving;
        for _ in 0..MOST_PACKETS {
            let heard = match child.process.channel.receive(&mut self.buffer) {
                Ok(Received::Nothing) => return false,
                // What one that we kill says is not true any more.
                Ok(Received::Packet(_)) if child.process.doom.is_some() => Ok(()),
                Ok(Received::Packet(packet)) => child.hear(packet, &mut self.books, now),
                Err(junk) => Err(junk),
            };
            if let Err(Junk(junk)) = heard {
                tracing::error!(junk, "a child sent junk and is killed");
                child.process.kill(Doom::Junk(junk));
            }
            if child.leaving && !was_leaving {
                let calls = child.take_back(&mut self.buffer);
                (child.leaving, child.told_to_leave) = (true, true);
                child.process.expect_exit(now);
                self.requeue(calls);
                return true;
            }
        }
        true
    }

    pub(super) fn hear_service(&mut self) -> bool {
        for _ in 0..MOST_PACKETS {
            let Some(process) = &mut self.desk.process else {
                return false;
            };
            let heard = match process.channel.receive(&mut self.buffer) {
                Ok(Received::Nothing) => return false,
                Ok(Received::Packet(_)) if process.doom.is_some() => Ok(()),
                Ok(Received::Packet(packet)) => self.desk.hear(packet, &self.books),
                Err(junk) => Err(junk),
            };
            if let Err(Junk(junk)) = heard
                && let Some(process) = &mut self.desk.process
            {
                tracing::error!(junk, "the service process sent junk and is killed");
                process.kill(Doom::Junk(junk));
            }
        }
        true
    }
}
