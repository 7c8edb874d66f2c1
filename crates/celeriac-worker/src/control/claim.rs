//! Two workers of one name: which of them stays.
//!
//! A worker that starts says `hello` under its name. Who has the name already answers, and whoever
//! hears that gives way, unless it may share the name. Of two that start together the first stays. One
//! that stops does not answer, so its successor need not wait for its last task.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, warn};
use uuid::Uuid;

use crate::worker::Stopper;

/// How long after its start a worker may be told that its name is taken.
pub(super) const CONTESTED: Duration = Duration::from_secs(5);

/// What can be done about it.
const HELP: &str = "give each worker a name of its own, as `-n NAME@%h` does";

/// A worker's claim to its name. Clones are of the same worker.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    name: String,
    /// What tells this start of a worker from all others; those of later ones sort behind it.
    instance: String,
    shares: bool,
    stopper: Stopper,
    begun: Instant,
}

impl Claim {
    pub(super) fn new(name: &str, shares: bool, stopper: Stopper) -> Self {
        Self {
            name: name.to_owned(),
            instance: Uuid::now_v7().to_string(),
            shares,
            stopper,
            begun: Instant::now(),
        }
    }

    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    /// Whether a worker that starts under this name, as this instance, is told that it is taken.
    /// Celery's name none.
    pub(super) fn stands_against(&self, instance: Option<&str>) -> bool {
        if instance == Some(&self.instance) || self.stopper.was_asked() {
            return false;
        }
        let starts_too = self.begun.elapsed() < CONTESTED;
        if starts_too && !self.shares && instance.is_some_and(|it| *it < *self.instance) {
            self.give_way();
            return false;
        }
        true
    }

    /// Hears that another worker has the name: gives way, or goes on beside it.
    pub(super) fn is_denied(&self) {
        if !self.shares {
            self.give_way();
            return;
        }
        warn!(
            worker = self.name,
            help = HELP,
            "another worker has the same name, and what is asked of it by its name reaches both"
        );
    }

    fn give_way(&self) {
        if !self.stopper.was_asked() {
            let worker = &self.name;
            error!(worker, "another worker has the same name, so this one ends");
            self.stopper.give_way();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(instance: &str, shares: bool) -> Claim {
        Claim {
            instance: instance.to_owned(),
            ..Claim::new("w@box", shares, Stopper::new().0)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_that_start_together_exactly_one_stays() {
        let (first, second) = (claim("a", false), claim("b", false));
        assert!(first.stands_against(Some("b")));
        assert!(!second.stands_against(Some("a")));
        assert!(second.stopper.was_asked() && !first.stopper.was_asked());
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_the_name_keeps_it() {
        let old = claim("b", false);
        tokio::time::advance(CONTESTED).await;
        assert!(old.stands_against(Some("a")) && old.stands_against(None));
        assert!(!old.stands_against(Some("b")), "that is its own voice");
        assert!(!old.stopper.was_asked());
        let new = claim("a", false);
        new.is_denied();
        assert!(new.stopper.was_asked());
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_makes_room() {
        let old = claim("b", false);
        tokio::time::advance(CONTESTED).await;
        old.stopper.shutdown(crate::Shutdown::Warm);
        assert!(!old.stands_against(Some("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn who_shares_its_name_gives_way_to_nobody() {
        let sharing = claim("b", true);
        assert!(sharing.stands_against(Some("a")));
        sharing.is_denied();
        assert!(!sharing.stopper.was_asked());
    }
}
