//! When the marked tasks of a drain ran, written down by whoever ran them.
//!
//! One task in hundreds is marked, so that the others are as empty as they are said to be.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

/// The variable that tells a worker the file.
pub(crate) const FILE: &str = "CELERIAC_BENCH_MARKS";

/// A file for the marks of one worker.
#[derive(Debug)]
pub(crate) struct Marks(TempDir);

/// When the first and the last marked task ran, since 1970: clocks of one process mean nothing to
/// another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) first: Duration,
    pub(crate) last: Duration,
}

impl Marks {
    /// An empty one.
    pub(crate) fn new() -> io::Result<Self> {
        tempfile::tempdir().map(Self)
    }

    /// Where it is.
    pub(crate) fn file(&self) -> PathBuf {
        self.0.path().join("marks")
    }

    /// Between which moments `count` marked tasks have run; an error if it were more or fewer.
    pub(crate) fn span_of(&self, count: u32) -> io::Result<Span> {
        let text = fs::read_to_string(self.file())?;
        let times: Result<Vec<u64>, _> = text.lines().map(str::parse).collect();
        let times = times.map_err(io::Error::other)?;
        match (times.iter().min(), times.iter().max()) {
            (Some(&first), Some(&last)) if times.len() == count as usize => Ok(Span {
                first: Duration::from_nanos(first),
                last: Duration::from_nanos(last),
            }),
            _ => Err(io::Error::other(format!(
                "{} marked tasks ran, not {count}",
                times.len()
            ))),
        }
    }
}

/// The time of day, as in a [`Span`].
pub(crate) fn now() -> io::Result<Duration> {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(io::Error::other)
}

/// Adds a mark, in a worker: one line, in one write.
pub(crate) fn add() -> io::Result<()> {
    let file = env::var_os(FILE).ok_or_else(|| io::Error::other(format!("no {FILE}")))?;
    let mut file = OpenOptions::new().append(true).create(true).open(file)?;
    file.write_all(format!("{}\n", now()?.as_nanos()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_of_so_many_marks_in_whatever_order() {
        let marks = Marks::new().unwrap();
        assert!(marks.span_of(0).is_err());
        fs::write(marks.file(), "3000000000\n1000000000\n2000000000\n").unwrap();

        let span = marks.span_of(3).unwrap();

        assert_eq!(span.first, Duration::from_secs(1));
        assert_eq!(span.last, Duration::from_secs(3));
        for other in [2, 4] {
            assert!(marks.span_of(other).is_err());
        }
    }
}
