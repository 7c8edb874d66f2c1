//! `BullMQ`, installed where the next run finds it: the packages of `bench/peers/bullmq`, as its lock
//! file names them. Its manifest overrides one package that was published for some machines only, of
//! which npm can make no lock file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;

/// What node runs.
pub(super) const SCRIPT: &str = "drain.js";

const MANIFEST: &str = "package.json";
const LOCK: &str = "package-lock.json";

/// The file that says what a finished folder was installed from.
const STAMP: &str = "made-of";

/// Installs it in a folder of `kept`, from what stands in `peers`; gives the folder.
///
/// # Errors
///
/// If there is no node or no npm, and if npm fails.
pub(super) fn install(peers: &Path, kept: &Path) -> Result<PathBuf> {
    let (from, folder) = (peers.join("bullmq"), kept.join("bullmq"));
    for program in ["node", "npm"] {
        let version = Command::new(program).arg("--version").output();
        version.map_err(|error| format!("{program} is needed: {error}"))?;
    }
    fs::create_dir_all(&folder)?;
    for file in [MANIFEST, LOCK, SCRIPT] {
        fs::copy(from.join(file), folder.join(file))?;
    }
    let made_of = fs::read_to_string(from.join(LOCK))?;
    if fs::read_to_string(folder.join(STAMP)).is_ok_and(|stamp| stamp == made_of) {
        return Ok(folder);
    }
    // The optional packages are faster decoders of what no task here has, compiled for one machine.
    let output = Command::new("npm")
        .args(["ci", "--omit=optional", "--ignore-scripts"])
        .args(["--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(&folder)
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("npm ci failed:\n{}", complaint.trim()).into());
    }
    fs::write(folder.join(STAMP), made_of)?;
    Ok(folder)
}
