//! A server that is killed again and again while it is worked with.

use std::ffi::OsString;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStringExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use celeriac::App;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::ledger::Ledger;
use super::{Counts, Result, runtime, some_time};
use crate::brokers;
use crate::tasks::mark;
use crate::worker::{Worker, wait_for};

/// The variables that tell of a RabbitMQ that may be brought to a halt, and how it is asked.
const SPARE: &str = "CELERIAC_TEST_AMQP_SPARE";
const SPARE_CONTROL: &str = "CELERIAC_TEST_RABBITMQCTL_SPARE";

/// Where Debian keeps the server itself.
const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

const KILLS: u64 = 20;

/// How much work is done before the next.
const LEAST: Duration = Duration::from_millis(500);
const MORE: Duration = Duration::from_secs(1);

/// How often something is sent.
const PAUSE: Duration = Duration::from_millis(4);

/// How soon after the server listens a task has run, in milliseconds.
const PROGRESS_MS: u64 = 5_000;

/// How many tasks may run again that a server forgot to have been done: what a batch holds.
const UNSETTLED: u64 = 16;

/// Longer than anything takes that works.
const LIMIT: Duration = Duration::from_secs(120);

/// A Redis that has written down what it says it has.
pub(super) fn of_redis() -> Result<Counts> {
    let folder = tempfile::tempdir()?;
    run(&Redis::start(&folder)?)
}

/// The RabbitMQ that nobody else uses.
pub(super) fn of_rabbitmq() -> Result<Counts> {
    run(&RabbitMq::find()?)
}

/// A server that can be killed and started again on what it has kept.
trait Server: Sync {
    fn url(&self) -> &str;
    fn kill_and_start(&self) -> Result<()>;
}

/// Sends and works while the server is killed so often.
fn run(server: &dyn Server) -> Result<Counts> {
    let ledger = Ledger::new()?;
    let runtime = runtime()?;
    let _worker = Worker::start_ready(server.url(), "threads=2")?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| runtime.block_on(send_until(server.url(), &ledger, &over)));
        let killed = kill_often(server, &ledger, &over);
        over.store(true, Ordering::Relaxed);
        let sent = sending.join().map_err(|_| "the sender panicked")??;
        let slowest_ms = killed?;
        let missing = |ledger: &Ledger| -> Result<u64> {
            let times = ledger.times()?;
            Ok(sent.iter().filter(|it| !times.contains_key(it)).count() as u64)
        };
        runtime.block_on(ledger.wait(LIMIT, |ledger| Ok(missing(ledger)? == 0)))?;
        let mut counts = Counts::default();
        counts.add("of the tasks that were taken lost", missing(&ledger)?, 0);
        counts.add("finished twice", ledger.again()?, KILLS * UNSETTLED);
        counts.add(
            "ms until a task ran again, at worst",
            slowest_ms,
            PROGRESS_MS,
        );
        Ok(counts)
    })
}

/// Sends until it is over; the numbers of those that the server is said to have taken.
async fn send_until(url: &str, ledger: &Ledger, over: &AtomicBool) -> Result<Vec<u32>> {
    let app = App::on(url).await?;
    let file = ledger.file();
    let mut sent = Vec::new();
    for number in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let call = mark::call(&*file, number).ignore_result();
        if app.send(call).await.is_ok() {
            sent.push(number);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(sent)
}

/// Kills it so often; the longest time from listening to the next task, in milliseconds.
fn kill_often(server: &dyn Server, ledger: &Ledger, over: &AtomicBool) -> Result<u64> {
    let mut slowest = Duration::ZERO;
    for _ in 0..KILLS {
        some_time(LEAST, MORE)?;
        server.kill_and_start()?;
        let (listens, before) = (Instant::now(), ledger.lines()?);
        while ledger.lines()? == before {
            if listens.elapsed() > LIMIT || over.load(Ordering::Relaxed) {
                return Err("nothing is done after the server was killed".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        slowest = slowest.max(listens.elapsed());
    }
    Ok(u64::try_from(slowest.as_millis())?)
}

/// Returns once somebody listens.
fn wait_for_port(address: SocketAddr) -> Result<()> {
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        if begun.elapsed() > LIMIT {
            return Err("the server does not listen again".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A server of ours; it ends with us.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that is gone already needs no killing.
        let _ = (self.0.kill(), self.0.wait());
    }
}

struct Redis<'a> {
    folder: &'a TempDir,
    address: SocketAddr,
    url: String,
    server: Mutex<Running>,
}

impl<'a> Redis<'a> {
    fn start(folder: &'a TempDir) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let server = Mutex::new(redis(folder, address)?);
        Ok(Self {
            folder,
            address,
            url: format!("redis://{address}/0"),
            server,
        })
    }
}

/// Starts one that has written down what it answers to.
fn redis(folder: &TempDir, address: SocketAddr) -> Result<Running> {
    let server = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
        .args(["--appendfsync", "always", "--port"])
        .arg(address.port().to_string())
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .map(Running)?;
    wait_for_port(address)?;
    Ok(server)
}

impl Server for Redis<'_> {
    fn url(&self) -> &str {
        &self.url
    }

    fn kill_and_start(&self) -> Result<()> {
        let mut server = lock(&self.server);
        server.0.kill()?;
        server.0.wait()?;
        *server = redis(self.folder, self.address)?;
        Ok(())
    }
}

struct RabbitMq {
    url: String,
    address: SocketAddr,
    /// The program by which it is asked.
    control: String,
    /// What was started here, after the first kill.
    server: Mutex<Option<Running>>,
}

impl RabbitMq {
    fn find() -> Result<Self> {
        let url = brokers::url(SPARE)?;
        let (_, server) = url.rsplit_once('@').ok_or("the URL names no server")?;
        let address = server.trim_end_matches('/').parse()?;
        Ok(Self {
            address,
            control: brokers::url(SPARE_CONTROL)?,
            server: Mutex::default(),
            url,
        })
    }

    /// The number of its process.
    fn process(&self) -> Result<u32> {
        let asked = Command::new(&self.control)
            .args(["eval", "list_to_integer(os:getpid())."])
            .output()?;
        let answer = String::from_utf8(asked.stdout)?;
        let number = answer.trim().parse();
        Ok(number.map_err(|_| format!("the server does not say its process: {answer}"))?)
    }
}

impl Server for RabbitMq {
    fn url(&self) -> &str {
        &self.url
    }

    fn kill_and_start(&self) -> Result<()> {
        let process = self.process()?;
        let environment = fs::read(format!("/proc/{process}/environ"))?;
        kill(process)?;
        let mut server = lock(&self.server);
        // It was ours, if it is not the first.
        *server = None;
        let mut command = Command::new(PROGRAM);
        for word in environment.split(|byte| *byte == 0) {
            let Some(at) = word.iter().position(|byte| *byte == b'=') else {
                continue;
            };
            let value = OsString::from_vec(word[at + 1..].to_vec());
            command.env(String::from_utf8_lossy(&word[..at]).as_ref(), value);
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        *server = Some(command.spawn().map(Running)?);
        wait_for_port(self.address)
    }
}

/// Kills a process that need not be ours.
fn kill(process: u32) -> Result<()> {
    let id = i32::try_from(process).ok().and_then(Pid::from_raw);
    kill_process(id.ok_or("no process has this number")?, Signal::KILL)?;
    Ok(wait_for(process, Instant::now() + LIMIT)?)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
