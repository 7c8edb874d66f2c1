//! Where a task runs: one grammar for code, command line, configuration and environment.
//!
//! ```text
//! place    = "inline" | "threads" [ "=" N ] | "coroutines" [ "=" N ]
//!          | "processes" [ "=" N ] [ "*coroutines" [ "=" N ] ] | broker
//! broker   = "memory:" | "sqlite:" PATH | SCHEME "://" …
//! ```

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// Where a task runs.
///
/// ```
/// # use celeriac_core::Place;
/// let place: Place = "processes=2*coroutines=100".parse()?;
/// assert_eq!(place.to_string(), "processes=2*coroutines=100");
/// assert!("thread".parse::<Place>().unwrap_err().to_string().contains("did you mean `threads`"));
/// # Ok::<(), celeriac_core::PlaceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the caller.
    Inline,
    /// On so many threads; one per core if not said.
    Threads(Option<NonZeroUsize>),
    /// So many at once on coroutines; 1,000 if not said.
    Coroutines(Option<NonZeroUsize>),
    /// In child processes of this program.
    Processes {
        /// How many children; one per core if not said.
        children: Option<NonZeroUsize>,
        /// So many coroutines at once in each child, instead of one call after another.
        coroutines: Option<NonZeroUsize>,
    },
    /// On workers elsewhere.
    Broker(BrokerUrl),
}

/// How many coroutines run at once if the place does not say.
pub const DEFAULT_COROUTINES: NonZeroUsize = NonZeroUsize::new(1000).expect("it is not zero");

/// The URL of a broker. `Display` and `Debug` mask a password.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl(String);

impl BrokerUrl {
    /// The part before the first colon.
    pub fn scheme(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }

    /// The part after the first colon.
    pub fn rest(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, rest)| rest)
    }

    /// The URL with its password: for drivers only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((scheme, rest)) = self.0.split_once("://")
            && let Some((user_info, host)) = rest.rsplit_once('@')
            && let Some((user, _)) = user_info.split_once(':')
        {
            return write!(formatter, "{scheme}://{user}:**@{host}");
        }
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "BrokerUrl({self})")
    }
}

/// Why a text is no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// No place has this name.
    #[error("there is no place `{place}`{}; use {GRAMMAR}", suggestion(place))]
    Unknown {
        /// What was written.
        place: String,
    },
    /// What follows the `=` is no number from 1.
    #[error("`{number}` is no number of {unit}; write a whole number from 1, as in `{unit}=4`")]
    BadNumber {
        /// What was written.
        number: String,
        /// What was to be counted.
        unit: &'static str,
    },
    /// `inline` or `sqlite` and the like were written with something they do not take.
    #[error("`{place}` does not fit: {reason}")]
    Misfit {
        /// What was written.
        place: String,
        /// Why it does not fit.
        reason: &'static str,
    },
}

const GRAMMAR: &str = "inline, threads[=N], processes[=N], coroutines[=N], \
     processes=P*coroutines=C, or a broker such as sqlite:jobs.db";

fn suggestion(place: &str) -> String {
    let word = place
        .split(['=', '*', ':'])
        .next()
        .unwrap_or(place)
        .to_lowercase();
    let near = match word.as_str() {
        "thread" | "threadpool" | "thread_pool" => "threads",
        "process" | "prefork" | "processpool" | "multiprocessing" | "fork" => "processes",
        "coroutine" | "async" | "asyncio" | "tokio" | "aio" => "coroutines",
        "sync" | "solo" | "here" | "local" => "inline",
        "sqlite3" | "file" | "db" => "sqlite:jobs.db",
        _ => return String::new(),
    };
    format!(", did you mean `{near}`?")
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let place = || text.to_owned();
        if let Some((first, second)) = text.split_once('*') {
            let (Counted::As(children), Counted::As(coroutines)) =
                (counted(first, "processes")?, counted(second, "coroutines")?)
            else {
                return Err(PlaceError::Misfit {
                    place: place(),
                    reason: "only processes hold coroutines, as in `processes=2*coroutines=100`",
                });
            };
            let coroutines = Some(coroutines.unwrap_or(DEFAULT_COROUTINES));
            return Ok(Self::Processes {
                children,
                coroutines,
            });
        }
        if let Counted::As(count) = counted(text, "threads")? {
            return Ok(Self::Threads(count));
        }
        if let Counted::As(count) = counted(text, "coroutines")? {
            return Ok(Self::Coroutines(count));
        }
        if let Counted::As(children) = counted(text, "processes")? {
            return Ok(Self::Processes {
                children,
                coroutines: None,
            });
        }
        match text.split_once(':') {
            _ if text == "inline" => Ok(Self::Inline),
            _ if text.starts_with("inline=") => Err(PlaceError::Misfit {
                place: place(),
                reason: "inline runs in the caller, one call after another, and takes no number",
            }),
            Some(("sqlite", "")) => Err(PlaceError::Misfit {
                place: place(),
                reason: "it needs the path of a file, as in `sqlite:jobs.db`",
            }),
            Some(("sqlite" | "memory", _)) => Ok(Self::Broker(BrokerUrl(place()))),
            Some((scheme, rest))
                if rest.starts_with("//")
                    && !scheme.is_empty()
                    && scheme
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) =>
            {
                Ok(Self::Broker(BrokerUrl(place())))
            }
            _ => Err(PlaceError::Unknown { place: place() }),
        }
    }
}

