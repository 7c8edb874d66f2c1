//! The pool that a worker runs its calls on: `--pool` and what shapes it.

use std::num::NonZeroUsize;
use std::sync::Arc;

use celeriac_core::{Executor, Place};
use clap::Args;

use super::exit::{Exit, Failure};

/// The pool as it is asked for.
#[derive(Debug, Args)]
pub(super) struct PoolArgs {
    /// What calls run on: threads, processes, coroutines, processes*coroutines, or inline, which
    /// is one thread here
    #[arg(long, short = 'P', value_name = "PLACE", default_value = "processes")]
    pool: String,
    /// How many threads, processes or coroutines [default: one per core; 1,000 coroutines]
    #[arg(long, short = 'c', value_name = "N")]
    concurrency: Option<NonZeroUsize>,
}

impl PoolArgs {
    /// The place that is meant.
    pub(super) fn place(&self) -> Result<Place, Failure> {
        let twice = || {
            let message = format!(
                "`{}` says already how many, and --concurrency too",
                self.pool
            );
            Failure::new(Exit::Usage, message).help("give the number once")
        };
        let number = |said: Option<NonZeroUsize>| match (said, self.concurrency) {
            (Some(_), Some(_)) => Err(twice()),
            (said, wanted) => Ok(said.or(wanted)),
        };
        Ok(match self.pool.parse()? {
            // The caller is the dispatcher here, and it must go on answering.
            Place::Inline => {
                if self.concurrency.is_some_and(|count| count.get() > 1) {
                    let failure = Failure::new(Exit::Usage, "inline runs one call after another");
                    return Err(failure.help("use `--pool threads` to run several at once"));
                }
                Place::Threads(Some(NonZeroUsize::MIN))
            }
            Place::Threads(count) => Place::Threads(number(count)?),
            Place::Coroutines(count) => Place::Coroutines(number(count)?),
            Place::Processes {
                children,
                coroutines,
            } => Place::Processes {
                children: number(children)?,
                coroutines,
            },
            place @ Place::Broker(_) => {
                let message = format!("`{place}` is a broker, and no pool");
                let help =
                    "name the broker with --on, and a pool such as `processes=4` with --pool";
                return Err(Failure::new(Exit::Usage, message).help(help));
            }
        })
    }
}

/// Starts the pool.
pub(super) fn open(place: &Place) -> Result<Arc<dyn Executor>, Failure> {
    Ok(celeriac_executor::open(place)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(pool: &str, concurrency: Option<usize>) -> Result<String, String> {
        let args = PoolArgs {
            pool: pool.to_owned(),
            concurrency: concurrency.and_then(NonZeroUsize::new),
        };
        match args.place() {
            Ok(place) => Ok(place.to_string()),
            Err(failure) => Err(failure.to_string()),
        }
    }

    #[test]
    fn the_concurrency_is_the_number_of_the_place() {
        for (pool, concurrency, meant) in [
            ("threads", Some(4), "threads=4"),
            ("threads=2", None, "threads=2"),
            ("processes", Some(2), "processes=2"),
            (
                "processes*coroutines=10",
                Some(3),
                "processes=3*coroutines=10",
            ),
            ("coroutines", Some(9), "coroutines=9"),
            ("inline", None, "threads=1"),
        ] {
            assert_eq!(place(pool, concurrency).unwrap(), meant);
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (pool, concurrency, reason) in [
            ("threads=2", Some(4), "says already how many"),
            ("inline", Some(2), "one call after another"),
            ("sqlite:x.db", None, "is a broker, and no pool"),
            ("prefork", None, "did you mean `processes`?"),
        ] {
            let error = place(pool, concurrency).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
