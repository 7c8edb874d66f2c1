//! The way to the server: a connection that is made when it is needed and made anew when it broke.
//!
//! Nothing blocks on it, so one connection serves everybody, in the order in which they ask.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use celeriac_core::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue,
    IntoConnectionInfo, Pipeline, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo,
    RedisResult, Script, ServerErrorKind, TlsCertificates, TlsMode, ToRedisArgs,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use super::failure::Failure;
use super::settings::{Endpoint, Settings};

/// When the kernel gives up a peer that does not acknowledge what it was sent.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// The runtime of all connections of this process: one thread, whatever the caller runs on.
pub(super) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("redis")
            .enable_all()
            .build()
            .expect("a process that cannot start a thread cannot reach a broker")
    })
}

/// Runs `future` where the connections are; it goes on if its caller does not wait for it.
pub(super) async fn detached<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, Failure> {
    let joined = runtime().spawn(future).await;
    joined.map_err(|_| Failure::misfit("the connection's task panicked", "please report it"))
}

/// Makes connections as the settings say.
#[derive(Debug)]
pub(super) struct Dialer {
    settings: Settings,
}

impl Dialer {
    /// For connections of these settings.
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings }
    }

    fn login(&self) -> RedisConnectionInfo {
        let mut login = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_db(self.settings.db)
            .set_lib_name("celeriac", env!("CARGO_PKG_VERSION"));
        if let Some(name) = &self.settings.username {
            login = login.set_username(name);
        }
        if let Some(password) = &self.settings.password {
            login = login.set_password(password);
        }
        login
    }

    /// The authorities the certificates of which are trusted, if not the system's.
    fn certificates(&self) -> Result<TlsCertificates, Failure> {
        let file = self
            .settings
            .tls
            .as_ref()
            .and_then(|tls| tls.authorities.as_ref());
        let read = |path: &std::path::PathBuf| {
            std::fs::read(path).map_err(|error| {
                let reason = format!("{} cannot be read: {error}", path.display());
                Failure::misfit(reason, "check `ssl_ca_certs` in the URL")
            })
        };
        Ok(TlsCertificates {
            client_tls: None,
            root_cert: file.map(read).transpose()?,
        })
    }

    fn address(&self, endpoint: &Endpoint) -> ConnectionAddr {
        match (endpoint, &self.settings.tls) {
            (Endpoint::Unix(path), _) => ConnectionAddr::Unix(path.clone()),
            (Endpoint::Tcp(host, port), None) => ConnectionAddr::Tcp(host.clone(), *port),
            (Endpoint::Tcp(host, port), Some(tls)) => ConnectionAddr::TcpTls {
                host: host.clone(),
                port: *port,
                insecure: tls.insecure,
                tls_params: None,
            },
        }
    }

    /// The server, or the master that the Sentinels name now.
    async fn client(&self) -> Result<Client, Failure> {
        let Some(master) = &self.settings.master else {
            let info = self.address(&self.settings.endpoints[0]);
            let info = info
                .into_connection_info()?
                .set_tcp_settings(tcp())
                .set_redis_settings(self.login());
            return self.secured(info);
        };
        let sentinels = self.settings.endpoints.iter();
        let sentinels = sentinels.map(|endpoint| self.address(endpoint));
        let mut builder =
            SentinelClientBuilder::new(sentinels, master, SentinelServerType::Master)?
                .set_client_to_redis_db(self.settings.db)
                .set_client_to_redis_protocol(ProtocolVersion::RESP3)
                .set_client_to_redis_tcp_settings(tcp())
                .set_client_to_sentinel_tcp_settings(tcp());
        if let Some(name) = &self.settings.username {
            builder = builder.set_client_to_redis_username(name);
        }
        if let Some(password) = &self.settings.password {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(password) = &self.settings.sentinel_password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if let Some(tls) = &self.settings.tls {
            let mode = if tls.insecure {
                TlsMode::Insecure
            } else {
                TlsMode::Secure
            };
            let certificates = self.certificates()?;
            builder = builder
                .set_client_to_redis_tls_mode(mode)
                .set_client_to_sentinel_tls_mode(mode)
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates);
        }
        Ok(builder.build()?.async_get_client().await?)
    }

    fn secured(&self, info: ConnectionInfo) -> Result<Client, Failure> {
        if self.settings.tls.is_none() {
            return Ok(Client::open(info)?);
        }
        // Whoever embeds us may have chosen a provider; then that is the one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Client::build_with_tls(info, self.certificates()?)?)
    }

    /// A new connection, and what the server says on it unasked.
    pub(super) async fn dial(
        &self,
    ) -> Result<(MultiplexedConnection, mpsc::UnboundedReceiver<PushInfo>), Failure> {
        let (pushed, pushes) = mpsc::unbounded_channel();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.settings.connect_timeout))
            .set_response_timeout(Some(self.settings.socket_timeout))
            .set_push_sender(pushed);
        let dialling = async {
            let client = self.client().await?;
            let connection = client
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            Ok((connection, pushes))
        };
        tokio::time::timeout(self.settings.connect_timeout * 2, dialling)
            .await
            .unwrap_or_else(|_| Err(Failure::timed_out()))
    }
}

/// How a connection is kept, and found to be lost.
fn tcp() -> TcpSettings {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(5))
        .with_interval(Duration::from_secs(2))
        .with_retries(3);
    TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive)
        .set_user_timeout(USER_TIMEOUT)
}

