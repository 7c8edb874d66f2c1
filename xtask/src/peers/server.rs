//! One server, from its start to its end.
//!
//! # Invariants
//!
//! - It ends with its [`Server`], and with the thread that started it even if that is killed: the
//!   kernel sends it `SIGKILL` then.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use std::{io, thread};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::Result;

/// How long a server may take until it answers: a machine under load needs a while.
const PATIENCE: Duration = Duration::from_secs(90);

/// Ports below those that the kernel gives to outgoing connections, which could else take one
/// between its choice and its use.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A server that runs; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `command` in `folder`; what it prints goes to a file there.
    ///
    /// The thread that calls this must live as long as the server shall.
    pub(crate) fn start(name: &'static str, command: &Command, folder: &Path) -> Result<Self> {
        let log = folder.join("log");
        let output = File::create(&log)?;
        let mut bound = bound_to_us(command);
        let child = bound
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // A Ctrl-C at the terminal is for the tests; the servers end after them.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("cannot start {name} through setpriv: {error}"))?;
        Ok(Self { name, child, log })
    }

    /// Returns once `answers` holds, which asks the server whether it can be used.
    pub(crate) fn wait_until(&mut self, answers: impl Fn() -> io::Result<bool>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // An error means that nobody listens yet.
            if answers().unwrap_or(false) {
                return Ok(());
            }
            let trouble = if let Some(status) = self.child.try_wait()? {
                format!("ended at once ({status})")
            } else if Instant::now() > deadline {
                format!("does not answer within {} s", PATIENCE.as_secs())
            } else {
                thread::sleep(Duration::from_millis(50));
                continue;
            };
            let log = fs::read(&self.log)?;
            let log = String::from_utf8_lossy(&log);
            return Err(format!("{} {trouble}; it printed:\n{}", self.name, log.trim()).into());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its data are worth nothing, so there is nothing to be saved. Both fail only if it ended.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// The same command, ended by the kernel when the thread that starts it ends.
fn bound_to_us(command: &Command) -> Command {
    let mut bound = Command::new("setpriv");
    bound.args(["--pdeathsig", "KILL", "--"]);
    bound.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    bound
}

/// A port of the loopback interface where nobody listens, and that no earlier call gave.
pub(crate) fn free_port() -> Result<u16> {
    static DRAWN: AtomicU16 = AtomicU16::new(0);
    let length = PORTS.end - PORTS.start;
    // Runs side by side begin at different places.
    let start = u16::try_from(std::process::id().wrapping_mul(61) % u32::from(length))?;
    for _ in 0..length {
        let drawn = DRAWN.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + (start + drawn % length) % length;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(format!("no port of {PORTS:?} is free").into())
}

/// Whether who listens on `port` answers `question` with something that starts with `answer`.
pub(crate) fn says(port: u16, question: &[u8], answer: &[u8]) -> io::Result<bool> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(question)?;
    let mut start = vec![0; answer.len()];
    stream.read_exact(&mut start)?;
    Ok(start == answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::ManuallyDrop;

    /// A server that has become what it was started as, when the kernel knows that it is ours.
    fn sleeping(folder: &Path) -> Server {
        let mut command = Command::new("sleep");
        command.arg("600");
        let mut server = Server::start("sleep", &command, folder).unwrap();
        let words = format!("/proc/{}/cmdline", server.child.id());
        let began = || Ok(fs::read(&words)?.starts_with(b"sleep"));
        server.wait_until(began).unwrap();
        server
    }

    fn runs(pid: u32) -> bool {
        // A process that ended and waits for its parent has nothing mapped any more.
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| !words.is_empty())
    }

    fn ends(pid: u32) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while runs(pid) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        !runs(pid)
    }

    #[test]
    fn a_dropped_server_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let server = sleeping(folder.path());
        let pid = server.child.id();
        assert!(runs(pid));
        drop(server);
        assert!(!runs(pid));
    }

    #[test]
    fn a_server_ends_with_the_thread_that_started_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let start = move || ManuallyDrop::new(sleeping(&path)).child.id();
        let pid = thread::spawn(start).join().unwrap();
        assert!(ends(pid));
    }

    #[test]
    fn a_server_that_ends_by_itself_is_reported_with_what_it_printed() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo the port is taken; exit 3"]);
        let mut server = Server::start("sh", &command, folder.path()).unwrap();
        let error = server.wait_until(|| Ok(false)).unwrap_err().to_string();
        assert!(error.starts_with("sh ended at once"), "{error}");
        assert!(error.ends_with("the port is taken"), "{error}");
    }

    #[test]
    fn no_port_is_given_twice_or_in_use() {
        let first = free_port().unwrap();
        let second = free_port().unwrap();
        assert_ne!(first, second);
        TcpListener::bind((Ipv4Addr::LOCALHOST, second)).unwrap();
    }
}
