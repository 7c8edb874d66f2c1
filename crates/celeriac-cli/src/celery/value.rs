//! The values of flags, read as Celery reads them.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;

/// How much is logged, by Python's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// What concerns those who look for faults.
    Debug,
    /// The life of a worker and of its calls.
    Info,
    /// What costs something.
    Warning,
    /// What somebody has to look at.
    Error,
    /// What ends the worker. `FATAL` is the same.
    Critical,
}

impl Level {
    /// Python's name of it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A level, in any case.
pub(super) fn level(text: &str) -> Result<Level, String> {
    Ok(match text.to_uppercase().as_str() {
        "DEBUG" => Level::Debug,
        "INFO" => Level::Info,
        "WARNING" => Level::Warning,
        "ERROR" => Level::Error,
        "CRITICAL" | "FATAL" => Level::Critical,
        _ => return Err("use debug, info, warning, error, critical or fatal".to_owned()),
    })
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogShape {
    /// In the app's format.
    Text,
    /// One JSON object a line.
    Json,
}

/// How many calls run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Concurrency {
    /// As many as there are processors that may be used.
    Auto,
    /// So many; 0 says nothing.
    Of(usize),
}

/// A number, or `auto`.
pub(super) fn concurrency(text: &str) -> Result<Concurrency, String> {
    if text.eq_ignore_ascii_case("auto") {
        return Ok(Concurrency::Auto);
    }
    let number = text.parse().map(Concurrency::Of);
    number.map_err(|_| "use a whole number, or auto".to_owned())
}

/// Bounds of the calls at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Autoscale {
    /// The most.
    pub(crate) most: usize,
    /// The fewest.
    pub(crate) fewest: usize,
}

/// Two numbers in either order, or the most alone.
pub(super) fn autoscale(text: &str) -> Result<Autoscale, String> {
    let numbers: Result<Vec<usize>, _> = text.split(',').map(|one| one.trim().parse()).collect();
    match numbers.as_deref() {
        Ok([one]) => Ok((*one, 0)),
        Ok([one, other]) => Ok((*one.max(other), *one.min(other))),
        _ => Err("use the most and the fewest, as in 10,3, or the most alone".to_owned()),
    }
    .and_then(|(most, fewest)| match most {
        0 => Err("at least one call has to run at once".to_owned()),
        _ => Ok(Autoscale { most, fewest }),
    })
}

/// Names between commas.
pub(crate) fn list(text: &str) -> Vec<String> {
    let names = text.split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A duration: a number and a unit (ms, s, m, h), or seconds.
pub(super) fn grace(text: &str) -> Result<Duration, String> {
    let bad = || "use a number and a unit, as in 25s or 5m".to_owned();
    let unit_at = text
        .find(|character: char| character.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(bad()),
    };
    let number: f64 = number.trim().parse().map_err(|_| bad())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| bad())
}

/// A limit of so many seconds; none if they are no length of time.
pub(crate) fn seconds_of(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|limit| !limit.is_zero())
}

/// A mask of permissions, octal if it begins with 0 as Celery has it.
pub(crate) fn umask(text: &str) -> Option<u32> {
    let base = if text.starts_with('0') { 8 } else { 10 };
    let mask = u32::from_str_radix(text, base).ok();
    mask.filter(|mask| *mask <= 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_in_any_case() {
        for text in ["info", "INFO", "Info"] {
            assert_eq!(level(text), Ok(Level::Info));
        }
        assert_eq!(level("fatal"), Ok(Level::Critical));
        assert!(level("warn").is_err());
    }

    #[test]
    fn concurrency_is_a_number_or_auto() {
        assert_eq!(concurrency("AUTO"), Ok(Concurrency::Auto));
        assert_eq!(concurrency("3"), Ok(Concurrency::Of(3)));
        assert!(concurrency("-1").is_err());
    }

    #[test]
    fn autoscale_takes_its_bounds_in_any_order() {
        let bounds = |most, fewest| Ok(Autoscale { most, fewest });
        assert_eq!(autoscale("10,3"), bounds(10, 3));
        assert_eq!(autoscale("3, 10"), bounds(10, 3));
        assert_eq!(autoscale("10"), bounds(10, 0));
        for bad in ["", "1,2,3", "a,b", "0"] {
            assert!(autoscale(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_grace_has_a_unit_or_counts_seconds() {
        for (text, millis) in [("25s", 25_000), ("0", 0), ("1.5", 1500), ("2m", 120_000)] {
            assert_eq!(grace(text), Ok(Duration::from_millis(millis)));
        }
        for bad in ["", "s", "-1s", "3 days"] {
            assert!(grace(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mask_is_octal_if_it_begins_with_0() {
        assert_eq!(umask("022"), Some(0o22));
        assert_eq!(umask("18"), Some(0o22));
        assert_eq!(umask("9999"), None);
        assert_eq!(umask("rwx"), None);
    }
}
