//! Opening the file: what it must be, how it is made, and what is refused.
//!
//! A new database is made under another name and put in place whole, so that a crash while it is
//! made leaves none, and a file that is there is never taken for one to be filled.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::failure::Failure;
use super::linux;
use super::place::Place;

/// What marks a database as ours: `celr`.
pub(super) const APPLICATION_ID: i32 = 0x6365_6c72;

/// How each version is made from the one before it; the first from nothing.
const MIGRATIONS: [&str; 2] = [
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
];

/// The version this build reads and writes.
pub(super) const SCHEMA_VERSION: i32 = 2;

const _: () = assert!(MIGRATIONS.len() == SCHEMA_VERSION.unsigned_abs() as usize);

/// How long another process's lock is waited for.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Opening and making files in one process happens one at a time: closing a descriptor of a file
/// drops the locks every other descriptor of this process has on it.
static OPENING: Mutex<()> = Mutex::new(());

/// Opens three connections to the database at `path`, which is made if `create` and it is not there.
pub(super) fn open(path: &Path, create: bool) -> Result<([Connection; 3], Place), Failure> {
    let _one_at_a_time = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    if !path.exists() && create {
        make(path)?;
    }
    check_file(path)?;
    let mut connection = connect(path)?;
    if connection.is_readonly("main")? {
        return Err(unusable(
            "it is read-only",
            "give this user write permission to the file and its directory",
        ));
    }
    check_identity(&connection)?;
    migrate(&mut connection)?;
    let place = Place::of(path)?;
    let connections = [connection, connect(path)?, connect(path)?];
    place.check()?;
    Ok((connections, place))
}

/// Whether what is at `path` may be a database at all, judged from outside.
pub(super) fn check_file(path: &Path) -> Result<(), Failure> {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(unusable("there is no such file", "check the path"));
        }
        Err(error) => return Err(cannot_open(&error)),
    };
    if found.is_dir() {
        return Err(unusable("it is a directory", "give the path of a file"));
    }
    if !found.is_file() {
        return Err(unusable("it is no regular file", "give the path of a file"));
    }
    if found.len() == 0 {
        return Err(unusable(
            "it is an empty file, which no celeriac database ever is",
            "restore it from a backup, or delete it to start anew",
        ));
    }
    match linux::network_file_system(path) {
        None => Ok(()),
        Some(name) => Err(Failure::Unusable(
            format!("it is on a network file system ({name}), whose locks cannot be relied on"),
            "keep the database on a local disk, or use a server as broker",
        )),
    }
}

/// Opens a connection to a database that is there.
pub(super) fn connect(path: &Path) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    configure(&mut connection)?;
    Ok(connection)
}

fn configure(connection: &mut Connection) -> Result<(), Failure> {
    let mut waiting_since = Instant::now();
    connection.busy_handler(Some(move |count| {
        if count == 0 {
            waiting_since = Instant::now();
        }
        let pause = if count < 40 { 50 } else { 500 };
        std::thread::sleep(Duration::from_micros(pause));
        waiting_since.elapsed() < BUSY_TIMEOUT
    }))?;
    connection.execute_batch(include_str!("statements/session/configure.sql"))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Whether the database is one of ours and of a version we know.
pub(super) fn check_identity(connection: &Connection) -> Result<(), Failure> {
    let application = pragma(connection, "application_id")?;
    let version = pragma(connection, "user_version")?;
    if application != APPLICATION_ID {
        return Err(unusable(
            "it is a database of another application",
            "give the path of a celeriac database, or of no file at all to make one",
        ));
    }
    if version > SCHEMA_VERSION {
        return Err(Failure::Unusable(
            format!(
                "its schema has version {version}, and this build knows those up to {SCHEMA_VERSION}"
            ),
            "use the newer celeriac that wrote it",
        ));
    }
    if version < 1 {
        return Err(Failure::Unusable(
            format!("its schema has version {version}, which never was"),
            super::failure::RESTORE,
        ));
    }
    Ok(())
}

/// The value of a number that describes the database.
pub(super) fn pragma(connection: &Connection, name: &str) -> Result<i32, Failure> {
    Ok(connection.pragma_query_value(None, name, |row| row.get(0))?)
}

/// Brings an older schema up to date; all steps or none.
fn migrate(connection: &mut Connection) -> Result<(), Failure> {
    if pragma(connection, "user_version")? == SCHEMA_VERSION {
        return Ok(());
    }
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Another process may have been quicker.
    let version = pragma(&transaction, "user_version")?;
    for step in &MIGRATIONS[usize::try_from(version).unwrap_or(0)..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    Ok(transaction.commit()?)
}

/// Makes a database under another name and puts it in place, unless somebody was quicker.
fn make(path: &Path) -> Result<(), Failure> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !parent.is_dir() {
        return Err(Failure::Unusable(
            format!("the directory {} does not exist", parent.display()),
            "make the directory first",
        ));
    }
    let draft = draft_path(path);
    let made = fill(&draft).and_then(|()| put_in_place(&draft, path, parent));
    if made.is_err() {
        let _ = fs::remove_file(&draft);
    }
    made
}

fn draft_path(path: &Path) -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut draft = path.as_os_str().to_owned();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    draft.push(format!("-new-{}-{number}", std::process::id()));
    PathBuf::from(draft)
}

fn fill(draft: &Path) -> Result<(), Failure> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)
        .map_err(|error| cannot_open(&error))?;
    // Whatever the umask; SQLite gives its side files the same mode.
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(|error| cannot_open(&error))?;
    drop(file);
    let mut connection = Connection::open_with_flags(draft, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    migrate(&mut connection)?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(())
}

fn put_in_place(draft: &Path, path: &Path, parent: &Path) -> Result<(), Failure> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, draft, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(rustix::io::Errno::EXIST) => {
            let _ = fs::remove_file(draft);
        }
        Err(error) => return Err(cannot_open(&error.into())),
    }
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| Failure::Io(error.to_string()))
}

fn unusable(reason: &str, help: &'static str) -> Failure {
    Failure::Unusable(reason.to_owned(), help)
}

fn cannot_open(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Failure::Full(error.to_string())
        }
        _ => Failure::Unusable(
            format!("it cannot be opened: {error}"),
            "give this user read and write permission to the file and its directory",
        ),
    }
}
