//! What the driver asks of Linux: clocks, `/proc`, file systems and inotify.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify;
use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since boot, suspension included: no wall-clock jump moves it.
pub(super) fn boot_ms() -> i64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

/// The id of this boot; empty if `/proc` does not tell.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// The number of this process's pid namespace; 0 if `/proc` does not tell.
pub(super) fn pid_namespace() -> i64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |ns| ns.ino().cast_signed())
}

/// When the living process `pid` started, in clock ticks since boot. A zombie does not live.
pub(super) fn start_ticks(pid: u32) -> Option<i64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// The name of the network file system `path` is on, if it is on one.
pub(super) fn network_file_system(path: &Path) -> Option<&'static str> {
    let kind = rustix::fs::statfs(path).ok()?.f_type;
    // Numbers from the kernel's `linux/magic.h`.
    [
        (0x6969, "NFS"),
        (0x517B, "SMB"),
        (0xFF53_4D42, "CIFS"),
        (0xFE53_4D42, "SMB2"),
        (0x0102_1997, "9p"),
        (0x00C3_6400, "Ceph"),
        (0x5346_414F, "AFS"),
    ]
    .into_iter()
    .find(|(magic, _)| *magic == i128::from(kind))
    .map(|(_, name)| name)
}

/// Tells when a file is written to.
#[derive(Debug)]
pub(super) struct FileWatch {
    inotify: OwnedFd,
}

impl FileWatch {
    /// Watches the file at `path`.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let inotify =
            inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        inotify::add_watch(&inotify, path, inotify::WatchFlags::MODIFY)?;
        Ok(Self { inotify })
    }

    /// Waits until the file is written to, `stop` is written to, or `timeout` has passed.
    pub(super) fn wait(&self, stop: &OwnedFd, timeout: Duration) -> io::Result<()> {
        let mut fds = [
            PollFd::new(&self.inotify, PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
        ];
        let timeout = Timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        while events.next().is_ok() {}
        Ok(())
    }
}

/// A descriptor that wakes whoever polls it.
pub(super) fn stop_bell() -> io::Result<OwnedFd> {
    use rustix::event::{EventfdFlags, eventfd};
    Ok(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

/// Wakes whoever polls `bell`.
pub(super) fn ring(bell: &OwnedFd) {
    // It can only fail if it was rung 2^64 times.
    let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
}
