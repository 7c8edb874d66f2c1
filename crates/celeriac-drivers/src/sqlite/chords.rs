//! Chords as they are stored.

use std::collections::BTreeSet;

use celeriac_core::chord::{CLAIM, KEEP_CHORD};
use celeriac_core::message::later;
use celeriac_core::{ChordPart, Joined, StoredResult, Trail};
use jiff::Timestamp;
use rusqlite::Row;

use super::failure::Failure;
use super::results::{decode_error, decode_state, decode_value, encode_error};
use super::statements;
use super::transaction::Transaction;

/// Where a part stands that has no place of its own.
const LAST: i64 = i64::MAX;

impl Transaction<'_> {
    /// Says how many parts a chord has.
    pub(super) fn open_chord(&mut self, group: &str, size: u64) -> Result<(), Failure> {
        self.keep_chord(group, Timestamp::now())?;
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        self.execute(statements::OPEN_CHORD, (group, size))?;
        Ok(())
    }

    /// Counts parts, and claims the chords that are complete.
    pub(super) fn count_parts(
        &mut self,
        claimant: &str,
        parts: &[ChordPart],
    ) -> Result<Vec<Joined>, Failure> {
        let now = Timestamp::now();
        for part in parts {
            self.keep_chord(&part.group, now)?;
            if self.add_part(part)? {
                self.execute(statements::COUNT_CHORD_PART, [&part.group])?;
            }
        }
        let groups: BTreeSet<_> = parts.iter().map(|part| &part.group).collect();
        let until = later(now, CLAIM).as_millisecond();
        let mut joined = Vec::new();
        for group in groups {
            let claim = (group, now.as_millisecond(), until, claimant);
            if self.execute(statements::CLAIM_CHORD, claim)? > 0 {
                joined.push(Joined {
                    group: group.clone(),
                    results: self.parts(group, now)?,
                });
            }
        }
        Ok(joined)
    }

    /// Ends a chord.
    pub(super) fn close_chord(&mut self, group: &str) -> Result<(), Failure> {
        self.keep_chord(group, Timestamp::now())?;
        self.execute(statements::CLOSE_CHORD, [group])?;
        self.execute(statements::DELETE_CHORD_PARTS, [group])?;
        Ok(())
    }

    /// Drops the chords that have expired.
    pub(super) fn expire_chords(&mut self, now_ms: i64) -> Result<(), Failure> {
        self.execute(statements::EXPIRE_CHORD_PARTS, [now_ms])?;
        self.execute(statements::EXPIRE_CHORDS, [now_ms])?;
        Ok(())
    }

    fn keep_chord(&self, group: &str, now: Timestamp) -> Result<(), Failure> {
        let until = later(now, KEEP_CHORD).as_millisecond();
        self.execute(statements::KEEP_CHORD, (group, until))?;
        Ok(())
    }

    /// Adds a part, unless it is there or the chord is closed, and says whether it did.
    fn add_part(&self, part: &ChordPart) -> Result<bool, Failure> {
        let result = &part.result;
        let place = part.index.and_then(|index| i64::try_from(index).ok());
        let value = result.value.as_ref();
        let added = self.execute(
            statements::ADD_CHORD_PART,
            (
                &part.group,
                result.id.to_string(),
                place.unwrap_or(LAST),
                result.state.as_str(),
                encode_error(result.error.as_ref())?,
                value.map(|value| value.content_type.as_str()),
                value.map(|value| &value.bytes[..]),
            ),
        )?;
        Ok(added > 0)
    }

    fn parts(&self, group: &str, now: Timestamp) -> Result<Vec<StoredResult>, Failure> {
        let mut statement = self.prepare(statements::LIST_CHORD_PARTS)?;
        let mut rows = statement.query([group])?;
        let mut parts = Vec::new();
        while let Some(row) = rows.next()? {
            parts.push(decode(row, now)?);
        }
        Ok(parts)
    }
}

fn decode(row: &Row<'_>, now: Timestamp) -> Result<StoredResult, Failure> {
    let id: String = row.get(0)?;
    let state: String = row.get(1)?;
    Ok(StoredResult {
        id: id.into(),
        task: String::new(),
        state: decode_state(&state, None)?,
        value: decode_value(row, 3)?,
        error: decode_error(row, 2)?,
        attempt: 1,
        stored_at: now,
        expires_at: later(now, KEEP_CHORD),
        trail: Trail::default(),
    })
}
