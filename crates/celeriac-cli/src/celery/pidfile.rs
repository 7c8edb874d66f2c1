//! The file that says which process a worker is, and that there is only one.
//!
//! # Sources
//!
//! `celery.platforms.Pidfile`: the process id and a newline; a file of a process that is gone is taken
//! over, and so is one that makes no sense.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// A file with the id of this process, removed when it is dropped.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
}

/// Why there is no such file.
#[derive(Debug)]
pub(crate) enum PidFileError {
    /// A process that is alive has it.
    Taken(i32),
    /// It cannot be written.
    Io(io::Error),
}

impl PidFile {
    /// Writes the file, and takes over one that a process has left behind.
    pub(crate) fn take(path: &Path) -> Result<Self, PidFileError> {
        // A worker changes its folder only before.
        let path = std::path::absolute(path).map_err(PidFileError::Io)?;
        loop {
            match create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(PidFileError::Io(error));
                }
                Err(_) => match holder(&path).map_err(PidFileError::Io)? {
                    Some(pid) => return Err(PidFileError::Taken(pid)),
                    None => remove(&path).map_err(PidFileError::Io)?,
                },
            }
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // What is left behind is recognised by the next worker.
        let _ = remove(&self.path);
    }
}

fn create(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    writeln!(file, "{}", std::process::id())?;
    file.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The process that is alive and has the file.
fn holder(path: &Path) -> io::Result<Option<i32>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let number = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse().ok());
    let Some(pid) = number.and_then(Pid::from_raw) else {
        return Ok(None);
    };
    // In a container the worker before this one had the same id.
    let own = pid == rustix::process::getpid();
    let gone = matches!(test_kill_process(pid), Err(Errno::SRCH | Errno::PERM));
    Ok((!own && !gone).then(|| pid.as_raw_nonzero().get()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn the_file_holds_the_id_while_it_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.pid");
        let held = PidFile::take(&path).unwrap();
        assert_eq!(text(&path), format!("{}\n", std::process::id()));
        drop(held);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_of_another_process_that_lives_is_respected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.pid");
        fs::write(&path, "1\n").unwrap();
        // The first process of all lives as long as the machine; to others than root it is a stranger,
        // whose file Celery takes over.
        match PidFile::take(&path) {
            Err(PidFileError::Taken(pid)) => assert_eq!(pid, 1),
            Ok(_) => assert!(!rustix::process::geteuid().is_root()),
            Err(PidFileError::Io(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn a_file_that_was_left_behind_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.pid");
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        for left in [
            format!("{}\n", child.id()),
            "junk".to_owned(),
            String::new(),
        ] {
            fs::write(&path, left).unwrap();
            let held = PidFile::take(&path).unwrap();
            assert_eq!(text(&path), format!("{}\n", std::process::id()));
            drop(held);
        }
    }
}
