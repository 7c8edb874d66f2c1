//! Chords: parts counted once, and one who is told that all are there.

use std::sync::Arc;
use std::time::Duration;

use celeriac_core::chord::CLAIM;
use celeriac_core::{ChordPart, ChordStore, ErrorKind, Joined, ResultState, TaskError, TaskId};

use super::backend;
use crate::{Fixture, result, within};

/// The store's chords; `None` if it keeps none, and says so by its port.
async fn chords(fixture: &dyn Fixture) -> Option<Arc<dyn ChordStore>> {
    let broker = fixture.open().await;
    broker.results()?;
    backend(&broker).chords()
}

/// A part that succeeded with the value 1.
fn part(group: &str, id: &str, index: u64) -> ChordPart {
    ChordPart {
        group: group.to_owned(),
        index: Some(index),
        result: result(&TaskId::from(id), ResultState::Success, 1),
    }
}

async fn count(chords: &Arc<dyn ChordStore>, parts: &[ChordPart]) -> Vec<Joined> {
    count_as("worker", chords, parts).await
}

async fn count_as(
    claimant: &str,
    chords: &Arc<dyn ChordStore>,
    parts: &[ChordPart],
) -> Vec<Joined> {
    within(chords.count(claimant, parts.to_vec()))
        .await
        .expect("it counts")
}

async fn open(chords: &Arc<dyn ChordStore>, group: &str, size: u64) {
    within(chords.open(group, size)).await.expect("it opens");
}

fn ids(joined: &Joined) -> Vec<String> {
    let ids = joined.results.iter().map(|result| result.id.to_string());
    ids.collect()
}

/// Whoever counts the last part is told the parts in their places, with their ends.
pub async fn a_chord_is_joined_in_order_when_its_last_part_is_counted(fixture: &dyn Fixture) {
    let Some(chords) = chords(fixture).await else {
        return;
    };
    open(&chords, "g", 3).await;
    open(&chords, "other", 2).await;
    let mut failed = part("g", "b", 1);
    failed.result.state = ResultState::Failure;
    failed.result.value = None;
    failed.result.error = Some(TaskError::failed("shop::ChargeError", "card refused"));
    let last = part("g", "c", 2);
    assert_eq!(
        count(&chords, &[last.clone(), part("other", "x", 0)]).await,
        []
    );
    assert_eq!(count(&chords, std::slice::from_ref(&failed)).await, []);
    let joined = count(&chords, &[part("g", "a", 0)]).await;
    assert_eq!(joined.len(), 1);
    assert_eq!(joined[0].group, "g");
    assert_eq!(ids(&joined[0]), ["a", "b", "c"]);
    assert_eq!(joined[0].results[1].state, ResultState::Failure);
    let error = joined[0].results[1].error.as_ref().expect("it failed");
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert_eq!(error.message(), "card refused");
    assert_eq!(joined[0].results[2].value, last.result.value);
}

/// A message that is delivered again does not complete a chord in another's place.
pub async fn a_part_that_is_counted_twice_counts_once(fixture: &dyn Fixture) {
    let Some(chords) = chords(fixture).await else {
        return;
    };
    open(&chords, "g", 2).await;
    let first = part("g", "a", 0);
    assert_eq!(count(&chords, &[first.clone(), first.clone()]).await, []);
    assert_eq!(count(&chords, &[first]).await, []);
    let joined = count(&chords, &[part("g", "b", 1)]).await;
    assert_eq!(ids(&joined[0]), ["a", "b"]);
}

/// A part may end before the last one was sent.
pub async fn a_chord_may_be_opened_after_some_parts(fixture: &dyn Fixture) {
    let Some(chords) = chords(fixture).await else {
        return;
    };
    assert_eq!(count(&chords, &[part("g", "a", 0)]).await, []);
    open(&chords, "g", 2).await;
    let joined = count(&chords, &[part("g", "b", 1)]).await;
    assert_eq!(ids(&joined[0]), ["a", "b"]);
}

/// Nobody else is told while somebody has the claim, nor anybody ever after the end.
pub async fn a_closed_chord_is_joined_no_more(fixture: &dyn Fixture) {
    let Some(chords) = chords(fixture).await else {
        return;
    };
    open(&chords, "g", 1).await;
    let only = part("g", "a", 0);
    let again = [only.clone(), only.clone()];
    assert_eq!(count(&chords, &again).await.len(), 1);
    assert_eq!(count_as("another", &chords, &again).await, []);
    // The answer may have been lost on its way.
    assert_eq!(count(&chords, &again).await.len(), 1);
    within(chords.close("g")).await.expect("it closes");
    tokio::time::sleep(CLAIM + Duration::from_millis(500)).await;
    assert_eq!(count(&chords, &[only, part("g", "b", 1)]).await, []);
}

/// Who was told and died leaves the chord to the next who counts.
pub async fn a_claim_that_nobody_makes_use_of_lapses(fixture: &dyn Fixture) {
    let Some(chords) = chords(fixture).await else {
        return;
    };
    open(&chords, "g", 1).await;
    let only = part("g", "a", 0);
    assert_eq!(count(&chords, std::slice::from_ref(&only)).await.len(), 1);
    within(async {
        while count_as("another", &chords, std::slice::from_ref(&only))
            .await
            .is_empty()
        {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
}
