//! Looks a database over, whatever state it is in.

use std::fs;
use std::path::{Path, PathBuf};

use celeriac_core::ConsumerInfo;
use rusqlite::Connection;

use super::failure::Failure;
use super::lease::{Holder, Identity};
use super::{linux, schema, statements};

/// What was found in a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The size of its write-ahead log in bytes.
    pub wal_bytes: u64,
    /// The version of its schema, if it could be read.
    pub schema_version: Option<i32>,
    /// How many of what there are, if they could be counted.
    pub counts: Option<Counts>,
    /// Who is registered as consumer, living or not.
    pub holders: Vec<ConsumerInfo>,
    /// How many of these are dead and will be swept by the next consumer.
    pub dead_holders: u64,
    /// What is wrong, one sentence each; empty if nothing is.
    pub problems: Vec<String>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.problems.is_empty()
    }
}

/// How many of what there are: every message is in exactly one of these places.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that are not dead: ready, delayed and held together.
    pub messages: u64,
    /// Messages that could be delivered now.
    pub ready: u64,
    /// Messages that wait for their time.
    pub delayed: u64,
    /// Messages some consumer holds.
    pub held: u64,
    /// Dead messages.
    pub dead: u64,
    /// Results, final or not.
    pub results: u64,
    /// Results of calls that have not come to their end.
    pub unfinished_results: u64,
}

/// Looks over the database at `path`: its pages, its schema, and whether its counts add up.
///
/// Blocks for as long as reading the whole file takes. What is wrong is in the report; the file's
/// content is not changed.
pub fn check(path: &Path) -> Report {
    let size = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let mut report = Report {
        path: path.to_owned(),
        size_bytes: size(path),
        wal_bytes: size(Path::new(&wal)),
        ..Report::default()
    };
    if let Err(failure) = look_over(path, &mut report) {
        report.problems.push(failure.to_string());
    }
    report
}

fn look_over(path: &Path, report: &mut Report) -> Result<(), Failure> {
    schema::check_file(path)?;
    let connection = schema::connect(path)?;
    report.schema_version = Some(schema::pragma(&connection, "user_version")?);
    schema::check_identity(&connection)?;
    check_pages(&connection, report)?;
    let counts = count(&connection)?;
    if counts.ready + counts.delayed + counts.held != counts.messages {
        report.problems.push(format!(
            "the counts do not add up: {} ready, {} delayed and {} held, but {} messages",
            counts.ready, counts.delayed, counts.held, counts.messages
        ));
    }
    report.counts = Some(counts);
    for (statement, what) in [
        (
            statements::CHECK_MISPLACED,
            "messages are not in exactly one place",
        ),
        (
            statements::CHECK_ORPHANS,
            "messages are held by nobody that is registered",
        ),
    ] {
        let wrong: i64 = connection.query_row(statement, [], |row| row.get(0))?;
        if wrong > 0 {
            report.problems.push(format!("{wrong} {what}"));
        }
    }
    let (own, now) = (Identity::current(), linux::boot_ms());
    for holder in Holder::list(&connection)? {
        report.dead_holders += u64::from(holder.is_gone(&own) || holder.has_lapsed(now));
        report.holders.push(holder.info());
    }
    Ok(())
}

fn check_pages(connection: &Connection, report: &mut Report) -> Result<(), Failure> {
    let mut statement = connection.prepare(include_str!("statements/session/integrity.sql"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let finding: String = row.get(0)?;
        if finding != "ok" {
            report.problems.push(finding);
        }
    }
    Ok(())
}

fn count(connection: &Connection) -> Result<Counts, Failure> {
    Ok(connection.query_row(statements::CHECK_COUNTS, [], |row| {
        let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        Ok(Counts {
            messages: count(0)?,
            ready: count(1)?,
            delayed: count(2)?,
            held: count(3)?,
            dead: count(4)?,
            results: count(5)?,
            unfinished_results: count(6)?,
        })
    })?)
}
