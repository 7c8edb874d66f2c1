//! Somebody at a terminal, who operates workers by the commands of the example `app`.

use std::process::Command;
use std::time::{Duration, Instant};

use celeriac_testkit::peers::OwnedChild;
use serde_json::Value;

use crate::support::example;

/// How long an answer is waited for, and asked for again.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Operator<'a> {
    url: &'a str,
}

impl<'a> Operator<'a> {
    pub(super) fn at(url: &'a str) -> Self {
        Self { url }
    }

    /// What the workers answer to a command, by their names; null if none does in time.
    pub(super) fn ask(&self, words: &str) -> Value {
        let output = Command::new(example("app"))
            .args(words.split_whitespace())
            .args(["--json", "--on", self.url])
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Asks again and again until the worker `node` answers to its name; how long that took.
    pub(super) fn until_answered(&self, node: &str) -> Duration {
        let begun = Instant::now();
        while self.ask(&format!("inspect ping -t 2s -d {node}"))[node]["ok"] != "pong" {
            assert!(begun.elapsed() < PATIENCE, "{node} does not answer");
        }
        begun.elapsed()
    }

    /// Begins to watch events, a line of JSON for each.
    pub(super) fn watch(&self) -> OwnedChild {
        let program = example("app");
        let words = ["events", "--json", "--on", self.url];
        OwnedChild::start("the watcher", program.to_str().unwrap(), words, |_| {})
    }
}
