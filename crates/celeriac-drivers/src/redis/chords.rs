//! Chords under the keys of Celery 5.7, counted together with its workers.
//!
//! # Sources
//!
//! What the keys hold follows the captures in `spec/celery/followups-redis`. Older versions of Celery
//! know no marks and no claim; they and we meet in the parts and their number.

use celeriac_core::chord::{CLAIM, KEEP_CHORD};
use celeriac_core::message::later;
use celeriac_core::{
    ChordPart, ErrorKind, Joined, ResultState, StoredResult, TaskError, TaskId, Trail,
};
use celeriac_wire::result;
use jiff::Timestamp;

use super::failure::Failure;
use super::link::Call;
use super::scripts;
use super::settle::EncodedResult;
use super::store::Inner;

/// How long the end of a chord is remembered, in seconds.
const REMEMBER_S: u64 = 60 * 60;

/// Says how many parts a chord has.
pub(super) async fn open(inner: &Inner, group: &str, size: u64) -> Result<(), Failure> {
    let base = inner.keys.chord(group);
    let mut commands = redis::pipe();
    commands
        .atomic()
        .cmd("DEL")
        .arg(format!("{base}.c"))
        .ignore()
        .cmd("SET")
        .arg(format!("{base}.s"))
        .arg(size)
        .arg("EX")
        .arg(KEEP_CHORD.as_secs())
        .ignore();
    inner.link.pipeline(commands).await
}

/// Counts parts, and claims the chords that are complete.
pub(super) async fn count(
    inner: &Inner,
    claimant: &str,
    mut parts: Vec<ChordPart>,
) -> Result<Vec<Joined>, Failure> {
    parts.sort_by(|a, b| a.group.cmp(&b.group));
    let mut joined = Vec::new();
    for parts in parts.chunk_by(|a, b| a.group == b.group) {
        let group = &parts[0].group;
        let mut call = Call::new(&scripts::COUNT_PARTS, inner.keys.script());
        call.arg(inner.keys.chord(group))
            .arg(claimant)
            .arg(KEEP_CHORD.as_secs())
            .arg(CLAIM.as_secs());
        for part in parts {
            let score = part
                .index
                .map_or("+inf".to_owned(), |index| index.to_string());
            call.arg(format!("{}:{score}", part.result.id))
                .arg(score)
                .arg(EncodedResult::part(&part.result, inner.settings.results));
        }
        let texts: Vec<Vec<u8>> = inner.link.run(call).await?;
        if !texts.is_empty() {
            let now = Timestamp::now();
            joined.push(Joined {
                group: group.clone(),
                results: texts.iter().map(|text| read(text, now)).collect(),
            });
        }
    }
    Ok(joined)
}

/// Ends a chord.
pub(super) async fn close(inner: &Inner, group: &str) -> Result<(), Failure> {
    let mut call = Call::new(&scripts::CLOSE_CHORD, inner.keys.script());
    call.arg(inner.keys.chord(group)).arg(REMEMBER_S);
    inner.link.run(call).await
}

/// What a part says; one that cannot be read has failed.
fn read(text: &[u8], now: Timestamp) -> StoredResult {
    result::decode_part(text, now).unwrap_or_else(|error| StoredResult {
        id: TaskId::from(""),
        task: String::new(),
        state: ResultState::Failure,
        value: None,
        error: Some(TaskError::new(
            ErrorKind::NoResult,
            format!("the result of a part cannot be read: {error}"),
        )),
        attempt: 1,
        stored_at: now,
        expires_at: later(now, KEEP_CHORD),
        trail: Trail::default(),
    })
}
