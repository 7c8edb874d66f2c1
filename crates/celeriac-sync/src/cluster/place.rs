//! A place to share at, as a program is connected with it.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use uuid::Uuid;

use super::Error;
use super::memory::Memory;
use super::session::{Session, Shared};
use super::state::{Op, Plan};
use super::store::Store;
use crate::SyncError;

/// How long a holder that says nothing keeps what it holds.
const LEASE: Duration = Duration::from_secs(5);

/// The variable with the place of whoever names none.
const DEFAULT: &str = "CELERIAC_CLUSTER";

/// The variable with the key file of managers, for those who were sent an object.
#[cfg(feature = "manager")]
const KEY_FILE: &str = "CELERIAC_KEY_FILE";

/// The same, of the file with the authorities that their certificates are of.
#[cfg(feature = "manager")]
const CA_FILE: &str = "CELERIAC_CA_FILE";

const KNOWN: &str = "redis://, sqlite:, manager:// or memory:";

/// A place that a program is connected with: a Redis, a file of SQLite, a served manager, or memory.
///
/// A clone of it is the same connection. All that is shared by one connection has the same lease.
///
/// ```
/// use celeriac_sync::cluster::{Cluster, Lock};
///
/// let shop = Cluster::connect("memory:shop")?;
/// let till = Lock::named(&shop, "till")?;
/// let held = till.lock()?;
/// assert!(Lock::named(&shop, "till")?.try_lock().is_err());
/// # drop(held);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Cluster(Arc<Place>);

struct Place {
    address: String,
    session: Arc<Session>,
}

type Known = HashMap<String, Weak<Place>>;

fn known() -> MutexGuard<'static, Known> {
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    /// Connects with a place.
    ///
    /// | address | what it is |
    /// | --- | --- |
    /// | `redis://HOST:PORT/DB`, `rediss://…` | a Redis |
    /// | `sqlite:PATH` | a file, for the processes of one machine |
    /// | `manager://HOST:PORT?key-file=PATH` | what `celeriac manager` serves |
    /// | `managers://HOST:PORT?key-file=PATH&ca=PATH` | the same over TLS |
    /// | `memory:NAME` | memory of this process |
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn connect(address: &str) -> Result<Self, Error> {
        Options::new(address).connect()
    }

    /// The place of an object that was sent here.
    pub(super) fn known(address: &str) -> Result<Self, Error> {
        let place = known().get(address).and_then(Weak::upgrade);
        match place {
            Some(place) => Ok(Self(place)),
            None => Self::connect(address),
        }
    }

    /// The place of those who name none: what the variable `CELERIAC_CLUSTER` says.
    pub(super) fn of_program() -> Result<Self, SyncError> {
        static OF_PROGRAM: Mutex<Option<Cluster>> = Mutex::new(None);
        let mut place = OF_PROGRAM.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = &*place {
            return Ok(place.clone());
        }
        let address = std::env::var(DEFAULT).map_err(|_| SyncError::Unreachable)?;
        let connected = Self::connect(&address).map_err(|_| SyncError::Unreachable)?;
        Ok(place.insert(connected).clone())
    }

    /// Its address, without password and options.
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// What went wrong last, if anything did since this was asked: calls that fail say only that the
    /// place cannot be reached.
    pub fn trouble(&self) -> Option<Error> {
        self.0.session.trouble()
    }

    pub(super) fn open(&self, name: Option<&str>, plan: Plan) -> Result<Shared, SyncError> {
        let Some(name) = name else {
            return self.open_as(&Uuid::new_v4().to_string(), plan);
        };
        let plan = Plan {
            named: true,
            ..plan
        };
        let shared = self.open_as(name, plan)?;
        // Now is the time to tell that another type has this name.
        shared.ask_now(Op::Hello)?;
        Ok(shared)
    }

    pub(super) fn open_as(&self, name: &str, plan: Plan) -> Result<Shared, SyncError> {
        Shared::open(self.0.session.clone(), name, plan)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Cluster")
            .field(&self.0.address)
            .finish()
    }
}

/// How a place is connected.
///
/// ```
/// use std::time::Duration;
/// use celeriac_sync::cluster::Options;
///
/// let shop = Options::new("memory:shop").lease(Duration::from_secs(1)).connect()?;
/// # Ok::<(), celeriac_sync::cluster::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    address: String,
    lease: Duration,
    key_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
}

