//! The command line, as the example `app` carries it.

#[cfg(feature = "smtp")]
mod alerts;
mod children;
mod commands;
mod exchanges;
mod frozen;
mod health;
mod manager;
mod routes;
mod shm;
mod statsd;
mod stopping;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::example;

/// Longer than anything here takes unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with a queue file, and the program that works on it.
struct Shop(TempDir);

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Shop {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(example("app"));
        command
            .args(words)
            .current_dir(self.0.path())
            .env("CELERIAC_ON", "sqlite:jobs.db")
            .env_remove("COLUMNS")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Ran {
        run(&mut self.command(words))
    }

    /// Runs a command that must succeed, and returns what it printed.
    fn done(&self, words: &[&str]) -> String {
        let ran = self.run(words);
        assert_eq!(ran.code, 0, "{words:?}: {}", ran.err);
        ran.out.trim_end().to_owned()
    }

    /// Runs a command that must succeed, and returns its JSON document.
    fn document(&self, words: &[&str]) -> Value {
        let mut words = words.to_vec();
        words.push("--json");
        serde_json::from_str(&self.done(&words)).unwrap()
    }

    /// How many calls of `queue` are ready and held.
    fn counts(&self, queue: &str) -> (u64, u64) {
        let queues = self.document(&["queues"]);
        let queue = queues
            .as_array()
            .unwrap()
            .iter()
            .find(|info| info["queue"] == queue);
        let count = |name: &str| queue.map_or(0, |info| info[name].as_u64().unwrap());
        (count("ready") + count("delayed"), count("held"))
    }

    /// Starts a worker on one thread and waits until it is ready.
    fn worker(&self, words: &[&str]) -> Worker {
        let log = self.path("worker.log");
        let mut command = self.command(&["worker", "-Q", "celery,slow"]);
        if !words.contains(&"-P") {
            command.args(["-P", "threads=1"]);
        }
        let child = command
            .args(words)
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut worker = Worker { child, log };
        worker.logged("worker is ready");
        worker
    }
}

struct Worker {
    child: Child,
    log: PathBuf,
}

impl Worker {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it has logged `words`.
    fn logged(&mut self, words: &str) {
        until(words, || {
            let found = self.log().contains(words);
            let ended = self.child.try_wait().unwrap();
            assert!(found || ended.is_none(), "it ended: {}", self.log());
            found.then_some(())
        });
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for its end, which has to be a good one, and returns its log.
    fn ended(mut self) -> String {
        let status = until("the worker ends", || self.child.try_wait().unwrap());
        let log = self.log();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }

    /// The same, within `limit`.
    fn ended_within(self, limit: Duration) {
        let start = Instant::now();
        self.ended();
        let took = start.elapsed();
        assert!(took < limit, "{took:?}");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It has ended already unless it shall be killed or the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

fn until<R>(what: &str, mut ready: impl FnMut() -> Option<R>) -> R {
    let start = Instant::now();
    loop {
        if let Some(result) = ready() {
            return result;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn until_exists(path: &Path) {
    until(&format!("{} exists", path.display()), || {
        path.exists().then_some(())
    });
}
