//! Objects in a file of SQLite, for the processes of one machine.
//!
//! All batches of a call are one transaction. Who has answers is told by a datagram to an address that its
//! session listens at, in the abstract namespace of the system: nothing is left behind by who dies. A
//! process in another network namespace hears nothing, and looks when it renews its leases.

use std::collections::BTreeSet;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, TransactionBehavior};

use super::Error;
use super::memory::wall_ms;
use super::state::{Batch, Object, Outcome, Session};
use super::store::{Ear, Store};

/// How long another transaction is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most an object's name may take, in bytes.
const LONGEST: usize = 4096;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS celeriac_sync (
    name TEXT PRIMARY KEY,
    object BLOB NOT NULL,
    used_ms INTEGER NOT NULL,
    named INTEGER NOT NULL
) STRICT, WITHOUT ROWID";

/// See the module.
pub(super) struct Sqlite {
    connection: Connection,
    mouth: UnixDatagram,
    path: String,
}

/// What went wrong within a transaction.
enum Trouble {
    Store(rusqlite::Error),
    Foreign(rmp_serde::decode::Error),
    Encode(rmp_serde::encode::Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error)
    }
}

impl Sqlite {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let shown = path.display().to_string();
        let away = |error: rusqlite::Error| Error::unreachable(&shown, error);
        let connection = Connection::open(path).map_err(away)?;
        connection.busy_timeout(PATIENCE).map_err(away)?;
        prepare(&connection).map_err(away)?;
        let mouth = UnixDatagram::unbound().and_then(|mouth| {
            mouth.set_nonblocking(true)?;
            Ok(mouth)
        });
        let mouth = mouth.map_err(|error| Error::unreachable(&shown, error))?;
        Ok(Self {
            connection,
            mouth,
            path: shown,
        })
    }

    fn error(&self, trouble: Trouble) -> Error {
        match trouble {
            Trouble::Store(error) => Error::unreachable(&self.path, error),
            Trouble::Foreign(error) => Error::foreign(&self.path, error),
            Trouble::Encode(error) => Error::foreign(&self.path, error),
        }
    }

    fn tell(&self, told: &[(String, BTreeSet<Session>)]) {
        for (object, sessions) in told {
            for session in sessions {
                // Who does not listen any more, or has much to hear, looks by itself.
                let _ = address(*session)
                    .and_then(|ear| self.mouth.send_to_addr(object.as_bytes(), &ear));
            }
        }
    }
}

/// Makes the file ready to be shared, which others may be doing just then.
fn prepare(connection: &Connection) -> Result<(), rusqlite::Error> {
    let start = Instant::now();
    loop {
        match arrange(connection) {
            // SQLite does not wait by itself for who changes the mode of the file.
            Err(error) if is_busy(&error) && start.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            arranged => return arranged,
        }
    }
}

fn arrange(connection: &Connection) -> Result<(), rusqlite::Error> {
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if mode != "wal" {
        connection.pragma_update(None, "journal_mode", "WAL")?;
    }
    // What a power failure takes was held by nobody any more.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.execute(TABLE, ())?;
    Ok(())
}

fn is_busy(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(
        code,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

fn address(session: Session) -> std::io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("celeriac-sync-{session:016x}"))
}

fn read(transaction: &Transaction<'_>, name: &str) -> Result<Option<Object>, Trouble> {
    let mut statement =
        transaction.prepare_cached("SELECT object FROM celeriac_sync WHERE name = ?1")?;
    let bytes: Option<Vec<u8>> = statement.query_row([name], |row| row.get(0)).optional()?;
    bytes
        .map(|bytes| rmp_serde::from_slice(&bytes))
        .transpose()
        .map_err(Trouble::Foreign)
}

fn write(
    transaction: &Transaction<'_>,
    batch: &Batch,
    object: &Object,
    now: u64,
) -> Result<(), Trouble> {
    let bytes = rmp_serde::to_vec(object).map_err(Trouble::Encode)?;
    let statement =
        "INSERT INTO celeriac_sync (name, object, used_ms, named) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (name) DO UPDATE SET object = excluded.object, used_ms = excluded.used_ms";
    let mut statement = transaction.prepare_cached(statement)?;
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    statement.execute((&batch.object, bytes, now, batch.plan.named))?;
    Ok(())
}

fn carry_out(
    transaction: &Transaction<'_>,
    batch: &Batch,
) -> Result<(Outcome, BTreeSet<Session>), Trouble> {
    let now = wall_ms();
    let object = read(transaction, &batch.object)?;
    let mut object = object.unwrap_or_else(|| Object::new(batch.plan.clone(), now));
    if let Some(outcome) = object.glance(batch, now) {
        return Ok((outcome, BTreeSet::new()));
    }
    let applied = object.apply(batch, now);
    write(transaction, batch, &object, now)?;
    Ok(applied)
}

impl Store for Sqlite {
    fn apply(&mut self, batches: &[Batch]) -> Result<Vec<Outcome>, Error> {
        let all = |connection: &mut Connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let (mut outcomes, mut told) = (Vec::with_capacity(batches.len()), Vec::new());
            for batch in batches {
                let (outcome, sessions) = carry_out(&transaction, batch)?;
                outcomes.push(outcome);
                told.push((batch.object.clone(), sessions));
            }
            transaction.commit()?;
            Ok((outcomes, told))
        };
        let (outcomes, told) = all(&mut self.connection).map_err(|trouble| self.error(trouble))?;
        self.tell(&told);
        Ok(outcomes)
    }

    fn listen(&mut self, session: Session) -> Result<Box<dyn Ear>, Error> {
        let socket = address(session).and_then(|address| UnixDatagram::bind_addr(&address));
        let socket = socket.map_err(|error| Error::unreachable(&self.path, error))?;
        let path = self.path.clone();
        Ok(Box::new(Datagrams { socket, path }))
    }
}

struct Datagrams {
    socket: UnixDatagram,
    path: String,
}

impl Ear for Datagrams {
    fn hear(&mut self, most: Duration) -> Result<Vec<String>, Error> {
        let mut name = [0; LONGEST];
        let heard = self
            .socket
            .set_read_timeout(Some(most))
            .and_then(|()| self.socket.recv(&mut name));
        match heard {
            // Whatever is no name of an object is not found.
            Ok(length) => Ok(vec![String::from_utf8_lossy(&name[..length]).into_owned()]),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted
                ) =>
            {
                Ok(Vec::new())
            }
            Err(error) => Err(Error::unreachable(&self.path, error)),
        }
    }
}
