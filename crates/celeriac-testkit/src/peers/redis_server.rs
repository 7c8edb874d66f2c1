//! A Redis of a test's own, for what would disturb those who share one.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::child::OwnedChild;
use super::encrypted::free_port;

/// A server that runs; dropping it kills it.
#[derive(Debug)]
pub struct RedisServer {
    child: OwnedChild,
    port: u16,
    folder: TempDir,
}

impl RedisServer {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    ///
    /// If there is no `redis-server`.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("tests have temporary folders");
        let port = free_port();
        let server = Self {
            child: run(&folder, port, &[]),
            port,
            folder,
        };
        server.child.wait_for_line("Ready to accept connections");
        server
    }

    /// Has it speak TLS too, as `localhost` with the files that [`certify`](super::certify) has made in
    /// `folder`; gives the port.
    ///
    /// # Panics
    ///
    /// If it refuses.
    pub fn encrypt(&self, folder: &Path) -> u16 {
        let port = free_port();
        let file = |name: &str| folder.join(name).display().to_string();
        let done = self.ask(&[
            "CONFIG",
            "SET",
            "tls-cert-file",
            &file("own.pem"),
            "tls-key-file",
            &file("own.key"),
            "tls-ca-cert-file",
            &file("ca.pem"),
            "tls-auth-clients",
            "no",
            "tls-port",
            &port.to_string(),
        ]);
        assert_eq!(done, "OK");
        port
    }

    /// Its URL, with database 0.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Has it save what it holds, ends it, and starts it on that with these settings besides. It does
    /// not answer yet.
    ///
    /// # Panics
    ///
    /// If it does not end.
    pub fn restart(&mut self, settings: &[&str]) {
        self.ask(&["SAVE"]);
        self.child.signal(rustix::process::Signal::KILL);
        self.child.wait();
        self.child = run(&self.folder, self.port, settings);
    }

    /// Sends it a command by `redis-cli`, and gives the answer.
    ///
    /// # Panics
    ///
    /// If it cannot be asked.
    pub fn ask(&self, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string()]).args(words);
        let output = command
            .output()
            .expect("whoever has a server has its client");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }
}

fn run(folder: &TempDir, port: u16, settings: &[&str]) -> OwnedChild {
    let port = port.to_string();
    let always = [
        "--bind",
        "127.0.0.1",
        "--port",
        &port,
        "--appendonly",
        "no",
        "--save",
        "",
    ];
    let arguments = always.iter().chain(settings).copied();
    OwnedChild::start(
        "a Redis of the test's own",
        "redis-server",
        arguments,
        |command| {
            command.current_dir(folder.path());
        },
    )
}
