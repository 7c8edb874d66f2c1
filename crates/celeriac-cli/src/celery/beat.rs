//! `-B`: the app's own `celery beat` beside the worker, started again if it ends.
//!
//! # Invariants
//!
//! - It does not outlive the worker, however that ends: it asks the system to be told.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// What Python runs: `celery` that ends with its parent. Its arguments are the parent's id and the words.
const BOOT: &str = include_str!("beat.py");

/// How long it may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// The waits before it is started again: the first, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How `celery beat` is started.
#[derive(Debug, Clone)]
pub(crate) struct BeatCommand {
    pub(crate) python: PathBuf,
    /// What follows `celery`: global options, `beat` and its options.
    pub(crate) words: Vec<OsString>,
}

/// A `celery beat` that runs; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Beat {
    stop: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Beat {
    /// Starts it, and a thread that looks after it.
    pub(crate) fn start(command: BeatCommand) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let (tell, started) = mpsc::channel();
        // The process is bound to the thread that starts it, which therefore stays.
        let keeper = thread::Builder::new()
            .name("celeriac-beat".to_owned())
            .spawn(move || {
                let child = command.spawn();
                let failed = child.as_ref().err().map(io::Error::kind);
                // Who starts it waits for the answer.
                let _ = tell.send(failed.map_or(Ok(()), Err));
                if let Ok(child) = child {
                    keep(&command, child, &stopped);
                }
            })?;
        match started.recv() {
            Ok(Ok(())) => Ok(Self {
                stop: Some(stop),
                keeper: Some(keeper),
            }),
            Ok(Err(kind)) => Err(kind.into()),
            Err(_) => Err(io::Error::other("the thread that starts it has ended")),
        }
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(keeper) = self.keeper.take() {
            // If it panicked, the system has ended its process.
            let _ = keeper.join();
        }
    }
}

impl BeatCommand {
    fn spawn(&self) -> io::Result<Child> {
        Command::new(&self.python)
            .args(["-c", BOOT])
            .arg(std::process::id().to_string())
            .args(&self.words)
            .stdin(Stdio::null())
            .spawn()
    }
}

/// Starts it again whenever it ends, later and later, until it shall stop.
fn keep(command: &BeatCommand, mut child: Child, stopped: &Receiver<()>) {
    let mut wait = WAITS.0;
    loop {
        let begun = Instant::now();
        let Some(status) = watch(&mut child, stopped) else {
            return end(&mut child);
        };
        if begun.elapsed() > WAITS.1 {
            wait = WAITS.0;
        }
        tracing::error!(%status, again_in = ?wait, "beat has ended");
        child = loop {
            if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            wait = (wait * 2).min(WAITS.1);
            match command.spawn() {
                Ok(child) => break child,
                Err(error) => tracing::error!(%error, again_in = ?wait, "beat cannot be started"),
            }
        };
    }
}

/// Waits for its end; nothing if it shall stop before.
fn watch(child: &mut Child, stopped: &Receiver<()>) -> Option<ExitStatus> {
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if stopped.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
            return None;
        }
    }
}

/// Asks it to end, and kills it if it does not.
fn end(child: &mut Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // An error means that it has ended by itself.
        let _ = kill_process(pid, Signal::TERM);
    }
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    // Its schedule is written as it goes.
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    /// A Python that writes its pid and words, and then waits or ends.
    fn command(folder: &Path, then: &str) -> BeatCommand {
        let python = folder.join("python");
        let log = folder.join("log");
        let script = format!("#!/bin/sh\necho $$ \"$@\" >> '{}'\n{then}\n", log.display());
        fs::write(&python, script).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&python, mode).unwrap();
        BeatCommand {
            python,
            words: vec!["beat".into(), "-l".into(), "info".into()],
        }
    }

    fn starts(folder: &Path, at_least: usize) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
            // The text that Python would run has lines of its own.
            let ends = log.lines().filter(|line| line.ends_with(" beat -l info"));
            let lines: Vec<_> = ends.map(str::to_owned).collect();
            if lines.len() >= at_least {
                return lines;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{log}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn it_is_started_again_when_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let beat = Beat::start(command(folder.path(), "exit 1")).unwrap();
        starts(folder.path(), 2);
        drop(beat);
    }

    #[test]
    fn it_ends_with_the_worker() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let then = format!("echo $$ > '{}'\nexec sleep 1000", pid.display());
        let beat = Beat::start(command(folder.path(), &then)).unwrap();
        starts(folder.path(), 1);
        let read = || fs::read_to_string(&pid).ok()?.trim().parse::<i32>().ok();
        let pid = loop {
            if let Some(pid) = read() {
                break pid;
            }
            thread::sleep(Duration::from_millis(5));
        };
        drop(beat);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn what_cannot_be_started_is_told() {
        let command = BeatCommand {
            python: "/nowhere/python".into(),
            words: Vec::new(),
        };
        assert_eq!(
            Beat::start(command).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
