//! A server for mails: Python's `aiosmtpd`.

use serde_json::Value;

use super::child::OwnedChild;
use super::{CeleryVersion, unique};

const PROGRAM: &str = include_str!("mail.py");

/// A server at a port of this machine, which wants a login; dropping it kills it.
#[derive(Debug)]
pub struct MailServer {
    child: OwnedChild,
    port: u16,
    password: String,
}

impl MailServer {
    /// Starts one at a port that is free.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn start() -> Self {
        Self::listen(0, unique("password"))
    }

    /// Ends it; nobody listens at its port then.
    pub fn stop(self) -> StoppedMailServer {
        StoppedMailServer {
            port: self.port,
            password: self.password.clone(),
        }
    }

    fn listen(port: u16, password: String) -> Self {
        let words = ["-c", PROGRAM, &port.to_string(), "user", &password].map(str::to_owned);
        let words = words.iter().map(String::as_str);
        let python = CeleryVersion::V57.python();
        let child = OwnedChild::start("the mail server", &python, words, |_| {});
        let line = child.wait_for_line("LISTENS ");
        let port = line.trim_end().rsplit(' ').next();
        let port = port.and_then(|port| port.parse().ok());
        Self {
            child,
            port: port.expect("it prints its port"),
            password,
        }
    }

    /// Its URL, with the login.
    pub fn url(&self) -> String {
        format!("smtp://user:{}@127.0.0.1:{}", self.password, self.port)
    }

    /// The password of the login.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Waits for the next mail: its `from`, `to`, `subject`, `text` and `headers`.
    ///
    /// # Panics
    ///
    /// If none comes within a minute.
    pub fn mail(&self) -> Value {
        let line = self.child.wait_for_line("MAIL ");
        let (_, mail) = line.split_once("MAIL ").expect("it was waited for");
        serde_json::from_str(mail).expect("Python writes JSON")
    }
}

/// A server that is down.
#[derive(Debug)]
pub struct StoppedMailServer {
    port: u16,
    password: String,
}

impl StoppedMailServer {
    /// Starts it again, where it was.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn start(self) -> MailServer {
        MailServer::listen(self.port, self.password)
    }
}
