//! Our side of what machines share.

use std::env;
use std::error::Error;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use celeriac_sync::SyncError;
use celeriac_sync::cluster::{Cluster, Lock, Manager, Queue};
use celeriac_testkit::peers::redis_url;
use futures_util::future::join_all;
use tokio::runtime::Builder;

use crate::repetitions::Report;

/// What the program is told to be a manager.
pub(crate) const MANAGER: &str = "manager";

type Failure = Box<dyn Error + Send + Sync>;

/// How many items are under way, and how often so many.
const WINDOW: u32 = 512;
const WINDOWS: u32 = 100;

/// How many locks are taken one after another.
const LOCKS: usize = 5_000;

/// How long a manager is waited for that was just started.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs what `measure` names.
pub(crate) fn run(measure: &str) -> Result<Option<Report>, Failure> {
    Ok(Some(match measure {
        "manager-queue" => items()?,
        "cluster-lock" => locks()?,
        _ => return Ok(None),
    }))
}

/// Is the manager that another process of this program measures.
pub(crate) fn serve(address: &str) -> Result<ExitCode, Failure> {
    Manager::bind(address, None)?.run()?;
    Ok(ExitCode::SUCCESS)
}

/// A manager in a process of its own.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        // One that has ended needs no end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn manager() -> Result<(Serving, Cluster), Failure> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let mut command = Command::new(env::current_exe()?);
    command.args([MANAGER, &free.to_string()]);
    let serving = Serving(command.stdin(Stdio::null()).spawn()?);
    let start = Instant::now();
    loop {
        match Cluster::connect(&format!("manager://{free}")) {
            Ok(place) => return Ok((serving, place)),
            Err(error) if start.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// One coroutine puts and gets, so many items at a time.
fn items() -> Result<Report, Failure> {
    let (_serving, place) = manager()?;
    let queue = Queue::bounded_in(&place, WINDOW as usize)?;
    let runtime = Builder::new_current_thread().build()?;
    let window = async || {
        for put in join_all((0..WINDOW).map(|item| queue.put_async(item))).await {
            put.map_err(SyncError::from)?;
        }
        for got in join_all((0..WINDOW).map(|_| queue.get_async())).await {
            drop(got?);
        }
        Ok::<_, SyncError>(())
    };
    Ok(Report::of(WINDOW * WINDOWS, || {
        runtime.block_on(async {
            for _ in 0..WINDOWS {
                window().await?;
            }
            Ok::<_, SyncError>(())
        })
    })?)
}

/// From asking for a lock that nobody wants until it is held.
fn locks() -> Result<Report, Failure> {
    let place = Cluster::connect(&redis_url())?;
    let lock = Lock::new_in(&place)?;
    let mut took = Vec::new();
    for _ in 0..LOCKS {
        let begun = Instant::now();
        let held = lock.lock()?;
        took.push(begun.elapsed());
        held.release()?;
    }
    Ok(Report::new(1, took))
}
