//! A worker in a process of its own: this program again, told to be one.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, iter};

use celeriac::worker::{Shutdown, Stopper, WorkerSettings};
use celeriac::{App, Place, QueueName, Registry};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process, pidfd_open, set_parent_process_death_signal,
};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

use crate::marks;

/// How the program is told to be a worker, before the broker and the pool.
pub(crate) const WORKER: &str = "worker";

/// How it is told, after them, to end when everything is done.
pub(crate) const UNTIL_IDLE: &str = "until-idle";

/// Such a worker has found nothing more to do for this long.
const IDLE: Duration = Duration::from_millis(200);

/// The line that a worker prints once it takes deliveries.
const READY: &str = "ready";

/// A word in the environment of the worker and of all that it starts.
const MARK: &str = "CELERIAC_BENCH_WORKER";

/// The variable that tells a worker how long it waits for what runs when it is to stop, in ms.
const GRACE: &str = "CELERIAC_BENCH_GRACE";

/// The variable that tells a worker its queues, if they are not the default one.
const QUEUES: &str = "CELERIAC_BENCH_QUEUES";

/// The variable that has a worker tell monitors of its tasks.
const EVENTS: &str = "CELERIAC_BENCH_EVENTS";

/// Whether a worker tells monitors of its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Events {
    On,
    Off,
}

/// A running worker; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Worker(Child);

impl Worker {
    /// Starts one that takes from the broker `url` and runs on `place`.
    pub(crate) fn start(url: &str, place: &str) -> io::Result<Self> {
        command(url, place)?.spawn().map(Self)
    }

    /// The same; returns when it takes deliveries.
    pub(crate) fn start_ready(url: &str, place: &str) -> io::Result<Self> {
        Self::begin(command(url, place)?)
    }

    /// The same for these queues.
    pub(crate) fn start_ready_for(
        url: &str,
        place: &str,
        queues: &[QueueName],
    ) -> io::Result<Self> {
        Self::begin(of_queues(url, place, queues)?)
    }

    /// The same; what it complains of is in `file`.
    pub(crate) fn start_heard(
        url: &str,
        place: &str,
        queues: &[QueueName],
        file: &Path,
    ) -> io::Result<Self> {
        let mut command = of_queues(url, place, queues)?;
        command.stderr(File::create(file)?);
        Self::begin(command)
    }

    /// The same for the default queue; what runs when it is to stop has so long to end.
    pub(crate) fn start_patient(url: &str, place: &str, grace: Duration) -> io::Result<Self> {
        let mut command = command(url, place)?;
        command.env(GRACE, grace.as_millis().to_string());
        Self::begin(command)
    }

    /// The same for the default queue; tasks leave their marks in `file`.
    pub(crate) fn start_ready_marking(url: &str, place: &str, file: &Path) -> io::Result<Self> {
        let mut command = command(url, place)?;
        command.env(marks::FILE, file);
        Self::begin(command)
    }

    /// Starts it, and returns when it takes deliveries.
    fn begin(mut command: Command) -> io::Result<Self> {
        let mut worker = Self(command.stdout(Stdio::piped()).spawn()?);
        let output = worker.0.stdout.take().expect("it was just piped");
        let mut line = String::new();
        // It ends with the worker, if that does not get ready.
        BufReader::new(output).read_line(&mut line)?;
        if line.trim_end() == READY {
            Ok(worker)
        } else {
            Err(io::Error::other("the worker ended before it was ready"))
        }
    }

    /// Starts one that does what there is to do, and then ends; tasks leave their marks in `file`.
    pub(crate) fn start_until_idle(
        url: &str,
        place: &str,
        file: &Path,
        events: Events,
    ) -> io::Result<Self> {
        let mut command = command(url, place)?;
        command.arg(UNTIL_IDLE).env(marks::FILE, file);
        if events == Events::On {
            command.env(EVENTS, "1");
        }
        command.spawn().map(Self)
    }

