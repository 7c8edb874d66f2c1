//! A program that a test runs beside itself.

use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// A program in a process group of its own, all of which is killed when this is dropped.
///
/// What it prints is kept, and shown if the test fails. The kernel kills the program itself, though
/// not its children, when the thread ends that started it.
#[derive(Debug)]
pub struct OwnedChild {
    name: String,
    child: Child,
    printed: Arc<Mutex<String>>,
    lines: Receiver<String>,
}

impl OwnedChild {
    /// Starts `program` with `arguments`, as `configure` wants it beside.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn start<'a>(
        name: &str,
        program: &str,
        arguments: impl IntoIterator<Item = &'a str>,
        configure: impl FnOnce(&mut Command),
    ) -> Self {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", program])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        configure(&mut command);
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let printed = Arc::new(Mutex::new(String::new()));
        let (tell, lines) = mpsc::channel();
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|out| Box::new(out) as _),
            child.stderr.take().map(|err| Box::new(err) as _),
        ];
        for output in outputs.into_iter().flatten() {
            let (printed, tell) = (Arc::clone(&printed), tell.clone());
            // They end with what they read: at the latest when the group is killed.
            thread::spawn(move || keep(output, &printed, &tell));
        }
        Self {
            name: name.to_owned(),
            child,
            printed,
            lines,
        }
    }

    /// Its process id, which is its process group's too.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line, on either output, that contains `text`; gives it. Lines before it are
    /// passed over.
    ///
    /// # Panics
    ///
    /// If it does not come within a minute, or can no longer come.
    pub fn wait_for_line(&self, text: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{} does not print `{text}`", self.name)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("{} ended and never printed `{text}`", self.name)
                }
            }
        }
    }

    /// Passes over the lines that it has printed so far.
    pub fn pass_over(&self) {
        while self.lines.try_recv().is_ok() {}
    }

    /// Waits until a line that contains `text` has been printed, before this call or after it.
    ///
    /// # Panics
    ///
    /// As [`wait_for_line`](Self::wait_for_line).
    pub fn wait_until_printed(&self, text: &str) {
        // What is told has been kept before.
        if !self.printed().contains(text) {
            self.wait_for_line(text);
        }
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    ///
    /// If it has not after a minute.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            // What it printed is complete only once the pipes are closed, which it may outlive.
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(Instant::now() < deadline, "{} does not end", self.name);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// How it has ended, if it has.
    ///
    /// # Panics
    ///
    /// If somebody else has waited for it.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// Sends it a signal, to it alone.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal)
            .unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        let printed = self.printed.lock();
        printed.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for OwnedChild {
    fn drop(&mut self) {
        // Both fail only if nothing of it is left.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
        if thread::panicking() {
            show(&self.name, &self.printed());
        }
    }
}

#[allow(
    clippy::print_stderr,
    reason = "a failed test tells its reader all it knows"
)]
fn show(name: &str, printed: &str) {
    eprintln!("---- {name} printed:\n{printed}----");
}

fn keep(output: impl Read, printed: &Mutex<String>, tell: &mpsc::Sender<String>) {
    let mut reader = BufReader::new(output);
    let mut bytes = Vec::new();
    while reader
        .read_until(b'\n', &mut bytes)
        .is_ok_and(|count| count > 0)
    {
        let line = String::from_utf8_lossy(&bytes).into_owned();
        printed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_str(&line);
        // Nobody may be listening any more; what is printed is kept all the same.
        let _ = tell.send(line);
        bytes.clear();
    }
}
