//! Celery in Python: an app, its workers and its clients.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::child::OwnedChild;
use super::{unique, variable};

/// Which Celery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CeleryVersion {
    /// 5.7, which is the one to be equal to.
    V57,
    /// 5.5.
    V55,
    /// 5.4.
    V54,
    /// 5.3, the oldest that celeriac runs the apps of.
    V53,
}

impl CeleryVersion {
    /// Its Python.
    ///
    /// # Panics
    ///
    /// If the test was started without it.
    pub fn python(self) -> String {
        variable(match self {
            Self::V57 => "CELERIAC_TEST_PYTHON_57",
            Self::V55 => "CELERIAC_TEST_PYTHON_55",
            Self::V54 => "CELERIAC_TEST_PYTHON_54",
            Self::V53 => "CELERIAC_TEST_PYTHON_53",
        })
    }
}

/// A folder with a module `tasks.py`, in which `app` is a Celery app.
#[derive(Debug)]
pub struct CeleryApp {
    python: String,
    folder: TempDir,
}

/// What every module begins with. Warnings would hide what a failed test has to say.
const START: &str = "\
import warnings; warnings.simplefilter('ignore')
from celery import Celery
";

/// What every script begins and ends with.
const SCRIPT: (&str, &str) = (
    "import json\nfrom tasks import *\n",
    "\nprint('ANSWER ' + json.dumps(answer), flush=True)\n",
);

impl CeleryApp {
    /// Writes the module: the app on `broker` and `backend`, then `source`, which sets up the app
    /// and defines its tasks.
    ///
    /// # Panics
    ///
    /// If there is no such Python, or no folder can be made.
    pub fn new(version: CeleryVersion, broker: &str, backend: &str, source: &str) -> Self {
        let folder = tempfile::tempdir().expect("tests have temporary folders");
        let module = format!(
            "{START}app = Celery('peer', broker={broker:?}, backend={backend:?})\n{source}"
        );
        fs::write(folder.path().join("tasks.py"), module).expect("the folder is new");
        Self {
            python: version.python(),
            folder,
        }
    }

    /// Starts a worker with these arguments besides, and waits until it is ready.
    ///
    /// It runs its tasks on threads unless the arguments choose a pool, and neither looks for its
    /// neighbours at the start, which takes a second, nor afterwards.
    ///
    /// # Panics
    ///
    /// If it does not get ready.
    pub fn worker(&self, arguments: &[&str]) -> CeleryWorker {
        let name = format!("{}@localhost", unique("python"));
        let start = "-m celery -A tasks worker --loglevel INFO --without-mingle --without-gossip \
                     --without-heartbeat -P threads -c 2 --hostname";
        let words = start.split_whitespace().chain([name.as_str()]);
        let child = self.start("the Celery worker", words.chain(arguments.iter().copied()));
        child.wait_for_line(" ready.");
        CeleryWorker { name, child }
    }

    /// Runs `script` to its end, and gives its answer: see [`script`](Self::script).
    ///
    /// # Panics
    ///
    /// If it fails, or takes longer than a minute.
    pub fn run(&self, script: &str) -> Value {
        self.script(script).answer()
    }

    /// Starts `script`, in which all names of the module are known, and which leaves what it has
    /// to say in `answer`.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn script(&self, script: &str) -> CeleryScript {
        let path = self.folder.path().join(unique("script"));
        let (start, end) = SCRIPT;
        fs::write(&path, format!("{start}{script}{end}")).expect("the folder is ours");
        let path = path.to_str().expect("we named it");
        CeleryScript(self.start("a script of Python's", [path]))
    }

    fn start<'a>(&self, name: &str, arguments: impl IntoIterator<Item = &'a str>) -> OwnedChild {
        let folder: &Path = self.folder.path();
        OwnedChild::start(name, &self.python, arguments, |command| {
            command
                .current_dir(folder)
                .env("PYTHONPATH", folder)
                .env("PYTHONUNBUFFERED", "1")
                .env("PYTHONDONTWRITEBYTECODE", "1")
                // A worker warns those who run it as root about messages that it does not accept.
                .env("C_FORCE_ROOT", "1");
        })
    }
}

/// A script that runs; dropping it kills it.
#[derive(Debug)]
pub struct CeleryScript(OwnedChild);

impl CeleryScript {
    /// Waits until it has printed a line that contains `text`; gives the line.
    ///
    /// # Panics
    ///
    /// If it does not within a minute.
    pub fn wait_for_line(&self, text: &str) -> String {
        self.0.wait_for_line(text)
    }

    /// Waits for its end, and gives its answer.
    ///
    /// # Panics
    ///
    /// If it fails, or takes longer than a minute.
    pub fn answer(mut self) -> Value {
        let line = self.0.wait_for_line("ANSWER ");
        let status = self.0.wait();
        assert!(status.success(), "a script of Python's ended with {status}");
        let (_, answer) = line.split_once("ANSWER ").expect("it was waited for");
        serde_json::from_str(answer).expect("Python writes JSON")
    }
}

/// A worker that runs; dropping it kills it.
#[derive(Debug)]
pub struct CeleryWorker {
    name: String,
    child: OwnedChild,
}

impl CeleryWorker {
    /// Its node name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process.
    pub fn child(&mut self) -> &mut OwnedChild {
        &mut self.child
    }

    /// Waits for a line of its log that contains `text`; gives it.
    ///
    /// # Panics
    ///
    /// If it does not come within a minute.
    pub fn wait_for_log(&self, text: &str) -> String {
        self.child.wait_for_line(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::VirtualHost;
    use serde_json::json;

    const ADD: &str = "
@app.task(name='shop.add')
def add(a, b):
    return a + b
";

    #[test]
    fn a_worker_runs_what_a_script_sends_in_every_version() {
        for version in [
            CeleryVersion::V57,
            CeleryVersion::V55,
            CeleryVersion::V54,
            CeleryVersion::V53,
        ] {
            let host = VirtualHost::create();
            let app = CeleryApp::new(version, &host.url(), "rpc://", ADD);
            let worker = app.worker(&["-Q", "sums"]);
            let answer = app.run("answer = add.apply_async((2, 3), queue='sums').get(timeout=20)");
            assert_eq!(answer, json!(5));
            worker.wait_for_log("succeeded");
        }
    }

    #[test]
    #[should_panic = "ended and never printed `ANSWER `"]
    fn a_script_that_fails_fails_the_test() {
        let app = CeleryApp::new(CeleryVersion::V57, "memory://", "cache+memory://", ADD);
        app.run("answer = 1 / 0");
    }
}
