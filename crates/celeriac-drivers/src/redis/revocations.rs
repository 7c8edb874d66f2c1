//! The calls that were revoked, as one consumer has heard of them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use celeriac_core::TaskId;

use super::failure::Failure;
use super::keys::Keys;
use super::link::Link;

/// How many revoked calls are remembered: twice as many as Celery does.
pub(super) const MOST: usize = 100_000;

/// For how long: three hours, as Celery does.
pub(super) const AGE_US: u64 = 3 * 60 * 60 * 1_000_000;

/// How many are asked for at once.
const AT_ONCE: usize = 1000;

/// What is heard of revoked calls.
#[derive(Debug, Default)]
pub(super) struct Revocations(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Up to here everything was heard.
    cursor: f64,
    /// Whatever is older is no news.
    begin: f64,
    known: HashMap<TaskId, f64>,
    to_tell: VecDeque<TaskId>,
}

impl Revocations {
    /// Only what comes after `score` is news.
    pub(super) fn starting_at(score: f64) -> Self {
        Self(Mutex::new(State {
            begin: score,
            ..State::default()
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether everything up to `score` was heard.
    pub(super) fn covers(&self, score: f64) -> bool {
        self.lock().cursor >= score
    }

    /// Whether a call was revoked, as far as was heard.
    pub(super) fn contains(&self, id: &TaskId) -> bool {
        let state = self.lock();
        !state.known.is_empty() && state.known.contains_key(id)
    }

    /// Hears what is new.
    pub(super) async fn catch_up(&self, link: &Link, keys: &Keys) -> Result<(), Failure> {
        loop {
            let from = self.lock().cursor;
            let mut ask = redis::cmd("ZRANGEBYSCORE");
            ask.arg(keys.own("revoked"))
                .arg(format!("({from:.0}"))
                .arg("+inf")
                .arg("WITHSCORES");
            ask.arg("LIMIT").arg(0).arg(AT_ONCE);
            let news: Vec<(String, f64)> = link.command(ask).await?;
            let is_all = news.len() < AT_ONCE;
            self.lock().hear(news);
            if is_all {
                return Ok(());
            }
        }
    }

    /// What was not told yet. Nothing is forgotten before it is told.
    pub(super) fn tell(&self) -> Vec<TaskId> {
        self.lock().to_tell.drain(..).collect()
    }
}

impl State {
    fn hear(&mut self, news: Vec<(String, f64)>) {
        for (entry, score) in news {
            // Somebody else may have asked at the same time.
            if score <= self.cursor {
                continue;
            }
            self.cursor = score;
            let Some(id) = entry.get(1..) else { continue };
            if entry.starts_with('!') && score > self.begin {
                self.to_tell.push_back(id.into());
            }
            self.known.insert(id.into(), score);
        }
        if self.known.len() > 2 * MOST {
            let mut scores: Vec<f64> = self.known.values().copied().collect();
            scores.sort_by(f64::total_cmp);
            let oldest = scores[scores.len() - MOST];
            self.known.retain(|_, score| *score >= oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_is_known_and_no_news() {
        let revocations = Revocations::starting_at(5.0);
        let entry = |text: &str, score| (text.to_owned(), score);
        let news = vec![entry("!old", 5.0), entry("-quiet", 6.0), entry("!new", 7.0)];
        revocations.lock().hear(news.clone());
        revocations.lock().hear(news);
        assert_eq!(revocations.tell(), [TaskId::from("new")]);
        for id in ["old", "quiet", "new"] {
            assert!(revocations.contains(&id.into()), "{id}");
        }
        assert!(revocations.covers(7.0) && !revocations.covers(8.0));
    }

    #[test]
    fn only_the_newest_are_remembered() {
        let revocations = Revocations::starting_at(0.0);
        let many = (1..=2 * MOST + 1).map(|n| {
            #[allow(clippy::cast_precision_loss, reason = "it is small")]
            (format!("-{n}"), n as f64)
        });
        revocations.lock().hear(many.collect());
        assert!(!revocations.contains(&"1".into()));
        let last = (2 * MOST + 1).to_string();
        assert!(revocations.contains(&last.as_str().into()));
    }
}
