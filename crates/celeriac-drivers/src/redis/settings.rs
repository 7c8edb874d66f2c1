//! What a URL says: where the servers are, and kombu's transport options.
//!
//! # Sources
//!
//! kombu's Redis transport: the names of the options and their defaults.

use std::path::PathBuf;
use std::time::Duration;

use celeriac_core::{Compression, ContentType};
use celeriac_wire::compression::deflate;
use celeriac_wire::result::ResultFormat;
use url::{Host, Url};

use super::keys;

/// Options of kombu's that say nothing to this driver, and need no warning.
const OF_NO_MEANING: [&str; 12] = [
    "ack_emulation",
    "brpop_timeout",
    "health_check_interval",
    "max_connections",
    "polling_interval",
    "retry_on_timeout",
    "retry_policy",
    "socket_keepalive",
    "socket_keepalive_options",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
];

/// A URL that cannot be used, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct SettingsError(pub(super) String);

/// A server: of Redis, or a Sentinel that knows one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// A host and its port.
    Tcp(String, u16),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// In which order the queues of one priority take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueueOrder {
    /// One after the other.
    RoundRobin,
    /// Always by name.
    Sorted,
    /// Always as they were given.
    AsGiven,
}

/// How a connection is secured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tls {
    /// Whether whose certificate it is does not matter.
    pub(super) insecure: bool,
    /// The file of the authorities to trust, instead of the system's.
    pub(super) authorities: Option<PathBuf>,
}

/// What a URL says.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Settings {
    /// The server, or the Sentinels.
    pub(super) endpoints: Vec<Endpoint>,
    /// What the Sentinels call it.
    pub(super) master: Option<String>,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) sentinel_password: Option<String>,
    pub(super) db: i64,
    pub(super) tls: Option<Tls>,
    /// Begins every key and channel of the broker.
    pub(super) key_prefix: String,
    /// Begins every key of a result.
    pub(super) result_prefix: String,
    /// What results are stored in.
    pub(super) results: ResultFormat,
    pub(super) separator: String,
    pub(super) steps: Vec<u8>,
    pub(super) unacked: String,
    pub(super) unacked_index: String,
    pub(super) unacked_mutex: String,
    pub(super) queue_order: QueueOrder,
    /// What other workers hold longer is given back.
    pub(super) visibility_timeout: Duration,
    pub(super) socket_timeout: Duration,
    pub(super) connect_timeout: Duration,
}

impl Settings {
    /// The settings of a URL, and the options in it that nobody knows.
    pub(super) fn parse(url: &str) -> Result<(Self, Vec<String>), SettingsError> {
        let mut parts = url.split(';').filter(|part| !part.trim().is_empty());
        let first = parse_url(parts.next().unwrap_or_default())?;
        let mut settings = Self::of(&first)?;
        let mut queries = vec![first.clone()];
        for part in parts {
            let other = parse_url(part)?;
            settings.endpoints.push(endpoint(&other)?);
            if other.path().len() > 1 {
                settings.db = database(&other)?;
            }
            queries.push(other);
        }
        let mut unknown = Vec::new();
        for url in &queries {
            for (name, value) in url.query_pairs() {
                if !settings.set(&name, &value)? {
                    unknown.push(name.into_owned());
                }
            }
        }
        if first.scheme() == "sentinel" && settings.master.is_none() {
            return Err(SettingsError(
                "it names Sentinels, but not what they call the server: add `?master_name=…`"
                    .to_owned(),
            ));
        }
        if first.scheme() != "sentinel" && settings.endpoints.len() > 1 {
            return Err(SettingsError(
                "it names several servers: give one, or Sentinels as in `sentinel://a;sentinel://b`"
                    .to_owned(),
            ));
        }
        Ok((settings, unknown))
    }

    fn of(url: &Url) -> Result<Self, SettingsError> {
        let text = |text: &str| percent_decode(text);
        Ok(Self {
            endpoints: vec![endpoint(url)?],
            master: None,
            username: match url.username() {
                "" => None,
                name => Some(text(name)?),
            },
            password: url.password().map(text).transpose()?,
            sentinel_password: None,
            db: database(url)?,
            tls: (url.scheme() == "rediss").then_some(Tls {
                insecure: false,
                authorities: None,
            }),
            key_prefix: String::new(),
            result_prefix: String::new(),
            results: ResultFormat::default(),
            separator: keys::SEPARATOR.to_owned(),
            steps: vec![0, 3, 6, 9],
            unacked: "unacked".to_owned(),
            unacked_index: "unacked_index".to_owned(),
            unacked_mutex: "unacked_mutex".to_owned(),
            queue_order: QueueOrder::RoundRobin,
            visibility_timeout: Duration::from_secs(3600),
            socket_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
        })
    }

