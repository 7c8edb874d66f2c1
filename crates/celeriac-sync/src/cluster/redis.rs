//! Objects in a Redis.
//!
//! An object is one hash, with a version and the state. One script replaces the state if the version is still
//! the one that was read, and publishes to whom it has answers; if another was quicker, it gives what is
//! there now. What was written last is remembered, so that a call costs one round trip if nobody has come
//! between. The time is that of the server, which each answer tells.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use redis::{Client, Connection, RedisError, Script, Value};

use super::Error;
use super::state::{Batch, Object, Outcome, Session};
use super::store::{Ear, Store};

/// How long a server is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long an object without a name is kept that nobody uses.
const KEPT_MS: u64 = 24 * 60 * 60 * 1000;

/// The time that a slower answer tells is not believed.
const QUICK: Duration = Duration::from_millis(100);

/// How many objects are remembered.
const REMEMBERED: usize = 256;

/// See the module.
pub(super) struct Redis {
    client: Client,
    address: String,
    connection: Option<Connection>,
    script: Script,
    known: HashMap<String, Known>,
    clock: Option<(Instant, u64)>,
    writes: u64,
}

/// An object as it was when it was last seen.
#[derive(Clone)]
struct Known {
    version: String,
    object: Option<Object>,
}

/// What the script has said.
enum Said {
    Done,
    Other(Box<Known>),
}

impl Redis {
    pub(super) fn open(url: &str, address: &str) -> Result<Self, Error> {
        let client = Client::open(url).map_err(|error| Error::unreachable(address, error))?;
        let mut store = Self {
            client,
            address: address.to_owned(),
            connection: None,
            script: Script::new(include_str!("replace.lua")),
            known: HashMap::new(),
            clock: None,
            writes: 0,
        };
        store.connect()?;
        Ok(store)
    }

    fn connect(&mut self) -> Result<(), Error> {
        if self.connection.is_none() {
            let connection = connect(&self.client).and_then(|mut connection| {
                self.script.prepare_invoke().load(&mut connection)?;
                Ok(connection)
            });
            self.connection = Some(connection.map_err(|error| self.unreachable(error))?);
        }
        Ok(())
    }

    fn unreachable(&self, error: RedisError) -> Error {
        Error::unreachable(&self.address, error)
    }

    fn now(&self) -> u64 {
        self.clock.map_or(0, |(at, time)| {
            time.saturating_add(super::memory::millis(at.elapsed()))
        })
    }

    /// Carries one batch out, as often as others are quicker.
    fn carry_out(&mut self, batch: &Batch) -> Result<Outcome, Error> {
        let mut known = self.known.remove(&batch.object);
        if known.is_none() || batch.looks || self.clock.is_none() {
            known = Some(self.read(batch, known)?);
        }
        let mut known = known.unwrap_or(Known {
            version: String::new(),
            object: None,
        });
        loop {
            let now = self.now();
            let mut object = known
                .object
                .clone()
                .unwrap_or_else(|| Object::new(batch.plan.clone(), now));
            if let Some(outcome) = object.glance(batch, now) {
                self.remember(batch, known);
                return Ok(outcome);
            }
            let (outcome, told) = object.apply(batch, now);
            self.writes += 1;
            let version = format!("{:x}.{:x}", batch.session, self.writes);
            match self.replace(batch, &known.version, &version, Some(&object), &told)? {
                Said::Done => {
                    let object = Some(object);
                    self.remember(batch, Known { version, object });
                    return Ok(outcome);
                }
                Said::Other(other) => known = *other,
            }
        }
    }

    fn remember(&mut self, batch: &Batch, known: Known) {
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(batch.object.clone(), known);
    }

    /// What is there now, which is what was known if the version is the same.
    fn read(&mut self, batch: &Batch, known: Option<Known>) -> Result<Known, Error> {
        let version = known.as_ref().map_or("", |known| &known.version).to_owned();
        match self.replace(batch, &version, "", None, &BTreeSet::new())? {
            Said::Other(other) => Ok(*other),
            Said::Done => Ok(known.unwrap_or(Known {
                version,
                object: None,
            })),
        }
    }

