//! What was decided and is not done yet, in the order in which it is done.

use celeriac_core::{
    Destination, EncodedResult, ErrorKind, Message, ResultState, Settlement, StoredResult,
    TaskError,
};
use celeriac_wire::canvas::{Follow, Part};

/// The most settlements in one batch.
const MOST: usize = 1000;

/// A complete chord, and what follows from it.
#[derive(Debug)]
pub(crate) struct Complete {
    /// The part that was counted last.
    pub(crate) last: Part,
    pub(crate) follow: Follow,
    /// Whether its body was given up.
    pub(crate) abandoned: bool,
}

/// A result that a runtime told.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) result: EncodedResult,
    /// The delivery that it ends, if that is not settled yet: what another worker has by now is its to end.
    pub(crate) unsettled: Option<i64>,
}

/// Chords to open, results to store, parts to count, messages to publish, deliveries to settle.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) opened: Vec<(String, u64)>,
    pub(crate) results: Vec<StoredResult>,
    /// Results of a runtime, in the order in which it told them.
    pub(crate) encoded: Vec<Told>,
    pub(crate) parts: Vec<Part>,
    /// Chords that are complete.
    pub(crate) joined: Vec<Complete>,
    pub(crate) messages: Vec<(Destination, Message)>,
    pub(crate) settlements: Vec<Settlement>,
}

impl Batch {
    pub(crate) fn len(&self) -> usize {
        let results = self.results.len() + self.encoded.len();
        let recorded = self.opened.len() + results + self.parts.len();
        recorded + self.joined.len() + self.messages.len() + self.settlements.len()
    }

    /// Adds what follows from an outcome, but for its messages.
    pub(crate) fn follow(&mut self, follow: Follow) {
        self.opened.extend(follow.opened);
        self.results.extend(follow.results);
        self.parts.extend(follow.parts);
    }

    /// At most [`MOST`] settlements from the front, and everything that may precede them.
    pub(crate) fn split(&mut self) -> Self {
        let rest = self.settlements.split_off(self.settlements.len().min(MOST));
        std::mem::replace(
            self,
            Self {
                settlements: rest,
                ..Self::default()
            },
        )
    }

    /// A single settlement with a failure in the place of its value, which the store refuses because of
    /// `reason`; nothing if there is no value, or more follows from it.
    pub(crate) fn without_value(mut self, reason: &str) -> Option<Self> {
        let [settlement] = &mut self.settlements[..] else {
            return None;
        };
        let result = settlement.result.as_mut()?;
        if !settlement.follow_ups.is_empty() || result.value.take().is_none() {
            return None;
        }
        result.state = ResultState::Failure;
        result.error = Some(TaskError::new(
            ErrorKind::BadResult,
            format!("its value cannot be stored: {reason}"),
        ));
        Some(self)
    }

    /// A batch for each item, to find the one that the store refuses.
    pub(crate) fn singles(self) -> impl Iterator<Item = Self> {
        let mut singles = Vec::new();
        let mut add = |change: &dyn Fn(&mut Self)| {
            let mut single = Self::default();
            change(&mut single);
            singles.push(single);
        };
        for it in &self.opened {
            add(&|single| single.opened.push(it.clone()));
        }
        for it in &self.results {
            add(&|single| single.results.push(it.clone()));
        }
        for it in &self.encoded {
            add(&|single| single.encoded.push(it.clone()));
        }
        for it in &self.parts {
            add(&|single| single.parts.push(it.clone()));
        }
        for it in &self.messages {
            add(&|single| single.messages.push(it.clone()));
        }
        for it in &self.settlements {
            add(&|single| single.settlements.push(it.clone()));
        }
        let joined = self.joined.into_iter().map(|joined| Self {
            joined: vec![joined],
            ..Self::default()
        });
        joined.collect::<Vec<_>>().into_iter().chain(singles)
    }
}
