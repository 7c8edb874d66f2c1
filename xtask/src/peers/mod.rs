//! The real systems that tests talk to: Redis, RabbitMQ, Celery in Python, and a browser.
//!
//! # Invariants
//!
//! - Servers have ports and folders of their own, so that neither another run nor what the machine
//!   runs anyway is met.
//! - No server and no folder of one outlives its [`Peers`]; and no server a process that is killed.

mod browser;
mod packages;
mod python;
mod rabbitmq;
mod redis;
mod redis_62;
mod server;

use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::Result;
use crate::interrupts::Interrupts;

pub(crate) use python::CELERY_57;

/// What tells a test where a peer is.
pub(crate) type Variables = Vec<(&'static str, String)>;

/// Peers that are being started, or run; dropping them ends them.
#[derive(Debug)]
pub(crate) struct Peers {
    ready: Receiver<std::result::Result<Variables, String>>,
    stop: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Peers {
    /// Starts them in the background; what may be kept for the next time goes under `target`.
    pub(crate) fn start(target: &Path) -> Self {
        let folder = target.join("peers");
        let (tell, ready) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        // Servers are bound to the thread that starts them, so it stays until they shall end.
        let keeper = thread::spawn(move || match Running::start(&folder) {
            Ok((running, variables)) => {
                // If nobody listens any more, nobody holds the other end of `stopped` either.
                let _ = tell.send(Ok(variables));
                let _ = stopped.recv();
                drop(running);
            }
            Err(error) => {
                let _ = tell.send(Err(error.to_string()));
            }
        });
        Self {
            ready,
            stop: Some(stop),
            keeper: Some(keeper),
        }
    }

    /// Waits until all of them answer; gives what tests need to know.
    pub(crate) fn ready(&self, interrupts: &Interrupts) -> Result<Variables> {
        loop {
            match self.ready.recv_timeout(Duration::from_millis(100)) {
                Ok(variables) => return Ok(variables?),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err("what starts the servers has panicked".into());
                }
                Err(RecvTimeoutError::Timeout) if interrupts.came() => {
                    return Err("interrupted".into());
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(keeper) = self.keeper.take() {
            // If it panicked, its servers ended with it.
            let _ = keeper.join();
        }
    }
}

/// What `name` tells a test of the peers.
pub(crate) fn told<'a>(variables: &'a Variables, name: &str) -> Result<&'a str> {
    let found = variables.iter().find(|(variable, _)| *variable == name);
    let (_, value) = found.ok_or_else(|| format!("nobody has set {name}"))?;
    Ok(value)
}

/// Drops all that is stored in the Redis of `variables`, which has to be one of [`Peers`].
pub(crate) fn empty_redis(variables: &Variables) -> Result {
    redis::empty(told(variables, redis::URL)?)
}

/// What has to be held. Servers come first, for fields are dropped in order.
struct Running {
    _redis: [redis::Redis; 2],
    _rabbitmqs: [rabbitmq::RabbitMq; 2],
    _folders: [tempfile::TempDir; 4],
}

impl Running {
    /// Starts all, and returns when all answer.
    fn start(kept: &Path) -> Result<(Self, Variables)> {
        let begun = Instant::now();
        packages::ensure()?;
        progress("starting redis-server and rabbitmq-server");
        let folders = [
            folder("celeriac-redis-")?,
            folder("celeriac-redis-6.2-")?,
            folder("celeriac-rabbitmq-")?,
            folder("celeriac-rabbitmq-")?,
        ];
        let (redis, mut variables) =
            redis::start("redis-server".as_ref(), redis::URL, folders[0].path())?;
        let (mut shared, of_shared) = rabbitmq::start(folders[2].path(), rabbitmq::SHARED)?;
        let (mut spare, of_spare) = rabbitmq::start(folders[3].path(), rabbitmq::SPARE)?;
        variables.extend(of_shared.into_iter().chain(of_spare));
        variables.extend(browser::found()?);
        variables.extend(python::environments(kept)?);
        let old = redis_62::program(told(&variables, CELERY_57)?, kept)?;
        let (old, of_old) = redis::start(&old, redis::URL_62, folders[1].path())?;
        variables.extend(of_old);
        let mut redis = [redis, old];
        for redis in &mut redis {
            redis.wait()?;
        }
        shared.wait()?;
        spare.wait()?;
        progress(&format!("ready in {:.1} s", begun.elapsed().as_secs_f64()));
        let running = Self {
            _redis: redis,
            _rabbitmqs: [shared, spare],
            _folders: folders,
        };
        Ok((running, variables))
    }
}

fn folder(prefix: &str) -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix(prefix).tempdir()
}

/// Tells who waits what is being done.
fn progress(what: &str) {
    eprintln!("    servers: {what}");
}
