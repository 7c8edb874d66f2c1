//! The pool that a worker runs its calls on: `--pool` and what shapes it.

use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;

use celeriac_core::{Executor, Place};
use celeriac_executor::processes::ProcessSettings;
use clap::Args;

use super::exit::{Exit, Failure};
use super::size::size_bytes;

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
    /// Replaces a child process after so many calls
    #[arg(long, value_name = "N")]
    max_tasks_per_child: Option<NonZeroU64>,
    /// Replaces a child process that holds more than this after a call: 200M, 2G; in KiB without a
    /// unit
    #[arg(long, value_name = "SIZE", value_parser = size_bytes)]
    max_memory_per_child: Option<NonZeroU64>,
    /// Kills a child process that holds more than this, while its call runs
    #[arg(long, value_name = "SIZE", value_parser = size_bytes)]
    memory_cap: Option<NonZeroU64>,
}

impl PoolArgs {
    /// The limits of child processes, if calls run in some.
    pub(super) fn limits(&self, place: &Place) -> Result<ProcessSettings, Failure> {
        let limits = [
            self.max_tasks_per_child,
            self.max_memory_per_child,
            self.memory_cap,
        ];
        if limits.iter().any(Option::is_some) && !matches!(place, Place::Processes { .. }) {
            let message = format!("`{place}` has no child processes that could be limited");
            return Err(Failure::new(Exit::Usage, message).help("use `--pool processes`"));
        }
        Ok(ProcessSettings {
            max_tasks: self.max_tasks_per_child,
            max_memory_bytes: self.max_memory_per_child,
            memory_cap_bytes: self.memory_cap,
            ..ProcessSettings::default()
        })
    }

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
pub(super) fn open(place: &Place, limits: ProcessSettings) -> Result<Arc<dyn Executor>, Failure> {
    Ok(celeriac_executor::open_with(place, limits)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(pool: &str, concurrency: Option<usize>) -> Result<String, String> {
        let args = PoolArgs {
            pool: pool.to_owned(),
            concurrency: concurrency.and_then(NonZeroUsize::new),
            max_tasks_per_child: None,
            max_memory_per_child: None,
            memory_cap: None,
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
