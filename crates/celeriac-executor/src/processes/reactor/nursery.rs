//! Where children are started, and when it is no use any more.

use std::io;
use std::num::NonZeroUsize;

use super::super::ProcessSettings;
use super::super::arena::Shape;
use super::super::child::Child;
use super::super::clock;
use super::super::credit::MOST_CHUNKS;
use super::super::setup::Setup;

/// How long to wait before another child is started after one was lost so early.
const RETRY_AFTER_NS: u64 = 100_000_000;

/// So many children in a row may die before they are ready.
const MOST_STILLBORN: u32 = 3;

/// How children are started, and how that has gone.
pub(super) struct Nursery {
    settings: ProcessSettings,
    setup: Setup,
    stillborn: u32,
    /// When the next child may be started, after one was lost before it was ready.
    retry_at: Option<u64>,
    /// Why no child can be started any more.
    broken: Option<String>,
}

impl Nursery {
    pub(super) fn new(settings: ProcessSettings) -> Self {
        let lanes = settings.coroutines.map_or(1, NonZeroUsize::get);
        Self {
            setup: Setup {
                shape: Shape {
                    lanes,
                    seats: lanes.max(MOST_CHUNKS),
                },
                coroutines: settings.coroutines.is_some(),
                body_limit: settings.body_limit_bytes,
            },
            settings,
            stillborn: 0,
            retry_at: None,
            broken: None,
        }
    }

    /// One of the first children.
    pub(super) fn start(&self) -> io::Result<Child> {
        Child::spawn(self.setup, &self.settings)
    }

    /// A child for one that was lost; none while there is no hope of one.
    pub(super) fn replace(&mut self, now: u64) -> Option<Child> {
        if self.broken.is_some() || self.retry_at.is_some_and(|at| at > now) {
            return None;
        }
        self.retry_at = None;
        match self.start() {
            Ok(child) => Some(child),
            Err(error) => {
                self.stillbirth(&format!("it could not be started: {error}"));
                None
            }
        }
    }

    /// A child was lost before it was ready; too many in a row end the pool.
    pub(super) fn stillbirth(&mut self, cause: &str) {
        self.stillborn += 1;
        self.retry_at = Some(clock::now() + RETRY_AFTER_NS);
        tracing::warn!(
            cause,
            "a child of the process pool was lost before it was ready"
        );
        if self.stillborn >= MOST_STILLBORN && self.broken.is_none() {
            self.broken = Some(format!(
                "the process pool has no children: {MOST_STILLBORN} in a row were lost before \
                 they were ready; the last: {cause}"
            ));
            self.retry_at = None;
        }
    }

    /// A child is ready.
    pub(super) fn birth(&mut self) {
        self.stillborn = 0;
    }

    /// When another child may be started, if that is later than `now`.
    pub(super) fn retry_at(&self, now: u64) -> Option<u64> {
        self.retry_at.filter(|&at| at > now)
    }

    /// Why no child can be started any more.
    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }
}
