//! How the command line asks for it.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use clap::Args;

#[cfg(feature = "smtp")]
use crate::AlertArgs;

/// The flags of a worker that say to whom it tells how it is.
#[derive(Debug, Clone, Args)]
pub struct HealthArgs {
    /// Serves /livez, /readyz and /metrics over HTTP at HOST:PORT, or at a PORT of this machine
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub http: Option<SocketAddr>,
    /// Touches this file every 5 s while the worker is alive, from when it is ready, and removes it at
    /// its end
    #[arg(long, value_name = "FILE")]
    pub health_file: Option<PathBuf>,
    /// Sends what is counted every 10 s, and at the end, to the StatsD server at HOST:PORT, or at a PORT
    /// of this machine
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub statsd: Option<SocketAddr>,
    /// What the names of StatsD's metrics begin with
    #[arg(long, value_name = "PREFIX", default_value = PREFIX)]
    pub statsd_prefix: String,
    /// Names tasks and queues in tags, as DogStatsD has them, and not in the names of metrics
    #[arg(long)]
    pub statsd_tags: bool,
    #[cfg(feature = "smtp")]
    #[command(flatten, next_help_heading = "Alerts")]
    /// Who is mailed of failures.
    pub alerts: AlertArgs,
}

/// What names begin with unless another prefix is asked for.
const PREFIX: &str = "celeriac";

impl Default for HealthArgs {
    /// Tells nobody.
    fn default() -> Self {
        Self {
            http: None,
            health_file: None,
            statsd: None,
            statsd_prefix: PREFIX.to_owned(),
            statsd_tags: false,
            #[cfg(feature = "smtp")]
            alerts: AlertArgs::default(),
        }
    }
}

/// Reads `127.0.0.1:9540`, `[::1]:9540`, `localhost:9540` or `9540`.
fn address(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').unwrap_or(text);
    if let Ok(port) = port.parse() {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    let found = text.to_socket_addrs();
    let mut found = found.map_err(|error| format!("{error}; write 127.0.0.1:PORT for example"))?;
    let none = || "this host has no address".to_owned();
    found.next().ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn a_port_alone_is_one_of_this_machine() {
        for (text, expected) in [
            ("9540", "127.0.0.1:9540"),
            (":9540", "127.0.0.1:9540"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:0", "[::1]:0"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), expected);
        }
        for text in ["", "99999", "127.0.0.1", "1.2.3.4:x"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
