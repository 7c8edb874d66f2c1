//! This program once more, as a child that plays a part in a test.
//!
//! A test that needs one looks for the [`part`] first. What a child says is a line that begins with
//! `> `.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};

const PART: &str = "CELERIAC_TEST_PART";

/// What this process is to play, in whatever words the test has for it; nothing if it is the test.
pub(crate) fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// A child process, killed when dropped.
pub(crate) struct Player {
    pub(crate) child: Child,
    lines: BufReader<ChildStdout>,
}

impl Player {
    /// Starts one that plays `part` in `test`, which is named with its modules.
    pub(crate) fn start(test: &str, part: &str) -> Self {
        Self::start_as(test, part, None)
    }

    /// The same for another user.
    pub(crate) fn start_as(test: &str, part: &str, user: Option<u32>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let mut child = command
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(PART, part)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next thing it says; `None` once it is dead. A half line counts as not said.
    pub(crate) fn says(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 || !line.ends_with('\n') {
                return None;
            }
            if let Some((_, said)) = line.split_once("> ") {
                return Some(said.trim_end().to_owned());
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
