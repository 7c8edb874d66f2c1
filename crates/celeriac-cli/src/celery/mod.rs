//! The command line of a Celery app in Python: its worker, and the way to its own `celery`.
//!
//! The order in which a worker comes up is that of Celery's: words, user, background, pid file; then the
//! app is imported, what it reports is refused or warned about, the broker is connected, children are
//! forked; then it is ready.

mod banner;
mod beat;
mod connect;
mod control;
mod daemon;
mod failure;
mod flags;
mod log;
mod log_file;
mod log_format;
mod log_json;
mod node;
mod observer;
mod orders;
mod pidfile;
mod queues;
mod request;
mod serve;
mod settings;
mod signals;
mod start;
mod state_db;
mod tasks;
mod url;
mod value;
pub(crate) mod words;
mod worker;

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use celeriac_python::Interpreter;

use self::failure::Failure;
use self::flags::Flags;
use self::words::Call;

/// Runs a worker; the words have no command.
pub(crate) fn worker(words: Vec<OsString>) -> ExitCode {
    match Flags::read(words) {
        Ok(flags) => worker::run(&flags),
        Err(error) => {
            // Nothing can be done about a closed terminal; the code says the rest.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { 2 } else { 0 })
        }
    }
}

/// The variable that names the interpreter.
const PYTHON: &str = "CELERIAC_PYTHON";

/// The Python of the app: the one that is named, else that of the virtual environment which this program
/// is installed in, as a script of Python's would have it, else what the environment says.
fn interpreter(named: Option<&Path>) -> Result<Interpreter, Failure> {
    let of_environment = env::var_os(PYTHON).filter(|python| !python.is_empty());
    let named = named.or(of_environment.as_deref().map(Path::new));
    let beside = beside();
    let found = Interpreter::find(named.or(beside.as_deref()));
    found.map_err(|error| Failure::usage(error.to_string()).help(error.help))
}

/// The Python beside this program, if both are in a virtual environment.
fn beside() -> Option<PathBuf> {
    let program = env::current_exe().ok()?;
    let folder = program.parent()?;
    let python = folder.join("python");
    let is_environment = folder.parent()?.join("pyvenv.cfg").is_file();
    (is_environment && python.is_file()).then_some(python)
}

/// Becomes the app's own `celery`.
pub(crate) fn hand_over(call: &Call) -> ExitCode {
    let failure = match interpreter(call.python.as_deref().map(Path::new)) {
        Err(failure) => failure,
        Ok(python) => {
            let error = Command::new(python.path())
                .args(["-m", "celery"])
                .args(&call.words)
                .exec();
            Failure::other("cannot start the app's own celery").because(error)
        }
    };
    failure.report(&mut io::stderr().lock())
}
