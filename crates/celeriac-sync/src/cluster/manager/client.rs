//! A client of a manager.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use super::handshake::{self, Role, Verdict};
use super::key::Key;
use super::limits::SILENCE;
use super::wire;
use crate::cluster::Error;
use crate::cluster::state::{Batch, Outcome, Session};
use crate::cluster::store::{Ear, Store};

/// How long a manager is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// See the module.
pub(in crate::cluster) struct Client {
    address: String,
    key: Key,
    calls: Option<(Session, TcpStream)>,
}

impl Client {
    pub(in crate::cluster) fn open(address: &str, key: Option<Key>) -> Result<Self, Error> {
        let client = Self {
            address: address.to_owned(),
            key: key.unwrap_or_else(Key::none),
            calls: None,
        };
        client.connect(Role::Probe, 0)?;
        Ok(client)
    }

    fn away(&self, error: io::Error) -> Error {
        Error::unreachable(&self.place(), error)
    }

    fn place(&self) -> String {
        format!("manager://{}", self.address)
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

    fn connect(&self, role: Role, session: Session) -> Result<TcpStream, Error> {
        let mut stream = self.reach().map_err(|error| self.away(error))?;
        let mut greeting = [0; handshake::GREETING];
        stream
            .read_exact(&mut greeting)
            .map_err(|error| self.away(error))?;
        if handshake::is_same_version(&greeting) != Some(true) {
            return Err(Error::foreign(
                &self.place(),
                "it is no manager, or of another version",
            ));
        }
        let words = handshake::answer(&self.key, &greeting, role, session);
        stream.write_all(&words).map_err(|error| self.away(error))?;
        let mut last = [0; handshake::VERDICT];
        stream
            .read_exact(&mut last)
            .map_err(|error| self.away(error))?;
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
        Ok(stream)
    }

    fn exchange(&mut self, session: Session, batches: &[Batch]) -> Result<Vec<Outcome>, Error> {
        let known = self.calls.take().filter(|(of, _)| *of == session);
        let stream = match known {
            Some((_, stream)) => stream,
            None => self.connect(Role::Calls, session)?,
        };
        let outcomes = wire::send(&stream, &batches).and_then(|()| wire::receive(&stream));
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
    stream: TcpStream,
    place: String,
    silent: Duration,
}

impl Words {
    fn next(&mut self, most: Duration) -> io::Result<Vec<String>> {
        self.stream.set_read_timeout(Some(most))?;
        // A frame that has begun is waited for.
        self.stream.peek(&mut [0])?;
        self.stream.set_read_timeout(Some(PATIENCE))?;
        wire::receive(&self.stream)
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
