//! A Redis of our own, which keeps nothing on disk: the machine's, or an older one.

use std::path::Path;
use std::process::Command;

use super::Variables;
use super::server::{Server, free_port, says};
use crate::Result;

/// The variable that tells tests the URL of the machine's own.
pub(super) const URL: &str = "CELERIAC_TEST_REDIS";

/// The variable that tells tests the URL of a Redis 6.2, the oldest that we work with.
pub(super) const URL_62: &str = "CELERIAC_TEST_REDIS_62";

/// Starts `program` in `folder`, which `variable` will name; it may not answer yet.
pub(crate) fn start(
    program: &Path,
    variable: &'static str,
    folder: &Path,
) -> Result<(Redis, Variables)> {
    let port = free_port()?;
    let mut command = Command::new(program);
    command
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--save", "", "--appendonly", "no"])
        .args(["--databases", "64", "--daemonize", "no"]);
    let server = Server::start("redis-server", &command, folder)?;
    let variables = vec![(variable, format!("redis://127.0.0.1:{port}/0"))];
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

/// Drops all that the one at `url` has stored. It is for ours only: it asks nobody.
pub(super) fn empty(url: &str) -> Result<()> {
    let port = port_of(url).ok_or_else(|| format!("no port in {url}"))?;
    if says(port, b"FLUSHALL\r\n", b"+OK\r\n")? {
        Ok(())
    } else {
        Err("redis-server does not drop what it has stored".into())
    }
}

fn port_of(url: &str) -> Option<u16> {
    let (_, port_and_db) = url.rsplit_once(':')?;
    port_and_db.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_was_emptied_has_nothing_stored() {
        let folder = tempfile::tempdir().unwrap();
        let (mut server, variables) = start("redis-server".as_ref(), URL, folder.path()).unwrap();
        server.wait().unwrap();
        let url = &variables[0].1;
        assert!(says(server.port, b"SET a 1\r\n", b"+OK\r\n").unwrap());

        empty(url).unwrap();

        assert!(says(server.port, b"DBSIZE\r\n", b":0\r\n").unwrap());
    }

    #[test]
    fn a_url_without_a_port_is_refused() {
        assert_eq!(port_of("redis://127.0.0.1:6380/0"), Some(6380));
        for url in ["redis://localhost", "redis://localhost/0", ""] {
            assert!(empty(url).is_err());
        }
    }
}