    /// Returns when it has ended by itself, which has to be within `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> io::Result<()> {
        let ended = pidfd_open(Pid::from_child(&self.0), PidfdFlags::empty())?;
        let limit = limit.try_into().map_err(io::Error::other)?;
        if poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&limit))? == 0 {
            return Err(io::Error::other("the worker does not end"));
        }
        let status = self.0.wait()?;
        let failed = || io::Error::other(format!("the worker ended with {status}"));
        status.success().then_some(()).ok_or_else(failed)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.0), signal)?)
    }

    /// How many files it has open, connections among them.
    pub(crate) fn open_files(&self) -> io::Result<u64> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.0.id()))?.count() as u64)
    }

    /// Ends it with SIGKILL: it gets no chance to clean up.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.0.kill()?;
        self.0.wait().map(drop)
    }

    /// How long its threads that live have run on a processor.
    pub(crate) fn processor_time(&self) -> io::Result<Duration> {
        let mut total = Duration::ZERO;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            let schedule = fs::read_to_string(thread?.path().join("schedstat"))?;
            let ran = ran_for(&schedule);
            total += ran.ok_or_else(|| io::Error::other("the kernel keeps no such account"))?;
        }
        Ok(total)
    }

    /// How much memory it has at the moment.
    pub(crate) fn resident_bytes(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        resident_bytes(&status).ok_or_else(|| io::Error::other("the worker has ended"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // One that is gone already needs no killing.
        let _ = self.kill();
    }
}

fn command(url: &str, place: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args([WORKER, url, place])
        .env(MARK, std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(command)
}

fn of_queues(url: &str, place: &str, queues: &[QueueName]) -> io::Result<Command> {
    let names: Vec<_> = queues.iter().map(QueueName::as_str).collect();
    let mut command = command(url, place)?;
    command.env(QUEUES, names.join(","));
    Ok(command)
}

/// What the kernel says of a process that runs.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// What the kernel says of a thread: its nanoseconds on a processor, and what else.
fn ran_for(schedule: &str) -> Option<Duration> {
    let nanoseconds = schedule.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// The processes that workers of ours have started and that still run.
pub(crate) fn left_behind() -> io::Result<Vec<u32>> {
    let mark = format!("{MARK}={}", std::process::id());
    let is_marked = |pid: &u32| {
        // One that has ended meanwhile, or belongs to somebody else, is none of ours.
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|word| word == mark.as_bytes())
    };
    let mut entries = fs::read_dir("/proc")?;
    let pids = iter::from_fn(|| entries.next())
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids.filter(is_marked).collect())
}

/// Returns when a process has ended, or at `end`.
pub(crate) fn wait_for(process: u32, end: Instant) -> io::Result<()> {
    let id = i32::try_from(process).ok().and_then(Pid::from_raw);
    let id = id.ok_or_else(|| io::Error::other("no process has this number"))?;
    let ended = match pidfd_open(id, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(()),
        ended => ended?,
    };
    let left = end.saturating_duration_since(Instant::now());
    let left = left.try_into().map_err(io::Error::other)?;
    poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&left))?;
    Ok(())
}

/// Works until it is killed, or until there is nothing more to do.
pub(crate) fn run(
    url: &str,
    place: &str,
    stop_when_idle: bool,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    // Who measures may be killed too.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let place: Place = place.parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let app = App::on(url).await?;
        let broker = app.broker().ok_or("the place is no broker")?.clone();
        let executor = celeriac_executor::open(&place)?;
        let mut settings = WorkerSettings::default();
        if let Ok(names) = env::var(QUEUES) {
            settings.queues = names
                .split(',')
                .map(QueueName::new)
                .collect::<Result<_, _>>()?;
        }
        if let Ok(grace_ms) = env::var(GRACE) {
            settings.grace = Duration::from_millis(grace_ms.parse()?);
        }
        settings.stop_when_idle = stop_when_idle.then_some(IDLE);
        settings.control.task_events = env::var_os(EVENTS).is_some();
        let worker =
            celeriac::worker::Worker::new(broker, executor, Registry::collect()?, settings);
        let running = worker.start().await?;
        // Before anybody hears that it is ready, and may tell it.
        let signals = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::quit())?,
        );
        tokio::spawn(stop_when_told(running.stopper(), signals));
        writeln!(io::stdout(), "{READY}")?;
        running.wait().await?;
        Ok(())
    })
}

/// Stops it as `celeriac worker` would.
async fn stop_when_told(stopper: Stopper, (mut warm, mut cold): (Signals, Signals)) {
    loop {
        tokio::select! {
            _ = warm.recv() => stopper.shutdown(Shutdown::Warm),
            _ = cold.recv() => stopper.shutdown(Shutdown::Cold),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_process_is_read_from_what_the_kernel_says() {
        let status = "Name:\tcat\nVmHWM:\t    2000 kB\nVmRSS:\t    1500 kB\nThreads:\t1\n";
        assert_eq!(resident_bytes(status), Some(1500 * 1024));
        assert_eq!(resident_bytes("Name:\tcat\nState:\tZ (zombie)\n"), None);
    }

    #[test]
    fn the_time_of_a_thread_is_the_first_that_the_kernel_says() {
        let ran = Duration::from_nanos(229_549_161);
        assert_eq!(ran_for("229549161 11875924 409\n"), Some(ran));
        assert_eq!(ran_for(""), None);
    }
}
