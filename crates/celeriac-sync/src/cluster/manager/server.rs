//! A manager: takes connections in, and carries out what they ask.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::handshake::{self, Role, Verdict};
use super::key::Key;
use super::limits::{FRAME, HALF_OPEN, HANDSHAKE, OPEN, SILENCE, WORDS};
use super::{place, tls, wire};
use crate::cluster::Error;
use crate::cluster::memory::Objects;
use crate::cluster::state::{Batch, Outcome, Session};

/// Holds objects in its memory, for programs that know its key.
///
/// What it holds ends with it.
///
/// ```
/// use celeriac_sync::cluster::{Cluster, Manager, Queue};
///
/// let manager = Manager::bind("127.0.0.1:0", None)?;
/// let place = format!("manager://{}", manager.address());
/// std::thread::spawn(|| manager.run());
///
/// let shop = Cluster::connect(&place)?;
/// let orders = Queue::named(&shop, "orders", 10)?;
/// orders.put(1)?;
/// assert_eq!(*orders.get()?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Manager {
    listener: std::net::TcpListener,
    address: SocketAddr,
    key: Key,
    tls: Option<TlsAcceptor>,
}

/// Bytes both ways.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

type Socket = Box<dyn Duplex>;

impl fmt::Debug for Manager {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut manager = formatter.debug_struct("Manager");
        manager
            .field("place", &self.place())
            .finish_non_exhaustive()
    }
}

impl Manager {
    /// Listens at an address. Without a key, it must be one that only this machine can reach.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if others could reach it and there is no key, and [`Error::Unreachable`] if it
    /// cannot listen there.
    pub fn bind(address: &str, key: Option<Key>) -> Result<Self, Error> {
        let away = |error: io::Error| Error::unreachable(address, error);
        let addresses: Vec<_> = address.to_socket_addrs().map_err(away)?.collect();
        if key.is_none() && !addresses.iter().all(|address| address.ip().is_loopback()) {
            return Err(Error::Refused {
                place: address.to_owned(),
                reason: "others can reach it, so it needs a key".to_owned(),
            });
        }
        let listener = std::net::TcpListener::bind(&addresses[..]).map_err(away)?;
        // As many may knock as may be in their handshake; the system keeps them until they are taken in.
        let knock = i32::try_from(HALF_OPEN).unwrap_or(i32::MAX);
        rustix::net::listen(&listener, knock).map_err(|error| away(error.into()))?;
        listener.set_nonblocking(true).map_err(away)?;
        Ok(Self {
            address: listener.local_addr().map_err(away)?,
            listener,
            key: key.unwrap_or_else(Key::none),
            tls: None,
        })
    }

    /// Speaks TLS, and nothing else: shows the certificate in one file, followed there by those between it
    /// and its authority, by the key in another; both in PEM. They are read now and not again.
    ///
    /// # Errors
    ///
    /// [`Error::TlsFile`] if one cannot be read, or the key is not that of the certificate.
    pub fn encrypted(self, certificate: &Path, key: &Path) -> Result<Self, Error> {
        let tls = Some(tls::acceptor(certificate, key)?);
        Ok(Self { tls, ..self })
    }

