//! A worker as a process: words, user, background and pid file, before it has threads.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use celeriac_otel::Traces;

use super::failure::Failure;
use super::flags::Flags;
use super::pidfile::{PidFile, PidFileError};
use super::serve::{Start, serve};
use super::start::{self, Background};
use super::value::umask;
use super::{interpreter, node};

/// Runs a worker, and says how to exit.
pub(crate) fn run(flags: &Flags) -> ExitCode {
    let mut background = None;
    let ended = begin(flags, &mut background);
    let failure = match ended {
        Ok(Ended::With(code)) => return code,
        Ok(Ended::Again) => start::restart(),
        Err(failure) => failure,
    };
    match &mut background {
        Some(background) => failure.report(background.terminal()),
        None => failure.report(&mut io::stderr().lock()),
    }
}

/// How a worker came to its end.
#[derive(Debug)]
pub(crate) enum Ended {
    /// With this exit code.
    With(ExitCode),
    /// It shall start again.
    Again,
}

/// What has to be done before the process has threads.
fn begin(flags: &Flags, background: &mut Option<Background>) -> Result<Ended, Failure> {
    if flags.global.version {
        let text = format!("celeriac {}\n", env!("CARGO_PKG_VERSION"));
        // Nobody may be listening.
        let _ = io::stdout().lock().write_all(text.as_bytes());
        return Ok(Ended::With(ExitCode::SUCCESS));
    }
    if let Some(folder) = &flags.global.workdir {
        let failed = || format!("cannot work in {}", folder.display());
        std::env::set_current_dir(folder)
            .map_err(|error| Failure::usage(failed()).because(error))?;
    }
    let node = node::node_name(flags.worker.hostname.as_deref(), &node::hostname())
        .map_err(|error| Failure::usage(error.to_string()))?;
    let named = flags
        .ours
        .python
        .as_deref()
        .or(flags.daemon.executable.as_deref());
    let python = interpreter(named)?;
    let (uid, gid) = (flags.daemon.uid.as_deref(), flags.daemon.gid.as_deref());
    if (uid.is_some() || gid.is_some()) && !flags.is_done(start::DROPPED) {
        return Err(start::drop_privileges(python.path(), uid, gid));
    }
    if let Some(text) = &flags.daemon.umask {
        let mask = umask(text)
            .ok_or_else(|| Failure::usage(format!("`{text}` is no mask: write 022 for example")))?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
    }
    let logfile = file(flags.daemon.logfile.as_deref(), &node)?;
    let pidfile = file(flags.daemon.pidfile.as_deref(), &node)?;
    if flags.worker.detach && !flags.is_done(start::DETACHED) {
        return start::detach().map(Ended::With);
    }
    if flags.worker.detach {
        let entered = Background::enter();
        *background = Some(
            entered.map_err(|error| Failure::other("cannot leave the terminal").because(error))?,
        );
    }
    let held = pidfile.as_deref().map(take).transpose()?;
    let traces = Traces::from_environment();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::other("cannot start a runtime").because(error))?;
    let start = Start {
        flags,
        node,
        python,
        logfile,
        traces,
    };
    let ended = runtime.block_on(serve(&start, background));
    // A thread that is stuck in a call of the system does not keep the process.
    runtime.shutdown_background();
    drop(held);
    ended
}

/// The file of this pattern.
fn file(pattern: Option<&str>, node: &str) -> Result<Option<PathBuf>, Failure> {
    let Some(pattern) = pattern else {
        return Ok(None);
    };
    let name = node::file_name(pattern, node).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Some(name.into()))
}

/// Takes the pid file at `path`.
pub(crate) fn take(path: &Path) -> Result<PidFile, Failure> {
    PidFile::take(path).map_err(|error| match error {
        PidFileError::Taken(pid) => Failure::taken(format!(
            "Pidfile ({}) already exists.\nSeems we're already running? (pid: {pid})",
            path.display()
        )),
        PidFileError::Io(error) => {
            Failure::other(format!("cannot write {}", path.display())).because(error)
        }
    })
}
