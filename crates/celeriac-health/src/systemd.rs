//! What systemd is told: one datagram for each word.

use std::env;
use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tracing::debug;

/// The socket of whoever supervises this process.
#[derive(Debug)]
pub(crate) struct Systemd {
    socket: UnixDatagram,
    to: SocketAddr,
    watchdog: Option<Duration>,
}

impl Systemd {
    /// The one that the environment names, if it does.
    pub(crate) fn from_environment() -> Option<Self> {
        let name = env::var_os("NOTIFY_SOCKET")?;
        let to = address(&name)?;
        let socket = UnixDatagram::unbound().ok()?;
        // Nobody who reads slowly is waited for.
        socket.set_nonblocking(true).ok()?;
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0);
        Some(Self {
            socket,
            to,
            watchdog: watchdog.map(Duration::from_micros),
        })
    }

    /// Within which time it wants to hear of us, if it does.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Tells it `words`, one on each line.
    pub(crate) fn tell(&self, words: &str) {
        if let Err(error) = self.socket.send_to_addr(words.as_bytes(), &self.to) {
            debug!(%error, "the supervisor was not told");
        }
    }
}

/// A path, or after `@` a name of Linux's abstract space.
fn address(name: &OsStr) -> Option<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
        [b'/', ..] => SocketAddr::from_pathname(name).ok(),
        _ => None,
    }
}
