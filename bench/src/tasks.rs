//! The tasks of our side.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::time::Duration;

use celeriac::Bytes;

use crate::{marks, work};

#[celeriac::task]
pub(crate) fn is_prime(n: u64) -> bool {
    work::is_prime(n)
}

#[celeriac::task]
pub(crate) fn sum(from: u64, to: u64) -> u64 {
    work::sum(from..=to)
}

#[celeriac::task]
pub(crate) fn empty(_number: u32) {}

/// Does nothing, too; a marked one writes down when.
#[celeriac::task]
pub(crate) fn tick(marked: bool) -> io::Result<()> {
    if marked {
        marks::add(marks::now()?)
    } else {
        Ok(())
    }
}

/// Writes down how late it runs; one that runs too early fails.
#[celeriac::task]
pub(crate) fn punctual(due_ms: u64) -> io::Result<()> {
    let late = marks::now()?.checked_sub(Duration::from_millis(due_ms));
    marks::add(late.ok_or_else(|| io::Error::other("it is not due yet"))?)
}

#[celeriac::task]
pub(crate) fn echo(body: Bytes) -> Bytes {
    body
}

/// Says which process runs it.
#[celeriac::task]
pub(crate) fn process(_number: u64) -> u32 {
    std::process::id()
}

#[celeriac::task]
pub(crate) async fn sleep_1s(_number: u32) {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// Writes down that it begins, and then works for so long.
#[celeriac::task(name = "bench.mark_slowly")]
pub(crate) fn mark_slowly(file: &str, number: u32, ms: u64) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(file)?;
    file.write_all(format!("{number}\n").as_bytes())?;
    std::thread::sleep(Duration::from_millis(ms));
    Ok(())
}

/// Works for 5 ms and writes down that it did: one line, in one write.
#[celeriac::task]
pub(crate) fn mark(file: &str, number: u32) -> io::Result<()> {
    std::thread::sleep(Duration::from_millis(5));
    let mut file = OpenOptions::new().append(true).create(true).open(file)?;
    file.write_all(format!("{number}\n").as_bytes())
}
