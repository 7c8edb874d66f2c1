//! Chords in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use celeriac_core::chord::{CLAIM, KEEP_CHORD};
use celeriac_core::message::later;
use celeriac_core::{ChordPart, Joined, StoredResult, TaskId};
use jiff::Timestamp;

/// The chords of one store.
#[derive(Debug, Default)]
pub(super) struct Chords(HashMap<String, Chord>);

#[derive(Debug)]
struct Chord {
    size: Option<u64>,
    /// By place and id; parts without a place come last.
    parts: BTreeMap<(u64, TaskId), StoredResult>,
    claimant: String,
    claimed_until: Timestamp,
    closed: bool,
    expires_at: Timestamp,
}

impl Chords {
    pub(super) fn open(&mut self, group: &str, size: u64, now: Timestamp) {
        self.chord(group, now).size = Some(size);
    }

    pub(super) fn count(
        &mut self,
        claimant: &str,
        parts: Vec<ChordPart>,
        now: Timestamp,
    ) -> Vec<Joined> {
        let groups: BTreeSet<_> = parts.iter().map(|part| part.group.clone()).collect();
        for part in parts {
            self.add(part, now);
        }
        groups
            .into_iter()
            .filter_map(|group| self.join(claimant, group, now))
            .collect()
    }

    pub(super) fn close(&mut self, group: &str, now: Timestamp) {
        let chord = self.chord(group, now);
        chord.closed = true;
        chord.parts.clear();
    }

    fn add(&mut self, part: ChordPart, now: Timestamp) {
        let chord = self.chord(&part.group, now);
        if !chord.closed {
            let key = (part.index.unwrap_or(u64::MAX), part.result.id.clone());
            chord.parts.entry(key).or_insert(part.result);
        }
    }

    fn join(&mut self, claimant: &str, group: String, now: Timestamp) -> Option<Joined> {
        let chord = self.chord(&group, now);
        let complete = chord
            .size
            .is_some_and(|size| chord.parts.len() as u64 >= size);
        let claimed = chord.claimed_until > now && chord.claimant != claimant;
        if chord.closed || !complete || claimed {
            return None;
        }
        chord.claimed_until = later(now, CLAIM);
        claimant.clone_into(&mut chord.claimant);
        Some(Joined {
            group,
            results: chord.parts.values().cloned().collect(),
        })
    }

    /// The chord of `group`, new if there is none; what has expired is dropped on the way.
    fn chord(&mut self, group: &str, now: Timestamp) -> &mut Chord {
        self.0.retain(|_, chord| chord.expires_at > now);
        let chord = self.0.entry(group.to_owned()).or_insert_with(|| Chord {
            size: None,
            parts: BTreeMap::new(),
            claimant: String::new(),
            claimed_until: now,
            closed: false,
            expires_at: now,
        });
        chord.expires_at = later(now, KEEP_CHORD);
        chord
    }
}
