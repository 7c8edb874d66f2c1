//! The port of what counts the parts of chords.
//!
//! # Sources
//!
//! Counting by task id and the claim on a complete chord follow Celery 5.7's Redis backend.

use std::fmt;
use std::time::Duration;

use crate::BoxFuture;
use crate::broker::BrokerError;
use crate::results::StoredResult;

/// How long one who was told that a chord is complete has to close it before another is told.
pub const CLAIM: Duration = Duration::from_secs(6);

/// How long a chord is remembered after its last part, or after its end.
pub const KEEP_CHORD: Duration = Duration::from_secs(24 * 60 * 60);

/// A part of a chord that has come to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct ChordPart {
    /// The id of the chord's group.
    pub group: String,
    /// Its place among the parts; those without one come last.
    pub index: Option<u64>,
    /// Its final state. Only id, state, value and error are kept.
    pub result: StoredResult,
}

/// A chord all of whose parts have come to their end.
#[derive(Debug, Clone, PartialEq)]
pub struct Joined {
    /// The id of the chord's group.
    pub group: String,
    /// The parts in their places.
    pub results: Vec<StoredResult>,
}

/// Counts the parts of chords.
///
/// A part is known by its task id, so one that is counted twice counts once.
pub trait ChordStore: fmt::Debug + Send + Sync {
    /// Says how many parts the chord of `group` has. Parts that were counted before count.
    ///
    /// Called before the last part is published, so that the last one to be counted always finds the
    /// size.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    fn open<'a>(&'a self, group: &'a str, size: u64) -> BoxFuture<'a, Result<(), BrokerError>>;

    /// Counts `parts`, each durably, and tells `claimant` which of their chords are complete.
    ///
    /// Who is told has the claim on the chord for [`CLAIM`]: it publishes the body, or stores the
    /// chord's failure, and then calls [`close`](Self::close). Nobody else is told meanwhile, but
    /// the same claimant is told again if it counts a part again, in case the answer was lost. If
    /// the claim lapses, the next one who counts a part, even one counted before, is told.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; each part is then counted or not, and may be counted again.
    fn count<'a>(
        &'a self,
        claimant: &'a str,
        parts: Vec<ChordPart>,
    ) -> BoxFuture<'a, Result<Vec<Joined>, BrokerError>>;

    /// Ends the chord of `group`: its parts are forgotten, and those counted later count for nothing.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    fn close<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<(), BrokerError>>;
}