/// The connection, if there is one.
type Slot = Arc<Mutex<Option<(u64, MultiplexedConnection)>>>;

/// A connection for commands, shared by all who have a clone.
#[derive(Debug, Clone)]
pub(super) struct Link {
    dialer: Arc<Dialer>,
    slot: Slot,
    /// One dials at a time, with the number of the last connection.
    dialling: Arc<tokio::sync::Mutex<u64>>,
}

impl Link {
    /// A way that nobody has gone yet.
    pub(super) fn new(dialer: Arc<Dialer>) -> Self {
        Self {
            dialer,
            slot: Arc::default(),
            dialling: Arc::default(),
        }
    }

    fn current(&self) -> Option<(u64, MultiplexedConnection)> {
        lock(&self.slot).clone()
    }

    /// The connection, made if there is none.
    async fn connection(&self) -> Result<(u64, MultiplexedConnection), Failure> {
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let mut number = self.dialling.lock().await;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        // Erased: with all the layers of a client in it, callers' own futures would have a type too
        // deep for the compiler.
        let dialling: BoxFuture<'_, _> = Box::pin(self.dialer.dial());
        let (connection, pushes) = dialling.await?;
        *number += 1;
        let made = (*number, connection);
        *lock(&self.slot) = Some(made.clone());
        runtime().spawn(forget_when_lost(
            Arc::downgrade(&self.slot),
            *number,
            pushes,
        ));
        Ok(made)
    }

    /// Takes note of what became of a request: after some errors the connection is not used again.
    fn judge<T>(&self, number: u64, answer: RedisResult<T>) -> Result<T, Failure> {
        answer.map_err(|error| {
            if error.is_unrecoverable_error() || error.is_timeout() || is_demoted(&error) {
                forget(&self.slot, number);
            }
            Failure::from(error)
        })
    }

    /// Sends a command, which is carried out even if nobody waits for its answer.
    pub(super) async fn command<T>(&self, command: Cmd) -> Result<T, Failure>
    where
        T: FromRedisValue + Send + 'static,
    {
        let link = self.clone();
        detached(async move {
            let (number, mut connection) = link.connection().await?;
            link.judge(number, command.query_async(&mut connection).await)
        })
        .await?
    }

    /// Sends commands together, as [`command`](Self::command) does one.
    pub(super) async fn pipeline<T>(&self, commands: Pipeline) -> Result<T, Failure>
    where
        T: FromRedisValue + Send + 'static,
    {
        let link = self.clone();
        detached(async move {
            let (number, mut connection) = link.connection().await?;
            link.judge(number, commands.query_async(&mut connection).await)
        })
        .await?
    }

    /// Has a script run, as [`command`](Self::command) does a command.
    pub(super) async fn run<T>(&self, call: Call) -> Result<T, Failure>
    where
        T: FromRedisValue + Send + 'static,
    {
        let link = self.clone();
        detached(async move { link.run_here(&call).await }).await?
    }

    /// The same for a caller that runs where the connections are and goes on to the end.
    pub(super) async fn run_here<T: FromRedisValue>(&self, call: &Call) -> Result<T, Failure> {
        let (number, mut connection) = self.connection().await?;
        let mut answer = call.command.query_async(&mut connection).await;
        let missing = ErrorKind::Server(ServerErrorKind::NoScript);
        if matches!(&answer, Err(error) if error.kind() == missing) {
            let loaded = call.script.load_async(&mut connection).await;
            self.judge(number, loaded)?;
            answer = call.command.query_async(&mut connection).await;
        }
        self.judge(number, answer)
    }
}

/// A script with its keys and arguments.
#[derive(Debug)]
pub(super) struct Call {
    script: &'static Script,
    command: Cmd,
}

impl Call {
    /// A call with these keys, and no argument yet.
    pub(super) fn new<K: AsRef<str>>(
        script: &'static Script,
        keys: impl IntoIterator<Item = K>,
    ) -> Self {
        let keys: Vec<K> = keys.into_iter().collect();
        let mut command = redis::cmd("EVALSHA");
        command.arg(script.get_hash()).arg(keys.len());
        for key in &keys {
            command.arg(key.as_ref());
        }
        Self { script, command }
    }

    /// The script as it is sent to a server that knows it already.
    pub(super) fn command(&self) -> &Cmd {
        &self.command
    }

    /// Adds an argument.
    pub(super) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.command.arg(argument);
        self
    }
}

/// Whether the server is no master any more, or refuses us: a new connection may find another.
fn is_demoted(error: &redis::RedisError) -> bool {
    let text = error.to_string();
    ["READONLY", "MASTERDOWN", "NOAUTH", "UNBLOCKED"]
        .iter()
        .any(|code| text.contains(code))
}

fn forget(slot: &Slot, number: u64) {
    let mut slot = lock(slot);
    if slot.as_ref().is_some_and(|(current, _)| *current == number) {
        *slot = None;
    }
}

/// Empties the slot as soon as the connection is lost, so that the next caller makes a new one.
async fn forget_when_lost(
    slot: Weak<Mutex<Option<(u64, MultiplexedConnection)>>>,
    number: u64,
    mut pushes: mpsc::UnboundedReceiver<PushInfo>,
) {
    while let Some(push) = pushes.recv().await {
        if push.kind == PushKind::Disconnection {
            break;
        }
    }
    if let Some(slot) = slot.upgrade() {
        forget(&slot, number);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
