//! A Redis of our own, which keeps nothing on disk.

use std::path::Path;
use std::process::Command;

use super::Variables;
use super::server::{Server, free_port, says};
use crate::Result;

/// The variable that tells tests its URL.
const URL: &str = "CELERIAC_TEST_REDIS";

/// Starts it in `folder`; it may not answer yet.
pub(crate) fn start(folder: &Path) -> Result<(Redis, Variables)> {
    let port = free_port()?;
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--save", "", "--appendonly", "no"])
        .args(["--databases", "64", "--daemonize", "no"]);
    let server = Server::start("redis-server", &command, folder)?;
    let variables = vec![(URL, format!("redis://127.0.0.1:{port}/0"))];
    Ok((Redis { server, port }, variables))
}

/// One that runs.
#[derive(Debug)]
pub(crate) struct Redis {
    server: Server,
    port: u16,
}

impl Redis {
    /// Returns once it answers.
    pub(crate) fn wait(&mut self) -> Result<()> {
        let port = self.port;
        self.server
            .wait_until(|| says(port, b"PING\r\n", b"+PONG\r\n"))
    }
}