    /// What clients on this machine connect with: `manager://`, or `managers://` if it speaks TLS, and
    /// where it listens.
    pub fn place(&self) -> String {
        place(self.tls.is_some(), self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves, for as long as this process lives.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] if it cannot begin.
    pub fn run(self) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| Error::unreachable("the system", error))?;
        runtime.block_on(self.serve())
    }

    /// Serves, within a runtime of tokio, until it is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] if it cannot begin.
    ///
    /// # Cancel safety
    ///
    /// None: whoever drops it drops what the manager holds.
    pub async fn serve(self) -> Result<(), Error> {
        let listener = TcpListener::from_std(self.listener);
        let listener =
            listener.map_err(|error| Error::unreachable(&self.address.to_string(), error))?;
        let house = Arc::new(House {
            key: self.key,
            tls: self.tls,
            objects: Mutex::new(Objects::new()),
            ears: Mutex::default(),
            half_open: Mutex::default(),
            open: AtomicUsize::new(0),
        });
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                house.take_in(stream);
            } else {
                // There are no more files: somebody has to go.
                house.close_oldest();
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// What all connections have in common.
struct House {
    key: Key,
    tls: Option<TlsAcceptor>,
    objects: Mutex<Objects>,
    ears: Mutex<HashMap<Session, Sender<String>>>,
    /// The connections in their handshake, the oldest first, with those that are over.
    half_open: Mutex<VecDeque<AbortHandle>>,
    open: AtomicUsize,
}

/// A connection that has proved to know the key; until it is dropped.
struct Guest(Arc<House>);

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl House {
    fn take_in(self: &Arc<Self>, stream: TcpStream) {
        let house = self.clone();
        let handshake = tokio::spawn(async move {
            if let Ok(Ok(Some(admitted))) = timeout(HANDSHAKE, house.receive(stream)).await {
                // Its own task, so that it is not closed for being old.
                tokio::spawn(house.attend(admitted));
            }
        });
        let mut half_open = lock(&self.half_open);
        half_open.push_back(handshake.abort_handle());
        if half_open.len() > HALF_OPEN {
            half_open.retain(|handshake| !handshake.is_finished());
        }
        if half_open.len() > HALF_OPEN
            && let Some(oldest) = half_open.pop_front()
        {
            oldest.abort();
        }
    }

    fn close_oldest(&self) {
        if let Some(oldest) = lock(&self.half_open).pop_front() {
            oldest.abort();
        }
    }

    fn enter(self: &Arc<Self>) -> Option<Guest> {
        let more = |open: usize| (open < OPEN).then_some(open + 1);
        let entered = self
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        entered.is_ok().then(|| Guest(self.clone()))
    }

    /// The handshake.
    async fn receive(self: &Arc<Self>, stream: TcpStream) -> io::Result<Option<Admitted>> {
        stream.set_nodelay(true)?;
        let mut stream: Socket = match &self.tls {
            Some(tls) => Box::new(tls.accept(stream).await?),
            None => Box::new(stream),
        };
        let greeting = handshake::greet();
        stream.write_all(&greeting).await?;
        stream.flush().await?;
        let mut words = [0; handshake::ANSWER];
        stream.read_exact(&mut words).await?;
        let judged = handshake::admit(&self.key, &greeting, &words);
        let judged = judged.and_then(|(role, session)| {
            let guest = self.enter().ok_or(Verdict::TooMany)?;
            Ok(Admitted {
                stream: None,
                role,
                session,
                _guest: guest,
            })
        });
        let verdict = judged.as_ref().err().copied().unwrap_or(Verdict::Welcome);
        let last = handshake::judge(&self.key, &greeting, &words, verdict);
        stream.write_all(&last).await?;
        stream.flush().await?;
        Ok(judged.ok().map(|admitted| Admitted {
            stream: Some(stream),
            ..admitted
        }))
    }

    /// Serves a connection until it ends. Whatever is wrong with it ends it; its client comes again.
    async fn attend(self: Arc<Self>, mut admitted: Admitted) {
        let Some(stream) = admitted.stream.take() else {
            return;
        };
        // How it ended is of no interest: what its client holds is ended by its lease.
        let _ = match admitted.role {
            Role::Calls => self.carry_out(stream, admitted.session).await,
            Role::Ear => self.tell(stream, admitted.session).await,
            Role::Probe => Ok(()),
        };
    }

    async fn carry_out(&self, stream: Socket, session: Session) -> io::Result<()> {
        let mut stream = BufReader::with_capacity(64 << 10, stream);
        while let Some(length) = wire::head_async(&mut stream).await? {
            let body = wire::body_async::<Vec<Batch>>(&mut stream, length);
            let batches = timeout(FRAME, body).await??;
            if batches.iter().any(|batch| batch.session != session) {
                return Err(io::Error::other("it asks in the name of another"));
            }
            let outcomes = self.apply(&batches);
            timeout(FRAME, wire::send_async(&mut stream, &outcomes)).await??;
        }
        Ok(())
    }

    fn apply(&self, batches: &[Batch]) -> Vec<Outcome> {
        let mut told = Vec::new();
        let outcomes = {
            let mut objects = lock(&self.objects);
            let apply = |batch: &Batch| {
                let (outcome, sessions) = objects.apply(batch);
                if !sessions.is_empty() {
                    told.push((batch.object.clone(), sessions));
                }
                outcome
            };
            batches.iter().map(apply).collect()
        };
        self.call_out(told);
        outcomes
    }

    fn call_out(&self, told: Vec<(String, BTreeSet<Session>)>) {
        if told.is_empty() {
            return;
        }
        let mut ears = lock(&self.ears);
        for (object, sessions) in told {
            for session in sessions {
                let ear = ears.get(&session);
                // Who does not keep up is cut off: it looks for all when it listens anew.
                if ear.is_some_and(|ear| ear.try_send(object.clone()).is_err()) {
                    ears.remove(&session);
                }
            }
        }
    }

    /// Tells a session of answers, until it goes.
    async fn tell(&self, stream: Socket, session: Session) -> io::Result<()> {
        let (sender, words) = channel(WORDS);
        lock(&self.ears).insert(session, sender);
        let told = say(stream, words).await;
        // Another connection may have taken its place.
        let mut ears = lock(&self.ears);
        if ears.get(&session).is_some_and(Sender::is_closed) {
            ears.remove(&session);
        }
        told
    }
}

/// Says what is to be told, until there is nobody at the other end, or nobody tells any more.
async fn say(mut stream: Socket, mut words: Receiver<String>) -> io::Result<()> {
    let mut byte = [0];
    loop {
        let said = tokio::select! {
            names = next(&mut words) => names,
            // Nothing is to be said here, so whatever comes is the end.
            _ = stream.read(&mut byte) => None,
            () = sleep(SILENCE) => Some(Vec::new()),
        };
        let Some(names) = said else {
            return Ok(());
        };
        timeout(FRAME, wire::send_async(&mut stream, &names)).await??;
    }
}

/// All that is to be told now; `None` if nobody tells any more.
async fn next(words: &mut Receiver<String>) -> Option<Vec<String>> {
    let mut names = vec![words.recv().await?];
    while names.len() < WORDS
        && let Ok(name) = words.try_recv()
    {
        names.push(name);
    }
    names.dedup();
    Some(names)
}

/// A connection whose client knows the key.
struct Admitted {
    stream: Option<Socket>,
    role: Role,
    session: Session,
    _guest: Guest,
}
