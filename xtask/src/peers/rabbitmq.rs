//! A RabbitMQ of our own: its own name, cookie, ports and folders, and no plugin.
//!
//! Erlang nodes of one machine find each other through a directory of names, `epmd`. Ours has a
//! port of its own too, and runs in the foreground, because the one that a node starts by itself
//! would outlive us.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Variables;
use super::packages::on_path;
use super::server::{Server, free_port, says};
use crate::Result;

/// The variables that tell tests its URL and a program, which is `rabbitmqctl` for it.
pub(crate) const SHARED: Told = ["CELERIAC_TEST_AMQP", "CELERIAC_TEST_RABBITMQCTL"];

/// The same of one that a single test may bring to a halt.
pub(crate) const SPARE: Told = [
    "CELERIAC_TEST_AMQP_SPARE",
    "CELERIAC_TEST_RABBITMQCTL_SPARE",
];

/// How a server is told of.
type Told = [&'static str; 2];

/// Where Debian keeps the server itself; what it has on the path changes the user first.
const DEBIAN: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// How a client of AMQP 0-9-1 greets, and what a server's first frame starts with: it is about a
/// method, on channel 0.
const GREETING: &[u8] = b"AMQP\x00\x00\x09\x01";
const METHOD: &[u8] = &[1, 0, 0];

/// One that runs.
#[derive(Debug)]
pub(crate) struct RabbitMq {
    server: Server,
    port: u16,
    _names: Server,
}

/// The server's program, if the machine has it.
pub(crate) fn program() -> Option<PathBuf> {
    let debian = PathBuf::from(DEBIAN);
    if debian.exists() {
        Some(debian)
    } else {
        on_path("rabbitmq-server")
    }
}

/// Starts it in `folder`; it does not answer yet.
pub(crate) fn start(folder: &Path, told: Told) -> Result<(RabbitMq, Variables)> {
    let program = program().ok_or("there is no rabbitmq-server")?;
    let node = Node::new(folder)?;
    let names = node.start_names()?;
    let mut command = Command::new(&program);
    command.envs(node.variables());
    let server = Server::start("rabbitmq-server", &command, folder)?;
    let control = node.write_control(&program.with_file_name("rabbitmqctl"))?;
    let variables = vec![
        (
            told[0],
            format!("amqp://guest:guest@127.0.0.1:{}//", node.port),
        ),
        (told[1], control),
    ];
    let running = RabbitMq {
        server,
        port: node.port,
        _names: names,
    };
    Ok((running, variables))
}

impl RabbitMq {
    /// Returns once it answers.
    pub(crate) fn wait(&mut self) -> Result<()> {
        let port = self.port;
        self.server.wait_until(|| says(port, GREETING, METHOD))
    }
}

/// Where one node lives.
struct Node<'a> {
    folder: &'a Path,
    name: String,
    port: u16,
    names_port: u16,
    nodes_port: u16,
}

impl<'a> Node<'a> {
    fn new(folder: &'a Path) -> Result<Self> {
        let node = Self {
            folder,
            name: format!("celeriac{}@localhost", std::process::id()),
            port: free_port()?,
            names_port: free_port()?,
            nodes_port: free_port()?,
        };
        let mut cookie = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o400)
            .open(folder.join(".erlang.cookie"))?;
        cookie.write_all(random()?.as_bytes())?;
        fs::write(folder.join("plugins"), "[].\n")?;
        fs::write(folder.join("rabbitmq.conf"), node.settings())?;
        fs::create_dir(folder.join("names"))?;
        Ok(node)
    }

    fn settings(&self) -> String {
        format!(
            "listeners.tcp.local = 127.0.0.1:{}\n\
             log.file = false\n\
             log.console = true\n\
             log.console.level = warning\n\
             # A disk that is nearly full would make it hold publishers up without a word.\n\
             disk_free_limit.absolute = 1MB\n",
            self.port
        )
    }

    /// What the server's scripts read.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let mut variables = self.of_clients();
        variables.extend([
            ("RABBITMQ_DIST_PORT", self.nodes_port.to_string()),
            ("RABBITMQ_MNESIA_BASE", path("data")),
            ("RABBITMQ_LOG_BASE", path("logs")),
            ("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins")),
            // The script then becomes the server, rather than its parent, which could leave it
            // behind.
            ("RABBITMQ_ALLOW_INPUT", "true".to_owned()),
            ("RABBITMQ_SERVER_START_ARGS", "-noinput".to_owned()),
            (
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}".to_owned(),
            ),
        ]);
        variables
    }

    /// What every program needs that wants to find the node.
    fn of_clients(&self) -> Vec<(&'static str, String)> {
        vec![
            ("HOME", self.folder.display().to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("ERL_EPMD_PORT", self.names_port.to_string()),
            ("RABBITMQ_NODENAME", self.name.clone()),
            ("RABBITMQ_CONF_ENV_FILE", "/dev/null".to_owned()),
        ]
    }

    fn start_names(&self) -> Result<Server> {
        let mut command = Command::new("epmd");
        command.args(["-address", "127.0.0.1", "-port"]);
        command.arg(self.names_port.to_string());
        let mut names = Server::start("epmd", &command, &self.folder.join("names"))?;
        let port = self.names_port;
        // Asked for all names (110, in a frame of one byte) it begins with its port.
        let question = [0, 1, 110];
        let answer = u32::from(port).to_be_bytes();
        names.wait_until(|| says(port, &question, &answer))?;
        Ok(names)
    }

    /// Writes a script that is `control` for this node; gives its path.
    fn write_control(&self, control: &Path) -> Result<String> {
        let path = self.folder.join("rabbitmqctl");
        let variables = self.of_clients();
        let exports = variables
            .iter()
            .map(|(name, value)| format!("export {name}='{value}'\n"));
        let script = format!(
            "#!/bin/sh\n{}exec '{}' \"$@\"\n",
            exports.collect::<String>(),
            control.display()
        );
        fs::write(&path, script)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(path.display().to_string())
    }
}

/// A word that nobody guesses.
fn random() -> Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes
        .iter()
        .map(|byte| char::from(b'A' + byte % 26))
        .collect())
}