impl FromStr for BrokerUrl {
    type Err = PlaceError;

    /// Reads a place that must be a broker.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse()? {
            Place::Broker(url) => Ok(url),
            pool => Err(PlaceError::Misfit {
                place: pool.to_string(),
                reason: "it is a pool of this process, and keeps nothing for others",
            }),
        }
    }
}

impl TryFrom<&str> for Place {
    type Error = PlaceError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<String> for Place {
    type Error = PlaceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<&String> for Place {
    type Error = PlaceError;

    fn try_from(text: &String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// What a text says about one unit.
enum Counted {
    /// It is about it, with this number if it gives one.
    As(Option<NonZeroUsize>),
    /// It is about something else.
    No,
}

/// Reads `unit` or `unit=N`.
fn counted(text: &str, unit: &'static str) -> Result<Counted, PlaceError> {
    match text.trim().strip_prefix(unit) {
        Some("") => Ok(Counted::As(None)),
        Some(rest) => match rest.strip_prefix('=') {
            Some(number) => number
                .parse()
                .map(|number| Counted::As(Some(number)))
                .map_err(|_| PlaceError::BadNumber {
                    number: number.to_owned(),
                    unit,
                }),
            None => Ok(Counted::No),
        },
        None => Ok(Counted::No),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counted = |word: &str, count: &Option<NonZeroUsize>| {
            formatter.write_str(word)?;
            count.map_or(Ok(()), |count| write!(formatter, "={count}"))
        };
        match self {
            Self::Inline => formatter.write_str("inline"),
            Self::Threads(count) => counted("threads", count),
            Self::Coroutines(count) => counted("coroutines", count),
            Self::Processes {
                children,
                coroutines,
            } => {
                counted("processes", children)?;
                if coroutines.is_some() {
                    counted("*coroutines", coroutines)
                } else {
                    Ok(())
                }
            }
            Self::Broker(url) => url.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_place_reads_back_as_it_is_written() {
        for text in [
            "inline",
            "threads",
            "threads=8",
            "processes",
            "processes=2",
            "coroutines",
            "coroutines=500",
            "processes=4*coroutines=2500",
            "processes*coroutines=10",
            "sqlite:jobs.db",
            "sqlite:/var/lib/jobs.db",
            "redis://localhost/0",
            "amqp://guest@localhost//",
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_place_is_refused_with_the_remedy() {
        for (text, part) in [
            ("thread", "did you mean `threads`?"),
            ("prefork", "did you mean `processes`?"),
            ("", "use inline, threads"),
            ("threads=0", "`0` is no number of threads"),
            ("threads=many", "write a whole number from 1"),
            ("threads=", "`` is no number"),
            ("inline=2", "takes no number"),
            ("threads=2*coroutines=3", "only processes hold coroutines"),
            ("sqlite:", "needs the path"),
            ("C:\\jobs", "there is no place"),
        ] {
            let error = text.parse::<Place>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_is_masked() {
        let place: Place = "redis://user:sec:ret@host:6379/0".parse().unwrap();
        for shown in [place.to_string(), format!("{place:?}")] {
            assert!(shown.contains("redis://user:**@host:6379/0"), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            if let Ok(place) = text.parse::<Place>() {
                let _ = place.to_string();
            }
        }
    }
}
