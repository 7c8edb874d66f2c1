//! A client of a manager.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::handshake::{self, Role, Verdict};
use super::key::Key;
use super::limits::SILENCE;
use super::stream::Stream;
use super::{place, wire};
use crate::cluster::Error;
use crate::cluster::state::{Batch, Outcome, Session};
use crate::cluster::store::{Ear, Store};

/// How long a manager is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// The first byte of what is said in TLS by who did not understand.
const ALERT: u8 = 21;

/// See the module.
pub(in crate::cluster) struct Client {
    address: String,
    key: Key,
    tls: Option<Arc<ClientConfig>>,
    calls: Option<(Session, BufReader<Stream>)>,
}

impl Client {
    /// Connects with what is at an address; in TLS if it says what to trust.
    pub(in crate::cluster) fn open(
        address: &str,
        key: Option<Key>,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self, Error> {
        let client = Self {
            address: address.to_owned(),
            key: key.unwrap_or_else(Key::none),
            tls,
            calls: None,
        };
        client.connect(Role::Probe, 0)?;
        Ok(client)
    }

    fn away(&self, error: io::Error) -> Error {
        Error::unreachable(&self.place(), error)
    }

    fn place(&self) -> String {
        place(self.tls.is_some(), &self.address)
    }

    fn other_speech(&self, reason: &'static str) -> Error {
        Error::OtherSpeech {
            place: self.place(),
            reason,
        }
    }

    fn reach(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::other("there is no such address");
        for address in self.address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(PATIENCE))?;
                    stream.set_write_timeout(Some(PATIENCE))?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Connects, and encrypts if that is wanted.
    fn stream(&self) -> Result<Stream, Error> {
        let tcp = self.reach().map_err(|error| self.away(error))?;
        let Some(config) = &self.tls else {
            return Ok(Stream::Plain(tcp));
        };
        let host = self
            .address
            .rsplit_once(':')
            .map_or(&*self.address, |it| it.0);
        // An address of IPv6 stands in brackets in an address, and nowhere else.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| self.away(io::Error::other(error)))?;
        Stream::encrypt(tcp, config.clone(), name).map_err(|error| self.mistrusted(error))
    }

    /// Why TLS was not agreed upon.
    fn mistrusted(&self, error: io::Error) -> Error {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        match inner {
            Some(rustls::Error::InvalidCertificate(_)) => Error::Untrusted {
                place: self.place(),
                source: error.into(),
            },
            Some(rustls::Error::InvalidMessage(_)) => {
                self.other_speech("does not speak TLS; its address begins with manager://")
            }
            _ => self.away(error),
        }
    }

    fn connect(&self, role: Role, session: Session) -> Result<BufReader<Stream>, Error> {
        let away = |error| self.away(error);
        let mut stream = self.stream()?;
        // Who expects TLS says at once that this is none, instead of waiting for more.
        stream.write_all(&handshake::MAGIC).map_err(away)?;
        stream.flush().map_err(away)?;
        let mut greeting = [0; handshake::GREETING];
        stream.read_exact(&mut greeting[..1]).map_err(away)?;
        if greeting[0] == ALERT && self.tls.is_none() {
            return Err(self.other_speech("speaks TLS; its address begins with managers://"));
        }
        stream.read_exact(&mut greeting[1..]).map_err(away)?;
        if handshake::is_same_version(&greeting) != Some(true) {
            return Err(Error::foreign(
                &self.place(),
                "it is no manager, or of another version",
            ));
        }
        let words = handshake::answer(&self.key, &greeting, role, session);
        let said = handshake::MAGIC.len();
        stream.write_all(&words[said..]).map_err(away)?;
        stream.flush().map_err(away)?;
        let mut last = [0; handshake::VERDICT];
        stream.read_exact(&mut last).map_err(away)?;
        let place = self.place();
        if last[0] == Verdict::TooMany.code() {
            let reason = "it has as many clients as it bears".to_owned();
            return Err(Error::Refused { place, reason });
        }
        if last[0] == Verdict::OtherVersion.code() {
            return Err(Error::foreign(&place, "it is of another version"));
        }
        if last[0] != Verdict::Welcome.code()
            || !handshake::trusts(&self.key, &greeting, &words, &last)
        {
            return Err(Error::Key { place });
        }
        Ok(BufReader::new(stream))
    }

    fn exchange(&mut self, session: Session, batches: &[Batch]) -> Result<Vec<Outcome>, Error> {
        let known = self.calls.take().filter(|(of, _)| *of == session);
        let mut stream = match known {
            Some((_, stream)) => stream,
            None => self.connect(Role::Calls, session)?,
        };
        let sent = wire::send(stream.get_mut(), &batches);
        let outcomes = sent.and_then(|()| wire::receive(&mut stream));
        let outcomes = outcomes.map_err(|error| self.away(error))?;
        self.calls = Some((session, stream));
        Ok(outcomes)
    }
}

impl Store for Client {
    fn apply(&mut self, batches: &[Batch]) -> Result<Vec<Outcome>, Error> {
        let Some(first) = batches.first() else {
            return Ok(Vec::new());
        };
        let outcomes = self.exchange(first.session, batches)?;
        if outcomes.len() != batches.len() {
            return Err(Error::foreign(
                &self.place(),
                "it has answered something else",
            ));
        }
        Ok(outcomes)
    }

    fn listen(&mut self, session: Session) -> Result<Box<dyn Ear>, Error> {
        let stream = self.connect(Role::Ear, session)?;
        Ok(Box::new(Words {
            stream,
            place: self.place(),
            silent: Duration::ZERO,
        }))
    }
}

/// What a manager tells.
struct Words {
    stream: BufReader<Stream>,
    place: String,
    silent: Duration,
}

impl Words {
    fn next(&mut self, most: Duration) -> io::Result<Vec<String>> {
        self.stream.get_ref().set_read_timeout(most)?;
        // A frame that has begun is waited for.
        self.stream.fill_buf()?;
        self.stream.get_ref().set_read_timeout(PATIENCE)?;
        wire::receive(&mut self.stream)
    }
}

impl Ear for Words {
    fn hear(&mut self, most: Duration) -> Result<Vec<String>, Error> {
        match self.next(most) {
            Ok(names) => {
                self.silent = Duration::ZERO;
                Ok(names)
            }
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && self.silent < 3 * SILENCE =>
            {
                self.silent += most;
                Ok(Vec::new())
            }
            Err(error) => Err(Error::unreachable(&self.place, error)),
        }
    }
}
