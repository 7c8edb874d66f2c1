//! What a URL says: servers to try, and how queues are declared.
//!
//! ```text
//! amqp://USER:PASSWORD@HOST:PORT/VHOST?OPTION=VALUE&…[;amqp://…]
//! ```
//!
//! # Sources
//!
//! The virtual host is read as kombu reads it: `/` and nothing both mean `/`, `//` does too, and
//! `/name` means `name`.

use std::path::PathBuf;
use std::time::Duration;

use celeriac_core::{BrokerError, BrokerUrl};

use crate::definitions::Definitions;

/// Who declares more often only keeps the server busy.
const SHORTEST_DECLARE_INTERVAL: Duration = Duration::from_millis(100);

/// What a URL says.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The servers, in the order they are tried.
    pub(crate) targets: Vec<Target>,
    /// Seconds between heartbeats; a connection that is silent for twice as long is lost.
    pub(crate) heartbeat_s: u16,
    /// The kind of the task queues that are declared.
    pub(crate) queue_type: QueueType,
    /// The kind of the queues in which delayed messages wait.
    pub(crate) delayed_queue_type: QueueType,
    /// `x-max-priority` of the task queues, if they have priorities.
    pub(crate) max_priority: Option<u8>,
    /// How long an unused task queue is kept, if not for ever.
    pub(crate) queue_expires: Option<Duration>,
    /// Put before the name of every queue and exchange of tasks.
    pub(crate) prefix: String,
    /// The queues that are declared otherwise than by their names alone.
    pub(crate) topology: Definitions,
    /// The exchange of remote control is called so, followed by `.pidbox`.
    pub(crate) control_exchange: String,
    /// How long results are remembered that do not say it themselves.
    pub(crate) result_expires: Duration,
    /// How often a consumer declares its queues and bindings again, and for how long a sender takes an
    /// exchange with its queues to be as it has declared them.
    pub(crate) declare_interval: Duration,
    /// How long publishing waits for a server that takes no messages.
    pub(crate) publish_timeout: Duration,
    /// How long the server lets a delivery be unacknowledged.
    pub(crate) consumer_timeout: Duration,
}

/// A server and who we are to it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) tls: bool,
    /// The file of the authorities to trust, instead of those that browsers trust.
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) vhost: String,
}

/// The kinds of queue that RabbitMQ has for tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueType {
    Classic,
    Quorum,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.address())
    }
}

impl Target {
    /// Host, port and virtual host, for people.
    pub(crate) fn address(&self) -> String {
        let host = &self.host;
        match self.vhost.as_str() {
            "/" => format!("{host}:{}", self.port),
            vhost => format!("{host}:{}/{vhost}", self.port),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            heartbeat_s: 6,
            queue_type: QueueType::Classic,
            delayed_queue_type: QueueType::Quorum,
            max_priority: None,
            queue_expires: None,
            prefix: String::new(),
            topology: Definitions::default(),
            control_exchange: "celery".to_owned(),
            result_expires: Duration::from_secs(24 * 60 * 60),
            declare_interval: Duration::from_secs(30),
            publish_timeout: Duration::from_secs(30),
            consumer_timeout: Duration::from_secs(30 * 60),
        }
    }
}

impl Settings {
    /// Reads a URL, or several that are separated by `;`.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Unusable`] with what is wrong with it; never its password.
    pub(crate) fn read(url: &BrokerUrl) -> Result<Self, BrokerError> {
        let mut settings = Self::default();
        for one in url.expose().split(';').filter(|one| !one.is_empty()) {
            settings
                .read_one(one)
                .map_err(|reason| BrokerError::Unusable {
                    address: url.to_string(),
                    reason,
                    help: "write amqp://USER:PASSWORD@HOST:PORT/VHOST?OPTION=VALUE".to_owned(),
                })?;
        }
        Ok(settings)
    }

