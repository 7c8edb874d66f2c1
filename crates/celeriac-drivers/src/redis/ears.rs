//! Hears that something came, without taking it.
//!
//! The server keeps in mind which keys were read on this connection, and says once when one of
//! them has changed: client-side caching, without a cache. Whoever waits reads whether its lists
//! are there; if not, the next push to any of them is told, whoever pushes and however many lists
//! there are. Nothing is popped to wait, so nothing is lost with the connection.
//!
//! Keys are kept in mind only where that is asked for. So claims can go this way too, and whoever was
//! woken claims and asks to be woken again in one round trip.
//!
//! # Sources
//!
//! Redis' `CLIENT TRACKING`, with `OPTIN`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use celeriac_core::Backoff;
use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, FromRedisValue, Pipeline, PushInfo, PushKind, ServerErrorKind, Value};
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use super::failure::Failure;
use super::link::{Call, Dialer, runtime};

/// How often the connection is tried when nothing is heard on it.
const PING: Duration = Duration::from_secs(4);

/// From 0.1 s, doubled up to 5 s.
const RECONNECT: Backoff = Backoff::Exponential(Duration::from_millis(100), Duration::from_secs(5));

/// How often is looked when nothing can be heard.
const DEAF_LOOK: Duration = Duration::from_millis(100);

/// How often is looked although something would be heard.
const CAREFUL_LOOK: Duration = Duration::from_secs(5);

/// What is heard.
#[derive(Debug)]
pub(super) struct Heard {
    /// A list may have got a message.
    pub(super) messages: watch::Sender<()>,
    /// A call may have been revoked.
    pub(super) revocations: watch::Sender<()>,
    /// What was broadcast on the control channel.
    pub(super) control: mpsc::UnboundedSender<Vec<u8>>,
}

/// What the ears listen for.
#[derive(Debug, Clone)]
pub(super) struct Ears {
    heard: Arc<Heard>,
    state: Arc<Mutex<State>>,
    revoked_key: String,
    // While one is left, the listener goes on.
    _alive: Arc<watch::Sender<()>>,
}

#[derive(Debug, Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// The server does not tell of keys.
    deaf: bool,
}

impl Ears {
    /// Starts to listen.
    pub(super) fn open(
        dialer: Arc<Dialer>,
        control_channel: String,
        revoked_key: String,
        control: mpsc::UnboundedSender<Vec<u8>>,
    ) -> Self {
        let heard = Arc::new(Heard {
            messages: watch::Sender::new(()),
            revocations: watch::Sender::new(()),
            control,
        });
        let alive = Arc::new(watch::Sender::new(()));
        let ears = Self {
            heard: heard.clone(),
            state: Arc::default(),
            revoked_key: revoked_key.clone(),
            _alive: alive.clone(),
        };
        let listener = Listener {
            dialer,
            heard,
            state: ears.state.clone(),
            control_channel,
            revoked_key,
        };
        let mut closed = alive.subscribe();
        drop(alive);
        runtime().spawn(async move {
            tokio::select! {
                () = listener.run() => {}
                // Nothing is ever sent: it ends with the last of the ears.
                _ = closed.changed() => {}
            }
        });
        ears
    }

    /// What is heard.
    pub(super) fn heard(&self) -> &Heard {
        &self.heard
    }

    /// Asks to hear of the next message in any of `lists`, and says whether one of them has a
    /// message already.
    ///
    /// To be called where the connections are.
    pub(super) async fn prick_for_messages(&self, lists: &[String]) -> Result<bool, Failure> {
        let Some((mut connection, mut ask)) = self.asking() else {
            return Ok(false);
        };
        ask.cmd("EXISTS").arg(lists);
        let (there,): (usize,) = ask.query_async(&mut connection).await?;
        Ok(there > 0)
    }