impl Options {
    /// As by default, at `address`.
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            lease: LEASE,
            key_file: None,
            ca_file: None,
        }
    }

    /// How long what this program holds is kept for it if it says nothing: 5 s by default, 100 ms at
    /// least. It says something three times as often.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_millis(100));
        self
    }

    /// The file with the key of a manager. `?key-file=` of the address says the same, and the variable
    /// `CELERIAC_KEY_FILE` if neither does.
    #[must_use]
    pub fn key_file(mut self, path: impl AsRef<Path>) -> Self {
        self.key_file = Some(path.as_ref().to_owned());
        self
    }

    /// The file with the authorities, in PEM, of which one has to have made the certificate of a manager that
    /// speaks TLS. `?ca=` of the address says the same, and the variable `CELERIAC_CA_FILE` if neither
    /// does; without any, those count that browsers trust.
    #[must_use]
    pub fn ca_file(mut self, path: impl AsRef<Path>) -> Self {
        self.ca_file = Some(path.as_ref().to_owned());
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn connect(self) -> Result<Cluster, Error> {
        let address = without_password(self.bare());
        let store = self.store(&address)?;
        let session = Session::start(store, self.lease)?;
        let place = Arc::new(Place {
            address: address.clone(),
            session,
        });
        let mut known = known();
        known.retain(|_, place| place.strong_count() > 0);
        known.insert(address, Arc::downgrade(&place));
        Ok(Cluster(place))
    }

    /// The address without what follows a `?`.
    fn bare(&self) -> &str {
        self.address.split('?').next().unwrap_or(&self.address)
    }

    /// Opens the store of the address, which is `shown` in errors.
    fn store(&self, shown: &str) -> Result<Box<dyn Store>, Error> {
        let bare = self.bare();
        let (scheme, rest) = bare.split_once(':').unwrap_or(("", bare));
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        match scheme {
            "memory" => Ok(Box::new(Memory::open(rest))),
            #[cfg(feature = "redis")]
            "redis" | "rediss" => Ok(Box::new(super::redis::Redis::open(&self.address, shown)?)),
            #[cfg(feature = "sqlite")]
            "sqlite" => Ok(Box::new(super::sqlite::Sqlite::open(Path::new(rest))?)),
            #[cfg(feature = "manager")]
            "manager" | "managers" => {
                let key = self.file(self.key_file.as_ref(), "key-file", KEY_FILE);
                let key = key.map(|path| super::ManagerKey::read(&path)).transpose()?;
                let authorities = self.file(self.ca_file.as_ref(), "ca", CA_FILE);
                let tls = (scheme == "managers")
                    .then(|| super::manager::trust(authorities.as_deref()))
                    .transpose()?;
                Ok(Box::new(super::manager::Client::open(rest, key, tls)?))
            }
            _ => Err(Error::Address {
                address: shown.to_owned(),
                known: KNOWN,
            }),
        }
    }

    /// A file that was `set`, that the address names after `option`, or the program by a variable.
    #[cfg(feature = "manager")]
    fn file(&self, set: Option<&PathBuf>, option: &str, variable: &str) -> Option<PathBuf> {
        let query = self.address.split_once('?').map_or("", |(_, query)| query);
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let named = pairs.find(|(name, _)| *name == option);
        let named = named.map(|(_, path)| PathBuf::from(path));
        let of_program = || std::env::var_os(variable).map(PathBuf::from);
        set.cloned().or(named).or_else(of_program)
    }
}

/// An address without what stands before an `@`.
fn without_password(address: &str) -> String {
    match (address.find("://"), address.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}{}", &address[..scheme + 3], &address[at + 1..])
        }
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_without_its_password() {
        assert_eq!(without_password("redis://u:p@h:1/0"), "redis://h:1/0");
        assert_eq!(without_password("redis://h:1/0"), "redis://h:1/0");
    }

    #[test]
    fn an_unknown_address_says_what_is_known() {
        let error = Cluster::connect("postgres://u:secret@h/db").unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("redis://") && !text.contains("secret"),
            "{text}"
        );
    }
}