    /// Takes up an option; whether there is one of this name.
    fn set(&mut self, name: &str, value: &str) -> Result<bool, SettingsError> {
        let value_of = || value.to_owned();
        match name {
            "global_keyprefix" => self.key_prefix = value_of(),
            "result_keyprefix" => self.result_prefix = value_of(),
            "result_serializer" => self.results.serializer = serializer(name, value)?,
            "result_compression" => self.results.compression = Some(compression(name, value)?),
            "sep" if !value.is_empty() => self.separator = value_of(),
            "priority_steps" => self.steps = steps(value)?,
            "unacked_key" => self.unacked = value_of(),
            "unacked_index_key" => self.unacked_index = value_of(),
            "unacked_mutex_key" => self.unacked_mutex = value_of(),
            "visibility_timeout" => self.visibility_timeout = seconds(name, value)?,
            "socket_timeout" => self.socket_timeout = seconds(name, value)?,
            "socket_connect_timeout" => self.connect_timeout = seconds(name, value)?,
            "master_name" => self.master = Some(value_of()),
            "sentinel_password" => self.sentinel_password = Some(value_of()),
            "virtual_host" | "db" => self.db = number(name, value)?,
            "queue_order_strategy" => {
                self.queue_order = match value {
                    "round_robin" => QueueOrder::RoundRobin,
                    "sorted" => QueueOrder::Sorted,
                    "priority" => QueueOrder::AsGiven,
                    _ => return Err(bad(name, value, "round_robin, sorted or priority")),
                }
            }
            "ssl_cert_reqs" => {
                let insecure = value.to_lowercase().ends_with("none");
                self.tls_mut().insecure = insecure;
            }
            "ssl_ca_certs" => self.tls_mut().authorities = Some(value.into()),
            name => return Ok(OF_NO_MEANING.contains(&name)),
        }
        Ok(true)
    }

    fn tls_mut(&mut self) -> &mut Tls {
        self.tls.get_or_insert(Tls {
            insecure: false,
            authorities: None,
        })
    }

    /// Where it is, for people: no user, no password, no options.
    pub(super) fn address(&self) -> String {
        let scheme = match (&self.master, &self.tls) {
            (Some(_), _) => "sentinel",
            (None, Some(_)) => "rediss",
            (None, None) => "redis",
        };
        let of = |endpoint: &Endpoint| match endpoint {
            Endpoint::Tcp(host, port) if host.contains(':') => {
                format!("{scheme}://[{host}]:{port}")
            }
            Endpoint::Tcp(host, port) => format!("{scheme}://{host}:{port}"),
            Endpoint::Unix(path) => format!("{scheme}+unix://{}", path.display()),
        };
        let endpoints: Vec<_> = self.endpoints.iter().map(of).collect();
        format!("{}/{}", endpoints.join(";"), self.db)
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Settings({})", self.address())
    }
}

fn parse_url(text: &str) -> Result<Url, SettingsError> {
    Url::parse(text.trim()).map_err(|error| {
        SettingsError(format!(
            "it is no URL ({error}): write redis://[user:password@]host[:port][/db], with special \
             characters of a password as %XX"
        ))
    })
}

fn endpoint(url: &Url) -> Result<Endpoint, SettingsError> {
    let standard = match url.scheme() {
        "redis" | "rediss" => 6379,
        "sentinel" => 26379,
        "redis+socket" | "redis+unix" | "unix" => {
            return Ok(Endpoint::Unix(percent_decode(url.path())?.into()));
        }
        other => {
            return Err(SettingsError(format!(
                "`{other}:` is no scheme of Redis: use redis, rediss, sentinel or redis+unix"
            )));
        }
    };
    let host = match url.host() {
        Some(Host::Domain("")) | None => "localhost".to_owned(),
        Some(Host::Domain(name)) => percent_decode(name)?,
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
    };
    Ok(Endpoint::Tcp(host, url.port().unwrap_or(standard)))
}

fn database(url: &Url) -> Result<i64, SettingsError> {
    let path = url.path().trim_matches('/');
    if path.is_empty() || url.scheme().ends_with("unix") || url.scheme().ends_with("socket") {
        return Ok(0);
    }
    path.parse()
        .map_err(|_| bad("database", path, "a number, as in redis://host/0"))
}

/// The text with its `%XX` replaced.
fn percent_decode(text: &str) -> Result<String, SettingsError> {
    // A query is decoded by the URL's own rules, but for `+`, which stands for itself here.
    let query = format!("x={}", text.replace('+', "%2B").replace('&', "%26"));
    let decoded = url::form_urlencoded::parse(query.as_bytes()).next();
    decoded.map_or_else(
        || Err(SettingsError("it is no URL".to_owned())),
        |(_, value)| Ok(value.into_owned()),
    )
}

