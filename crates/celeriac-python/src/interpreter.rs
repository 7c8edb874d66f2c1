//! Which Python runs the app.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The Python program of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    path: PathBuf,
}

/// Why there is no Python to run the app.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no Python at {}", tried.display())]
pub struct NoInterpreter {
    /// Where it was looked for: a path, or a name to be found through `PATH`.
    pub tried: PathBuf,
    /// What the user can do.
    pub help: &'static str,
}

impl Interpreter {
    /// Finds it: what `--python` names, else that of the active virtual environment, else `python3`.
    ///
    /// A name without a slash is looked for in the folders of `PATH`.
    ///
    /// # Errors
    ///
    /// [`NoInterpreter`], with what was tried. Nothing else is then tried in its place.
    pub fn find(named: Option<&Path>) -> Result<Self, NoInterpreter> {
        let environment = env::var_os("VIRTUAL_ENV").filter(|folder| !folder.is_empty());
        let path = env::var_os("PATH").unwrap_or_default();
        find(named, environment.as_deref(), &path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn find(
    named: Option<&Path>,
    environment: Option<&OsStr>,
    path: &OsStr,
) -> Result<Interpreter, NoInterpreter> {
    let (tried, help) = match (named, environment) {
        (Some(named), _) => (named.to_owned(), "name another one with `--python PATH`"),
        (None, Some(environment)) => (
            Path::new(environment).join("bin/python"),
            "VIRTUAL_ENV is set: make that virtual environment anew, or name a Python with `--python PATH`",
        ),
        (None, None) => (
            PathBuf::from("python3"),
            "activate the virtual environment of the app, or name its Python with `--python PATH`",
        ),
    };
    let found = if tried.components().count() > 1 {
        Some(tried.clone()).filter(|path| path.is_file())
    } else {
        env::split_paths(path)
            .map(|folder| folder.join(&tried))
            .find(|path| path.is_file())
    };
    found
        .map(|path| Interpreter { path })
        .ok_or(NoInterpreter { tried, help })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_named_wins_over_the_environment_and_that_over_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let python = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            path
        };
        let (named, of_environment, of_path) = (
            python("mine/python3.12"),
            python("venv/bin/python"),
            python("bin/python3"),
        );
        let environment = folder.path().join("venv");
        let search = folder.path().join("bin");
        let found = |named: Option<&Path>, environment: Option<&Path>| {
            find(named, environment.map(Path::as_os_str), search.as_os_str())
                .map(|found| found.path)
        };
        assert_eq!(found(Some(&named), Some(&environment)), Ok(named));
        assert_eq!(found(None, Some(&environment)), Ok(of_environment));
        assert_eq!(found(None, None), Ok(of_path.clone()));
        assert_eq!(found(Some(Path::new("python3")), None), Ok(of_path));
        let missing = found(None, Some(folder.path())).unwrap_err();
        assert!(missing.help.contains("VIRTUAL_ENV"), "{missing}");
        assert!(found(Some(Path::new("no-such-python")), None).is_err());
    }
}
