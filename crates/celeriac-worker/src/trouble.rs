//! What is wrong with the broker, told once rather than with every try.

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use celeriac_core::BrokerError;
use tokio::time::Instant;
use tracing::{debug, warn};

/// Who looks into the log later finds the same again after this long.
const REMIND: Duration = Duration::from_secs(60);

/// The most different things that are remembered, lest a text that is new each time fills the memory.
const MOST: usize = 32;

/// What was told of the broker since it last did what it was asked.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    told: Vec<(String, Instant)>,
}

impl Trouble {
    /// Warns of `what`, with the remedy, unless the same error was told a short while ago: several
    /// parts of a worker meet it, and each tries again every few seconds.
    pub(crate) fn tell(&mut self, what: &'static str, error: &BrokerError) {
        let text = whole(error);
        if self.is_news(&text, Instant::now()) {
            let help = error.help();
            warn!(error = text, help, "{what}");
        } else {
            debug!(error = text, "{what}");
        }
    }

    /// The broker did what it was asked: the next trouble is another one.
    pub(crate) fn over(&mut self) {
        self.told.clear();
    }

    /// Whether `text` is to be told now, which is noted.
    fn is_news(&mut self, text: &str, now: Instant) -> bool {
        self.told.retain(|(_, at)| now - *at < REMIND);
        if self.told.len() >= MOST || self.told.iter().any(|(told, _)| told == text) {
            return false;
        }
        self.told.push((text.to_owned(), now));
        true
    }
}

/// An error with all its causes, in one line.
fn whole(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a text cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use celeriac_core::Cause;

    #[test]
    fn the_same_is_told_once_a_minute_and_anew_after_it_was_over() {
        let start = Instant::now();
        let mut trouble = Trouble::default();
        let mut news = |text, seconds| trouble.is_news(text, start + Duration::from_secs(seconds));
        let told = [news("a", 0), news("a", 1), news("b", 2), news("a", 59)];
        assert_eq!(told, [true, false, true, false]);
        assert!(news("a", 60) && !news("a", 119));
        trouble.over();
        assert!(trouble.is_news("a", start + Duration::from_secs(120)));
    }

    #[test]
    fn texts_that_are_new_each_time_do_not_flood_the_log() {
        let now = Instant::now();
        let mut trouble = Trouble::default();
        let told = (0..1000).filter(|n| trouble.is_news(&n.to_string(), now));
        assert_eq!(told.count(), MOST);
    }

    #[test]
    fn an_error_is_one_line_with_its_causes() {
        let error = BrokerError::Unavailable {
            address: "redis://h:1".to_owned(),
            source: Box::new(Cause {
                reason: "the server answers LOADING".to_owned(),
                help: "wait".to_owned(),
            }),
        };
        let line = "broker at redis://h:1 is unavailable: the server answers LOADING";
        assert_eq!(whole(&error), line);
        assert_eq!(error.help().unwrap(), "wait");
    }
}
