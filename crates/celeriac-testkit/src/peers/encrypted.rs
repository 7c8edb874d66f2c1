//! Servers that are spoken to over TLS, and the certificates of tests.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;

use super::rabbitmqctl;

/// Makes an authority, `ca.pem`, and a server `localhost` that it vouches for: `own.pem`, `own.key`.
///
/// # Panics
///
/// If there is no `openssl`.
pub fn certify(folder: &Path) {
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost\n")
        .expect("the folder is the test's");
    for arguments in [
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority",
        "req -newkey rsa:2048 -nodes -keyout own.key -out own.csr -subj /CN=localhost",
        "x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out own.pem -days 2 \
         -extfile names",
    ] {
        let ran = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(folder)
            .output()
            .expect("tests have openssl");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "openssl {arguments}: {said}");
    }
}

/// A second port of the RabbitMQ that all tests share, where it speaks TLS as `localhost`; closed when
/// dropped.
#[derive(Debug)]
pub struct EncryptedRabbitMq {
    port: u16,
}

impl EncryptedRabbitMq {
    /// Opens it, with the files that [`certify`] has made in `folder`.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    pub fn listen(folder: &Path) -> Self {
        let port = free_port();
        let file = |name: &str| format!("\"{}\"", folder.join(name).display());
        let options = format!(
            "[{{certfile, {}}}, {{keyfile, {}}}, {{verify, verify_none}}]",
            file("own.pem"),
            file("own.key")
        );
        rabbitmqctl(&[
            "eval",
            &format!(
                "ok = rabbit_networking:start_ssl_listener({{\"127.0.0.1\", {port}}}, {options}, 2)."
            ),
        ]);
        Self { port }
    }

    /// Where it listens on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for EncryptedRabbitMq {
    fn drop(&mut self) {
        let stop = format!(
            "rabbit_networking:stop_tcp_listener({{\"127.0.0.1\", {}}}).",
            self.port
        );
        rabbitmqctl(&["eval", &stop]);
    }
}

/// A port where nobody listens.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("it listens").port()
}