    fn read_one(&mut self, url: &str) -> Result<(), String> {
        let (scheme, rest) = url.split_once("://").ok_or("it has no scheme")?;
        let tls = match scheme {
            "amqp" | "pyamqp" => false,
            "amqps" | "pyamqps" => true,
            other => return Err(format!("`{other}:` is no scheme of AMQP")),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user_info, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        let default = if tls { 5671 } else { 5672 };
        let (host, port) = split_port(host, default)?;
        let or = |text: String, default: &str| {
            if text.is_empty() {
                default.to_owned()
            } else {
                text
            }
        };
        self.targets.push(Target {
            tls,
            authorities: None,
            host: or(host, "localhost"),
            port,
            password: if user_info.is_empty() {
                "guest".to_owned()
            } else {
                unquote(password)?
            },
            user: or(unquote(user)?, "guest"),
            vhost: or(unquote(path)?, "/"),
        });
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (option, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.set(option, &unquote(value)?)?;
        }
        Ok(())
    }

    fn set(&mut self, option: &str, value: &str) -> Result<(), String> {
        match option {
            "heartbeat" => self.heartbeat_s = number(option, value)?,
            "queue_type" => self.queue_type = queue_type(value)?,
            "delayed_queue_type" => self.delayed_queue_type = queue_type(value)?,
            "max_priority" => self.max_priority = Some(number(option, value)?),
            "queue_expires" => self.queue_expires = Some(seconds(option, value)?),
            "queue_name_prefix" => value.clone_into(&mut self.prefix),
            "control_exchange" => value.clone_into(&mut self.control_exchange),
            "result_expires" => self.result_expires = seconds(option, value)?,
            "declare_interval" => {
                self.declare_interval = seconds(option, value)?.max(SHORTEST_DECLARE_INTERVAL);
            }
            "publish_timeout" => self.publish_timeout = seconds(option, value)?,
            "consumer_timeout" => self.consumer_timeout = seconds(option, value)?,
            // It is said of the server before it.
            "ssl_ca_certs" => {
                if let Some(target) = self.targets.last_mut() {
                    target.authorities = Some(value.into());
                }
            }
            other => tracing::warn!(option = other, "the broker's URL has an unknown option"),
        }
        Ok(())
    }

    /// Where the first server is, for people.
    pub(crate) fn address(&self) -> String {
        let targets = self.targets.iter().map(Target::address);
        targets.collect::<Vec<_>>().join(";")
    }
}

fn split_port(host: &str, default: u16) -> Result<(String, u16), String> {
    // An address of IPv6 stands in brackets, which keep its colons apart.
    let end = host.rfind(']').map_or(0, |end| end + 1);
    match host[end..].rsplit_once(':') {
        Some((before, port)) => {
            let port = port.parse().map_err(|_| format!("`{port}` is no port"))?;
            Ok((format!("{}{before}", &host[..end]), port))
        }
        None => Ok((host.to_owned(), default)),
    }
}

fn number<T: std::str::FromStr>(option: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("`{option}` must be a whole number, not `{value}`"))
}

fn seconds(option: &str, value: &str) -> Result<Duration, String> {
    let seconds: f64 = number(option, value)?;
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| format!("`{option}` must be a number of seconds, not `{value}`"))
}

fn queue_type(value: &str) -> Result<QueueType, String> {
    match value {
        "classic" => Ok(QueueType::Classic),
        "quorum" => Ok(QueueType::Quorum),
        other => Err(format!("a queue is `classic` or `quorum`, not `{other}`")),
    }
}

/// Undoes percent encoding.
fn unquote(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        match (digit(), digit()) {
            (Some(high), Some(low)) => bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?')),
            _ => return Err("a `%` is not followed by two hexadecimal digits".to_owned()),
        }
    }
    String::from_utf8(bytes).map_err(|_| "an escaped text is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use celeriac_core::Place;
    use proptest::prelude::*;

    fn read(url: &str) -> Result<Settings, BrokerError> {
        match url.parse().unwrap() {
            Place::Broker(url) => Settings::read(&url),
            place => panic!("{place} is no broker"),
        }
    }

    fn target(url: &str) -> Target {
        read(url).unwrap().targets.remove(0)
    }

    #[test]
    fn the_virtual_host_is_read_as_kombu_reads_it() {
        for (url, vhost) in [
            ("amqp://host", "/"),
            ("amqp://host/", "/"),
            ("amqp://host//", "/"),
            ("amqp://host/%2F", "/"),
            ("amqp://host/shop", "shop"),
            ("amqp://host//shop", "/shop"),
            ("pyamqp://host/a%20b?heartbeat=10", "a b"),
        ] {
            assert_eq!(target(url).vhost, vhost, "{url}");
        }
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let found = target("amqp://");
        let (user, password) = (found.user.as_str(), found.password.as_str());
        assert_eq!((user, password, found.port), ("guest", "guest", 5672));
        assert_eq!(found.host, "localhost");
        assert_eq!(target("amqps://host").port, 5671);
        assert_eq!(target("amqp://[::1]:5673").host, "[::1]");
    }

    #[test]
    fn credentials_may_be_escaped() {
        let found = target("amqp://me%40home:p%3A%2F%40@host:1234//");
        let read = (found.user.as_str(), found.password.as_str(), found.port);
        assert_eq!(read, ("me@home", "p:/@", 1234));
    }

    #[test]
    fn several_servers_are_tried_in_their_order() {
        let settings = read("amqp://one//?queue_type=quorum;amqp://two:1//").unwrap();
        assert_eq!(settings.address(), "one:5672;two:1");
        assert_eq!(settings.queue_type, QueueType::Quorum);
    }

    #[test]
    fn nonsense_is_refused_without_the_password() {
        for url in [
            "amqp://user:secret@host:port/",
            "amqp://user:secret@host/?heartbeat=soon",
            "amqp://user:secret@host/?queue_type=stream",
            "amqp://user:secret@host/%zz",
            "amqp://user:secret@host;redis://other",
        ] {
            let error = read(url).unwrap_err();
            let shown = format!("{error} {error:?} {:?}", error.help());
            assert!(!shown.contains("secret"), "{shown}");
        }
        let shown = format!("{:?}", read("amqp://user:secret@host").unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_url_panics(rest in ".{0,40}") {
            let mut settings = Settings::default();
            let _ = settings.read_one(&format!("amqp://{rest}"));
        }
    }
}
