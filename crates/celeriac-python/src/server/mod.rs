//! The fork server: a Python process that imports the app, and forks the others.

mod control;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::control::Control;
use crate::import::ImportRequest;
use crate::interpreter::Interpreter;
use crate::packet::Junk;
use crate::report::AppReport;

/// How the fork server is started: the same way each time.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) interpreter: Interpreter,
    /// What `python -c` is given.
    pub(crate) boot: String,
    /// The modules that it makes, and the one that it hands over to.
    pub(crate) modules: Map<String, Value>,
    pub(crate) main: String,
    pub(crate) request: ImportRequest,
}

/// What the fork server says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Notice {
    Report(Box<AppReport>),
    Failed(Failure),
    Prepared {},
    Forked { number: u64, pid: i32 },
    Exited { number: u64, status: i32 },
}

/// Why the fork server cannot do its work.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Failure {
    pub(crate) why: String,
    #[serde(default)]
    pub(crate) traceback: String,
    #[serde(default)]
    pub(crate) advice: String,
}

/// What a process is forked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Child,
    Service,
}

/// A running fork server.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    pidfd: OwnedFd,
    control: Control,
}

impl Server {
    /// Starts it, and asks it to import the app.
    ///
    /// It dies with the thread that calls this.
    pub(crate) fn start(recipe: &Recipe) -> io::Result<Self> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        let mut process = Command::new(recipe.interpreter.path())
            .arg("-c")
            .arg(&recipe.boot)
            .stdin(Stdio::from(OwnedFd::from(far)))
            .spawn()?;
        let pidfd = match pidfd_open(pid(&process), PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                process.kill()?;
                process.wait()?;
                return Err(error.into());
            }
        };
        let mut control = Control::new(near);
        control.send(
            &json!({"modules": recipe.modules, "main": recipe.main}),
            Vec::new(),
        );
        let mut import = json!(recipe.request);
        import["do"] = "import".into();
        control.send(&import, Vec::new());
        let mut server = Self {
            process,
            pidfd,
            control,
        };
        server.control.flush();
        Ok(server)
    }

    /// Asks it to set up what all children inherit.
    pub(crate) fn prepare(&mut self, piped: bool, pool: &str, slots: usize) {
        let frame = json!({"do": "prepare", "piped": piped, "pool": pool, "slots": slots});
        self.control.send(&frame, Vec::new());
    }

    /// Asks it to fork a process that has these descriptors.
    pub(crate) fn fork(&mut self, number: u64, role: Role, shared: [OwnedFd; 2]) {
        let role = match role {
            Role::Child => "child",
            Role::Service => "service",
        };
        let frame = json!({"do": "fork", "number": number, "role": role});
        self.control.send(&frame, shared.into());
    }

    /// Asks it to exit when all that it has forked is gone.
    pub(crate) fn end(&mut self) {
        self.control.send(&json!({"do": "end"}), Vec::new());
    }

    /// Sends what waits to be sent; false if some of it still does.
    pub(crate) fn flush(&mut self) -> bool {
        self.control.flush()
    }

    /// What it said since the last time.
    pub(crate) fn notices(&mut self) -> Result<Vec<Notice>, Junk> {
        self.control.receive()
    }

    /// Whether it has hung up, which it does only by ending.
    pub(crate) fn has_hung_up(&self) -> bool {
        self.control.is_closed()
    }

    /// How it ended, if it has; its descriptors may then be dropped.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    pub(crate) fn kill(&self) {
        // It can only be gone already.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Readable when it has exited.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub(crate) fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        // Killed, it needs no longer than the system takes to end it.
        let _ = self.process.wait();
    }
}

fn pid(process: &Child) -> Pid {
    let id = i32::try_from(process.id()).ok();
    id.and_then(Pid::from_raw).expect("a process has a number")
}