    /// Has a claim carried out, asks to hear of the next message in any of `lists`, and says whether
    /// one of them still has a message. `None` if that cannot be done here, and nothing was.
    ///
    /// To be called where the connections are.
    pub(super) async fn claim_and_prick<T: FromRedisValue>(
        &self,
        claim: &Call,
        lists: &[String],
    ) -> Result<Option<(T, bool)>, Failure> {
        let (connection, deaf) = {
            let state = lock(&self.state);
            (state.connection.clone(), state.deaf)
        };
        let Some(mut connection) = connection.filter(|_| !deaf) else {
            return Ok(None);
        };
        let mut together = redis::pipe();
        together.add_command(claim.command().clone());
        keep_in_mind(&mut together);
        together.cmd("EXISTS").arg(lists);
        match together.query_async(&mut connection).await {
            Ok((claimed, there)) => Ok(Some((claimed, there))),
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks to hear of the next revocation.
    ///
    /// To be called where the connections are.
    pub(super) async fn prick_for_revocations(&self) -> Result<(), Failure> {
        let Some((mut connection, mut ask)) = self.asking() else {
            return Ok(());
        };
        ask.cmd("GET").arg(&self.revoked_key).ignore();
        Ok(ask.query_async(&mut connection).await?)
    }

    /// The connection that hears, and what is said before the command of which the keys are kept in
    /// mind; `None` if there is none now.
    fn asking(&self) -> Option<(MultiplexedConnection, Pipeline)> {
        let state = lock(&self.state);
        let connection = state.connection.clone()?;
        let mut ask = redis::pipe();
        if !state.deaf {
            keep_in_mind(&mut ask);
        }
        Some((connection, ask))
    }

    /// Whether it is connected.
    pub(super) fn is_connected(&self) -> bool {
        lock(&self.state).connection.is_some()
    }

    /// How long one may wait without looking.
    pub(super) fn patience(&self) -> Duration {
        let state = lock(&self.state);
        if state.deaf || state.connection.is_none() {
            DEAF_LOOK
        } else {
            CAREFUL_LOOK
        }
    }
}

/// Keeps the connection and hands on what is heard on it.
struct Listener {
    dialer: Arc<Dialer>,
    heard: Arc<Heard>,
    state: Arc<Mutex<State>>,
    control_channel: String,
    revoked_key: String,
}

impl Listener {
    async fn run(self) {
        let mut failures = 0;
        loop {
            let lost = self.listen(&mut failures).await;
            lock(&self.state).connection = None;
            failures += 1;
            let retry_in = super::full_jitter(RECONNECT.delay(failures));
            debug!(
                error = &lost as &dyn std::error::Error,
                ?retry_in,
                "cannot listen, will try again"
            );
            tokio::time::sleep(retry_in).await;
        }
    }

    /// Listens until the connection is lost.
    async fn listen(&self, failures: &mut u32) -> Failure {
        let (mut connection, mut pushes) = match self.dialer.dial().await {
            Ok(dialled) => dialled,
            Err(failure) => return failure,
        };
        let tracking: Result<(), _> = redis::cmd("CLIENT")
            .arg("TRACKING")
            .arg("ON")
            .arg("OPTIN")
            .query_async(&mut connection)
            .await;
        let deaf = tracking.is_err();
        if let (Err(error), false) = (tracking, lock(&self.state).deaf) {
            warn!(%error, "the server does not tell of new messages, which will be looked for");
        }
        if let Err(error) = connection.subscribe(&self.control_channel).await {
            return error.into();
        }
        *failures = 0;
        *lock(&self.state) = State {
            connection: Some(connection.clone()),
            deaf,
        };
        // What came meanwhile was not heard.
        self.heard.messages.send_replace(());
        self.heard.revocations.send_replace(());
        loop {
            match tokio::time::timeout(PING, pushes.recv()).await {
                Ok(None) => return Failure::timed_out(),
                Ok(Some(push)) if push.kind == PushKind::Disconnection => {
                    return Failure::from(redis::RedisError::from(std::io::Error::from(
                        std::io::ErrorKind::ConnectionReset,
                    )));
                }
                Ok(Some(push)) => self.on_push(push),
                Err(_) => {
                    let alive: Result<(), _> =
                        redis::cmd("PING").query_async(&mut connection).await;
                    if let Err(error) = alive {
                        return error.into();
                    }
                }
            }
        }
    }

    fn on_push(&self, push: PushInfo) {
        match (push.kind, push.data.as_slice()) {
            (PushKind::Invalidate, [Value::Array(keys)]) => {
                let revoked = |key: &Value| matches!(key, Value::BulkString(key) if key == self.revoked_key.as_bytes());
                if keys.iter().any(revoked) {
                    self.heard.revocations.send_replace(());
                }
                // A revocation may make a message due.
                self.heard.messages.send_replace(());
            }
            // All keys are gone.
            (PushKind::Invalidate, _) => {
                self.heard.messages.send_replace(());
                self.heard.revocations.send_replace(());
            }
            (PushKind::Message, [_, Value::BulkString(payload)]) => {
                // A store without consumers has nobody to listen to it.
                let _ = self.heard.control.send(payload.clone());
            }
            _ => {}
        }
    }
}

/// Has the server keep the keys of the next command in mind.
fn keep_in_mind(commands: &mut Pipeline) {
    commands.cmd("CLIENT").arg("CACHING").arg("YES").ignore();
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