fn bad(name: &str, value: &str, wanted: &str) -> SettingsError {
    SettingsError(format!(
        "`{}` does not fit `{name}`: write {wanted}",
        value.escape_debug()
    ))
}

fn serializer(name: &str, value: &str) -> Result<ContentType, SettingsError> {
    ContentType::from_name(value)
        .filter(|one| one.encode_into(&(), &mut Vec::new()).is_ok())
        .ok_or_else(|| bad(name, value, "json, msgpack or yaml"))
}

fn compression(name: &str, value: &str) -> Result<Compression, SettingsError> {
    Compression::from_name(value)
        .filter(|one| deflate(*one, b"").is_ok())
        .ok_or_else(|| {
            bad(
                name,
                value,
                "zlib, or bzip2, lzma, brotli or zstd if this build has it",
            )
        })
}

fn number(name: &str, value: &str) -> Result<i64, SettingsError> {
    let value = value.trim_matches('/');
    value
        .parse()
        .map_err(|_| bad(name, value, "a whole number"))
}

fn seconds(name: &str, value: &str) -> Result<Duration, SettingsError> {
    let seconds = value.parse().ok().filter(|seconds| *seconds > 0.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| bad(name, value, "a number of seconds above 0"))
}

fn steps(value: &str) -> Result<Vec<u8>, SettingsError> {
    let numbers = value.trim_matches(['[', ']']).split(',');
    let steps: Option<Vec<u8>> = numbers
        .map(|step| step.trim().parse().ok().filter(|step| *step <= 9))
        .collect();
    let mut steps = steps.ok_or_else(|| bad("priority_steps", value, "0 to 9, as in 0,3,6,9"))?;
    // Messages of the smallest priorities need a list too.
    steps.push(0);
    steps.sort_unstable();
    steps.dedup();
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Settings {
        Settings::parse(url).unwrap().0
    }

    #[test]
    fn a_bare_url_has_kombus_defaults() {
        let settings = parse("redis://");
        assert_eq!(
            settings.endpoints,
            [Endpoint::Tcp("localhost".to_owned(), 6379)]
        );
        assert_eq!((settings.db, &settings.steps[..]), (0, &[0, 3, 6, 9][..]));
        assert_eq!(settings.visibility_timeout.as_secs(), 3600);
        assert_eq!(settings.address(), "redis://localhost:6379/0");
    }

    #[test]
    fn credentials_are_decoded_and_never_shown() {
        let settings = parse("rediss://me:p%40ss+w%2Ford@[::1]:7000/4?ssl_cert_reqs=required");
        assert_eq!(settings.username.as_deref(), Some("me"));
        assert_eq!(settings.password.as_deref(), Some("p@ss+w/ord"));
        assert_eq!(settings.db, 4);
        assert_eq!(settings.tls.as_ref().map(|tls| tls.insecure), Some(false));
        assert_eq!(format!("{settings:?}"), "Settings(rediss://[::1]:7000/4)");
    }

    #[test]
    fn sentinels_are_named_one_by_one() {
        let settings = parse("sentinel://:pw@a:1;sentinel://b/2?master_name=m");
        let [a, b] = [("a", 1), ("b", 26379)].map(|(h, p)| Endpoint::Tcp(h.to_owned(), p));
        assert_eq!(settings.endpoints, [a, b]);
        assert_eq!((settings.db, settings.master.as_deref()), (2, Some("m")));
        let unnamed = Settings::parse("sentinel://a").unwrap_err();
        assert!(unnamed.to_string().contains("master_name"));
    }

    #[test]
    fn a_socket_is_a_path() {
        let settings = parse("redis+unix:///run/redis%20x.sock?virtual_host=3");
        assert_eq!(
            settings.endpoints,
            [Endpoint::Unix("/run/redis x.sock".into())]
        );
        assert_eq!(settings.db, 3);
    }

    #[test]
    fn unknown_options_are_named_and_bad_ones_refused() {
        let (_, unknown) = Settings::parse("redis://h?max_connections=4&colour=red").unwrap();
        assert_eq!(unknown, ["colour"]);
        for bad in [
            "redis://h/x",
            "redis://h?priority_steps=0,10",
            "redis://h?visibility_timeout=-1",
            "redis://h?queue_order_strategy=random",
            "redis://h?result_serializer=pickle",
            "redis://h?result_compression=rar",
            "redis://a;redis://b",
            "http://h",
        ] {
            assert!(Settings::parse(bad).is_err(), "{bad}");
        }
    }
}
