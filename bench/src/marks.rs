//! When the marked tasks of a drain ran, or how late others did, written down by whoever ran them.
//!
//! Of a drain one task in hundreds is marked, so that the others are as empty as they are said to be.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;

/// The variable that tells a worker the file.
pub(crate) const FILE: &str = "CELERIAC_BENCH_MARKS";

/// How often it is looked whether a mark has come.
const LOOK: Duration = Duration::from_millis(50);

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

    /// All marks there are.
    pub(crate) fn all(&self) -> io::Result<Vec<Duration>> {
        let text = match fs::read_to_string(self.file()) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let marks: Result<Vec<u64>, _> = text.lines().map(str::parse).collect();
        let marks = marks.map_err(io::Error::other)?;
        Ok(marks.into_iter().map(Duration::from_nanos).collect())
    }

    /// `count` marks, once they are there, which has to be within `limit`.
    pub(crate) fn wait_for(&self, count: u32, limit: Duration) -> io::Result<Vec<Duration>> {
        let end = Instant::now() + limit;
        while self.all()?.len() < count as usize && Instant::now() < end {
            thread::sleep(LOOK);
        }
        self.exactly(count)
    }

    /// Between which moments `count` marked tasks have run; an error if it were more or fewer.
    pub(crate) fn span_of(&self, count: u32) -> io::Result<Span> {
        let times = self.exactly(count)?;
        let (first, last) = (times.iter().min(), times.iter().max());
        let none = || io::Error::other("nothing was to run");
        Ok(Span {
            first: *first.ok_or_else(none)?,
            last: *last.ok_or_else(none)?,
        })
    }

    fn exactly(&self, count: u32) -> io::Result<Vec<Duration>> {
        let marks = self.all()?;
        if marks.len() == count as usize {
            return Ok(marks);
        }
        let ran = marks.len();
        Err(io::Error::other(format!(
            "{ran} marked tasks ran, not {count}"
        )))
    }
}

/// The time of day, as in a [`Span`].
pub(crate) fn now() -> io::Result<Duration> {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(io::Error::other)
}

/// Adds a mark, in a worker: one line, in one write.
pub(crate) fn add(mark: Duration) -> io::Result<()> {
    let file = env::var_os(FILE).ok_or_else(|| io::Error::other(format!("no {FILE}")))?;
    let mut file = OpenOptions::new().append(true).create(true).open(file)?;
    file.write_all(format!("{}\n", mark.as_nanos()).as_bytes())
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
