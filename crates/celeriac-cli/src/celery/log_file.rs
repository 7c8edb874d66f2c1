//! Where lines of logs go: standard error, or a file that may be moved away meanwhile.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Where lines go.
#[derive(Debug)]
pub(crate) enum LogFile {
    /// To standard error.
    Stderr,
    /// To the end of a file, which is opened again when another program has moved it away, as
    /// `logrotate` does.
    File {
        /// Where it is.
        path: PathBuf,
        /// As it is open.
        file: File,
    },
}

impl LogFile {
    /// The file at `path`, made if it is not there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::File {
            path: path.to_owned(),
            file: append(path)?,
        })
    }

    /// Writes a line with one call of the system, so that lines of several processes stay whole.
    pub(crate) fn write(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::Stderr => io::stderr().lock().write_all(line.as_bytes()),
            Self::File { path, file } => {
                if !is_at(file, path) {
                    *file = append(path)?;
                }
                file.write_all(line.as_bytes())
            }
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Whether what is open is what stands there now.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.metadata()) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("w.log"), folder.path().join("w.log.1"));
        let mut file = LogFile::open(&path).unwrap();
        file.write("one\n").unwrap();
        fs::rename(&path, &moved).unwrap();
        file.write("two\n").unwrap();
        file.write("three\n").unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\nthree\n");
    }
}
