//! What the tests need of the machine.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{browser, progress, rabbitmq};
use crate::Result;

/// A package of Debian's, and whether what it brings is there, from wherever.
type Need = (&'static str, fn() -> bool);

const NEEDED: &[Need] = &[
    ("redis-server", || on_path("redis-server").is_some()),
    ("rabbitmq-server", || rabbitmq::program().is_some()),
    ("python3-venv", makes_environments),
    ("make", || on_path("make").is_some()),
    ("iproute2", || on_path("ip").is_some()),
    ("chromium", || browser::program().is_ok()),
    ("chromium-driver", || browser::driver().is_ok()),
];

/// Installs what is missing.
///
/// # Errors
///
/// If that cannot be done, says what a person can do.
pub(crate) fn ensure() -> Result<()> {
    let missing = missing(NEEDED);
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !rustix::process::geteuid().is_root() || on_path("apt-get").is_none() {
        return Err(format!(
            "the tests need what is not on this machine: {names}\n\
             help: on Debian, run: apt-get install --no-install-recommends {names}\n\
             help: or leave out what needs them, with --no-servers"
        )
        .into());
    }
    progress(&format!("installing {names}"));
    apt_get(&["update", "--quiet"])?;
    let mut install = vec!["install", "--quiet", "--yes", "--no-install-recommends"];
    install.extend(&missing);
    apt_get(&install)
}

fn missing(needed: &[Need]) -> Vec<&'static str> {
    let absent = needed.iter().filter(|(_, present)| !present());
    absent.map(|(package, _)| *package).collect()
}

/// The program of this name that a shell would find.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Whether Python is there with all that a virtual environment needs, which Debian keeps apart.
fn makes_environments() -> bool {
    Command::new("python3")
        .args(["-c", "import ensurepip, venv"])
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success())
}

fn apt_get(args: &[&str]) -> Result<()> {
    let output = Command::new("apt-get")
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // The scripts of packages start no service in run level 1; we start servers of our own.
        .env("RUNLEVEL", "1")
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "apt-get {} failed:\n{}{}",
        args.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_named() {
        assert_eq!(missing(&[("here", || true), ("gone", || false)]), ["gone"]);
    }

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        assert!(on_path("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(on_path("no-such-program"), None);
    }
}
