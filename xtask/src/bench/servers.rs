//! The servers that some measures talk to; they run while such measures do, and disturb no others.

use std::path::Path;

use crate::Result;
use crate::interrupts::Interrupts;
use crate::peers::{self, Peers, Variables};

/// Servers that can be started.
pub(super) struct Servers<'a> {
    /// Where things may be kept for the next run.
    target: &'a Path,
    interrupts: &'a Interrupts,
    running: Option<(Peers, Variables)>,
}

impl<'a> Servers<'a> {
    /// None runs yet.
    pub(super) fn new(target: &'a Path, interrupts: &'a Interrupts) -> Self {
        Self {
            target,
            interrupts,
            running: None,
        }
    }

    /// Starts them if they are `needed` and do not run, and ends them if they are not needed.
    pub(super) fn arrange(&mut self, needed: bool) -> Result {
        if !needed {
            self.running = None;
        } else if self.running.is_none() {
            let peers = Peers::start(self.target);
            let variables = peers.ready(self.interrupts)?;
            self.running = Some((peers, variables));
        }
        Ok(())
    }

    /// What tells a side where they are, with nothing stored in Redis; nothing if they do not run.
    pub(super) fn emptied(&self) -> Result<Variables> {
        let Some((_, variables)) = &self.running else {
            return Ok(Variables::new());
        };
        peers::empty_redis(variables)?;
        Ok(variables.clone())
    }
}
