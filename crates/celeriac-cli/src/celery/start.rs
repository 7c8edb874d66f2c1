//! How a worker comes to run: as another user, and in the background.
//!
//! Both start the same command line once more, with a hidden word that says what has been done already;
//! so no process forks after it has threads.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use rustix::fs::{Mode, OFlags};

use super::failure::Failure;

/// The hidden flag, and what it says.
pub(crate) const DONE: &str = "--started=";
/// The process is in the background.
pub(crate) const DETACHED: &str = "detached";
/// It has become another user.
pub(crate) const DROPPED: &str = "dropped";

/// Becomes another user by the rules of the app's own Celery, and starts what follows.
const DROP: &str = "\
import os, sys
from celery.platforms import maybe_drop_privileges
uid, gid, program, *words = sys.argv[1:]
maybe_drop_privileges(uid=uid or None, gid=gid or None)
os.execv(program, words)
";

/// This program's own file.
fn program() -> Result<OsString, Failure> {
    let program = std::env::current_exe();
    let program =
        program.map_err(|error| Failure::other("cannot find this program").because(error))?;
    Ok(program.into_os_string())
}

/// The command line again, with one more step done.
fn again(done: &str) -> Vec<OsString> {
    let mut words: Vec<_> = std::env::args_os().collect();
    words.insert(1, format!("{DONE}{done}").into());
    words
}

/// Becomes another user and starts again. Returns only what went wrong.
pub(crate) fn drop_privileges(python: &Path, uid: Option<&str>, gid: Option<&str>) -> Failure {
    let program = match program() {
        Ok(program) => program,
        Err(failure) => return failure,
    };
    let error = Command::new(python)
        .args(["-c", DROP])
        .args([uid.unwrap_or_default(), gid.unwrap_or_default()])
        .arg(program)
        .args(again(DROPPED))
        .exec();
    Failure::other(format!("cannot start {}", python.display())).because(error)
}

/// Starts this worker again, as it was started.
pub(crate) fn restart() -> Failure {
    match program() {
        Err(failure) => failure,
        Ok(program) => {
            let mut words = std::env::args_os();
            let mut command = Command::new(program);
            if let Some(name) = words.next() {
                command.arg0(name);
            }
            Failure::other("cannot start again").because(command.args(words).exec())
        }
    }
}

/// Starts the worker in the background, and waits until it is ready and stands alone; or gives its exit
/// code, if it ends before.
pub(crate) fn detach() -> Result<ExitCode, Failure> {
    let failed = |error: io::Error| Failure::other("cannot start in the background").because(error);
    let (mut told, tell) = io::pipe().map_err(failed)?;
    let mut command = Command::new(program()?);
    let mut words = again(DETACHED).into_iter();
    if let Some(name) = words.next() {
        command.arg0(name);
    }
    let mut child = command
        .args(words)
        .stdin(Stdio::from(tell))
        .stdout(Stdio::null())
        .spawn()
        .map_err(failed)?;
    // The command holds the other end too, and nothing would end.
    drop(command);
    let mut said = Vec::new();
    told.read_to_end(&mut said).map_err(failed)?;
    if said.is_empty() {
        let status = child.wait().map_err(failed)?;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        return Ok(ExitCode::from(code.unwrap_or(1)));
    }
    Ok(ExitCode::SUCCESS)
}

/// The life of a process in the background.
#[derive(Debug)]
pub(crate) struct Background {
    /// Tells who started it that it stands alone.
    told: File,
    /// Where errors go until then.
    terminal: File,
}

impl Background {
    /// Leaves the terminal. What is started from here on has none.
    pub(crate) fn enter() -> io::Result<Self> {
        let own = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from);
        let background = Self {
            told: own(rustix::stdio::stdin())?,
            terminal: own(rustix::stdio::stderr())?,
        };
        // Refused to the leader of a session, which has what it asks for.
        let _ = rustix::process::setsid();
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
        Ok(background)
    }

    /// Where errors are told.
    pub(crate) fn terminal(&mut self) -> &mut File {
        &mut self.terminal
    }

    /// Lets go of who started it, with a last word.
    pub(crate) fn stands_alone(mut self, word: &str) {
        // Who started it may be gone; that is nothing to a process in the background.
        let _ = self.terminal.write_all(word.as_bytes());
        let _ = self.told.write_all(b"1");
    }
}
