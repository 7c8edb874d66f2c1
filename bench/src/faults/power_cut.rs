//! Cuts the power while tasks are sent to SQLite: every acknowledged send must be there afterwards.
//!
//! # Sources
//!
//! The method is that of SQLite's own crash tests: only what reached the disk's image survives.

use std::collections::HashSet;
use std::error::Error;
use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use celeriac::App;
use celeriac::blocking::block_on;
use celeriac_core::QueueName;
use celeriac_core::broker::Subscription;
use futures_util::future::try_join_all;
use rustix::process::{Pid, Signal, kill_process};

use super::disk::Disk;
use super::{Counts, some_time};
use crate::tasks::empty;

const CUTS: u64 = 20;

/// Sends under way at once, so that some are in one commit.
const TOGETHER: u32 = 8;

/// Messages taken together when they are counted.
const MANY: NonZeroUsize = NonZeroUsize::new(1_000).expect("it is not zero");

/// How the program is told to be the sender of one cut.
pub(crate) const SENDER: &str = "power-cut-sender";

/// How it is told to read what a cut left.
pub(crate) const READER: &str = "power-cut-reader";

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Cuts the power again and again.
pub(crate) fn run() -> Result<Counts> {
    let (mut lost, mut unsound, mut acknowledged) = (0, 0, 0);
    for cut in 1..=CUTS {
        let after = cut_once()?;
        eprintln!(
            "cut {cut} of {CUTS}: {} of {} acknowledged sends lost",
            after.lost, after.acknowledged
        );
        lost += after.lost;
        acknowledged += after.acknowledged;
        unsound += u64::from(!after.sound);
    }
    if acknowledged < CUTS * 100 {
        return Err(
            format!("only {acknowledged} sends in {CUTS} cuts, which shows nothing").into(),
        );
    }
    let mut counts = Counts::default();
    counts.add("acknowledged sends lost", lost, 0);
    counts.add("databases damaged", unsound, 0);
    Ok(counts)
}

/// What one cut left.
struct After {
    acknowledged: u64,
    lost: u64,
    sound: bool,
}

fn cut_once() -> Result<After> {
    let folder = tempfile::tempdir_in("/dev/shm")?;
    let acknowledged = folder.path().join("acknowledged");
    let disk = Disk::make(folder.path())?;
    let mut sender = Command::new(std::env::current_exe()?)
        .arg(SENDER)
        .arg(url(disk.folder()))
        .stdin(Stdio::null())
        .stdout(File::create(&acknowledged)?)
        .spawn()?;
    some_time(Duration::from_millis(600), Duration::from_secs(1))?;
    kill_process(Pid::from_child(&sender), Signal::STOP)?;
    let after = disk.after_cut();
    sender.kill()?;
    sender.wait()?;
    let after = after?;

    let acknowledged = fs::read_to_string(acknowledged)?;
    // The last line may have been cut short.
    let whole = acknowledged
        .rsplit_once('\n')
        .map_or("", |(whole, _)| whole);
    let sent: HashSet<&str> = whole.lines().collect();
    let sound = is_sound(&after.folder().join("q.db"))?;
    let kept = if sound {
        kept(after.folder())?
    } else {
        HashSet::new()
    };
    Ok(After {
        acknowledged: sent.len() as u64,
        lost: sent.iter().filter(|id| !kept.contains(**id)).count() as u64,
        sound,
    })
}

fn url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("q.db").display())
}

/// Sends without end and prints the id of each task once it is acknowledged.
pub(crate) fn send(url: &str) -> celeriac::Result<()> {
    block_on(async {
        let app = App::on(url).await?;
        loop {
            let sends = (0..TOGETHER).map(|number| app.send(empty::call(number)));
            for handle in try_join_all(sends).await? {
                println!("{}", handle.id());
            }
        }
    })
}

/// What SQLite itself says of the file, by Python's copy of it.
fn is_sound(database: &Path) -> Result<bool> {
    let check = "import sqlite3, sys; \
                 print(sqlite3.connect(sys.argv[1]).execute('pragma integrity_check').fetchone()[0])";
    let output = Command::new("python3")
        .args(["-c", check])
        .arg(database)
        .output()?;
    Ok(output.stdout == b"ok\n")
}

/// The ids of all messages that are still there, as another process reads them: this one must not
/// hold the disk when it is unmounted.
fn kept(folder: &Path) -> Result<HashSet<String>> {
    let output = Command::new(std::env::current_exe()?)
        .args([READER, &url(folder)])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the queue cannot be read: {}", output.status).into());
    }
    let ids = String::from_utf8(output.stdout)?;
    Ok(ids.lines().map(str::to_owned).collect())
}

/// Prints the id of every message in the queue.
pub(crate) fn read(url: &str) -> Result<()> {
    block_on(async {
        let app = App::on(url).await?;
        let broker = app.broker().ok_or("the place is no broker")?;
        let consumer = broker
            .consume(Subscription::new("reader", vec![QueueName::default()]))
            .await?;
        while broker.queues().await?.iter().any(|info| info.ready > 0) {
            for delivery in consumer.receive(MANY).await? {
                println!("{}", delivery.message.headers.id);
            }
        }
        Ok(consumer.close().await?)
    })
}
