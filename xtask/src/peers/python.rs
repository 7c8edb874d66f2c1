//! Python environments with Celery, one for each version that the tests meet.
//!
//! They are made once and kept under the target folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{FlockOperation, flock};

use super::{Variables, progress};
use crate::Result;

/// The variable that tells a Python with the Celery to be equal to.
pub(crate) const CELERY_57: &str = "CELERIAC_TEST_PYTHON_57";

/// The variables that tell tests a Python, the version of Celery that it has, and what else: the
/// Kombu of that time, what a version needs for zstd beyond its extras, the frameworks whose
/// projects are run, what makes the package, a monitor, what drives a browser, a server for mails, and
/// what makes traces.
const VERSIONS: &[(&str, &str, &[&str])] = &[
    (
        CELERY_57,
        "5.7.0",
        &[
            "kombu[redis]==5.7.0",
            "backports.zstd",
            "Django==5.2.*",
            "django-celery-results==2.6.*",
            "Flask==3.1.*",
            "maturin==1.*",
            "flower==2.2.*",
            "selenium==4.*",
            "aiosmtpd==1.4.*",
            "opentelemetry-instrumentation-celery==0.66b2",
            "opentelemetry-exporter-otlp-proto-http==1.45.*",
        ],
    ),
    ("CELERIAC_TEST_PYTHON_55", "5.5.3", &["kombu[redis]==5.5.4"]),
    ("CELERIAC_TEST_PYTHON_54", "5.4.0", &["kombu[redis]==5.3.7"]),
    ("CELERIAC_TEST_PYTHON_53", "5.3.6", &["kombu[redis]==5.3.4"]),
];

/// What Celery shall be able to use: a store, serializers, compressions.
const EXTRAS: &str = "redis,msgpack,yaml,brotli,zstd";

/// The file that says what a finished environment was made of.
const STAMP: &str = "made-of";

/// Makes the environments that are not under `folder` yet.
pub(crate) fn environments(folder: &Path) -> Result<Variables> {
    fs::create_dir_all(folder)?;
    // Another run may be making them.
    let lock = File::create(folder.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let interpreter = output(
        Command::new("python3").args(["-c", "import sys; print(sys.executable, sys.version)"]),
    )?;
    VERSIONS
        .iter()
        .map(|(variable, celery, others)| {
            let mut requirements = vec![format!("celery[{EXTRAS}]=={celery}")];
            requirements.extend(others.iter().map(ToString::to_string));
            let folder = folder.join(format!("celery-{celery}"));
            let made_of = format!("{interpreter}{}\n", requirements.join("\n"));
            if !is_made_of(&folder, &made_of) {
                progress(&format!("making an environment with Celery {celery}"));
                make(&folder, &requirements)?;
                fs::write(folder.join(STAMP), made_of)?;
            }
            Ok((*variable, program(&folder).display().to_string()))
        })
        .collect()
}

/// Whether the environment in `folder` was finished, and of this.
fn is_made_of(folder: &Path, made_of: &str) -> bool {
    fs::read_to_string(folder.join(STAMP)).is_ok_and(|stamp| stamp == made_of)
}

fn make(folder: &Path, requirements: &[String]) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    output(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    output(
        Command::new(program(folder))
            .args(["-m", "pip", "install", "--quiet"])
            .arg("--disable-pip-version-check")
            .args(requirements),
    )?;
    Ok(())
}

fn program(folder: &Path) -> PathBuf {
    folder.join("bin/python")
}

/// What `command` prints, if it succeeds.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!(
        "{command:?} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_that_was_not_finished_or_is_of_other_things_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_made_of(folder.path(), "celery==1\n"));
        fs::write(folder.path().join(STAMP), "celery==1\n").unwrap();
        assert!(is_made_of(folder.path(), "celery==1\n"));
        assert!(!is_made_of(folder.path(), "celery==2\n"));
    }

    #[test]
    fn a_command_that_fails_is_shown_with_what_it_printed() {
        let error = output(Command::new("sh").args(["-c", "echo no such package >&2; exit 1"]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("no such package"), "{error}");
    }
}