    fn replace(
        &mut self,
        batch: &Batch,
        old: &str,
        new: &str,
        object: Option<&Object>,
        told: &BTreeSet<Session>,
    ) -> Result<Said, Error> {
        let state = object.map(rmp_serde::to_vec).transpose();
        let state = state.map_err(|error| Error::foreign(&self.address, error))?;
        let kept = if batch.plan.named { 0 } else { KEPT_MS };
        let mut call = self.script.key(format!("celeriac:sync:{}", batch.object));
        call.arg(old)
            .arg(new)
            .arg(state.unwrap_or_default())
            .arg(kept);
        for session in told {
            call.arg(channel(*session));
        }
        call.arg(&batch.object);
        let Some(connection) = &mut self.connection else {
            return Err(Error::unreachable(&self.address, "there is no connection"));
        };
        let start = Instant::now();
        let said: Vec<Value> = match call.invoke(connection) {
            Ok(said) => said,
            Err(error) => {
                self.connection = None;
                return Err(self.unreachable(error));
            }
        };
        self.understand(start, &said)
    }

    fn understand(&mut self, start: Instant, said: &[Value]) -> Result<Said, Error> {
        let [seconds, micros, rest @ ..] = said else {
            return Err(Error::foreign(&self.address, "the script gave too little"));
        };
        let read = |value: &Value| redis::from_redis_value_ref::<u64>(value);
        let time = read(seconds).and_then(|seconds| Ok(seconds * 1000 + read(micros)? / 1000));
        let time = time.map_err(|error| Error::foreign(&self.address, error))?;
        // Counted from when it came here it is too early, by no more than the way took. So leases of others
        // seem to last longer than they do.
        if self.clock.is_none() || start.elapsed() < QUICK {
            self.clock = Some((Instant::now(), time));
        }
        let [version, object] = rest else {
            return Ok(Said::Done);
        };
        let text = |error| Error::foreign(&self.address, error);
        let version: String = redis::from_redis_value_ref(version).map_err(text)?;
        let bytes: Vec<u8> = redis::from_redis_value_ref(object).map_err(text)?;
        let object = (!bytes.is_empty())
            .then(|| rmp_serde::from_slice(&bytes))
            .transpose();
        let object = object.map_err(|error| Error::foreign(&self.address, error))?;
        Ok(Said::Other(Box::new(Known { version, object })))
    }
}

fn connect(client: &Client) -> Result<Connection, RedisError> {
    let connection = client.get_connection_with_timeout(PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    Ok(connection)
}

fn channel(session: Session) -> String {
    format!("celeriac:sync:session:{session:016x}")
}

impl Store for Redis {
    fn apply(&mut self, batches: &[Batch]) -> Result<Vec<Outcome>, Error> {
        if self.connection.is_none() {
            self.known.clear();
            self.connect()?;
        }
        batches.iter().map(|batch| self.carry_out(batch)).collect()
    }

    fn listen(&mut self, session: Session) -> Result<Box<dyn Ear>, Error> {
        let connection = connect(&self.client).and_then(|mut connection| {
            let subscribe = redis::cmd("SUBSCRIBE")
                .arg(channel(session))
                .get_packed_command();
            connection.send_packed_command(&subscribe)?;
            connection.recv_response()?;
            Ok(connection)
        });
        Ok(Box::new(Subscription {
            connection: connection.map_err(|error| self.unreachable(error))?,
            address: self.address.clone(),
        }))
    }
}

/// A connection that stays subscribed as long as it lives.
struct Subscription {
    connection: Connection,
    address: String,
}

impl Ear for Subscription {
    fn hear(&mut self, most: Duration) -> Result<Vec<String>, Error> {
        let heard = self.connection.set_read_timeout(Some(most));
        match heard.and_then(|()| self.connection.recv_response()) {
            Ok(message) => Ok(payload(&message).into_iter().collect()),
            Err(error) if error.is_timeout() => Ok(Vec::new()),
            Err(error) => Err(Error::unreachable(&self.address, error)),
        }
    }
}

/// The last word of a message, which is the object.
fn payload(message: &Value) -> Option<String> {
    match message {
        Value::Array(words) => redis::from_redis_value_ref(words.last()?).ok(),
        Value::Push { data, .. } => redis::from_redis_value_ref(data.last()?).ok(),
        _ => None,
    }
}
