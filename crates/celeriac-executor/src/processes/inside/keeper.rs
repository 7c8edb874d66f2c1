//! The process between a pool and its child, which sees to it that nothing of the child is left.
//!
//! What a task starts may leave the child's process group, or lose its own parent; then only the
//! nearest reaper above it still finds it. The keeper is that reaper. It runs no task, so no task's
//! death is its own: however the child ends, it outlives the child, kills what has been handed up to
//! it, and then ends the way the child did.
//!
//! It passes SIGUSR1 on to the child's first thread, and SIGTERM, which it also gets when the pool's
//! process dies, ends the child.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, getpid, kill_process,
    kill_process_group, set_child_subreaper, set_parent_process_death_signal,
};

use crate::os::{self, Heard, Held};

/// So often the keeper looks for the processes it still has when the system does not name them.
const MOST_LOOKS: usize = 100;

/// Puts a keeper between this process and its parent, and goes on in a process of its own.
///
/// This has to be the only thread. `socket` is the child's alone.
pub(super) fn stand_between(socket: OwnedFd) -> io::Result<OwnedFd> {
    let held = Held::hold();
    let own = getpid();
    set_child_subreaper(Some(own))?;
    let Some(child) = os::split()? else {
        held.release();
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if rustix::process::getppid() != Some(own) {
            // Whoever wanted this child has ended before it began: nobody is left to tell.
            kill_process(getpid(), Signal::KILL)?;
        }
        rustix::process::setpgid(None, None)?;
        return Ok(socket);
    };
    drop(socket);
    let _ = rustix::thread::set_name(c"celeriac-keeper");
    let status = keep(child, &held);
    clear();
    held.end_as(status)
}

/// Waits for the child's end.
fn keep(child: Pid, held: &Held) -> WaitStatus {
    loop {
        match held.next() {
            Heard::Notice => os::notify(child),
            Heard::End => {
                let _ = kill_process(child, Signal::KILL);
            }
            Heard::Death => {
                if let Some(status) = reap(child) {
                    return status;
                }
            }
        }
    }
}

/// Takes note of the dead; says how the child ended, if it is among them.
fn reap(child: Pid) -> Option<WaitStatus> {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    if let Ok(Some(_)) = rustix::process::waitid(WaitId::Pid(child), look) {
        // At one stroke, so that nobody can start others meanwhile, and before the number of the
        // group can be somebody else's.
        let _ = kill_process_group(child, Signal::KILL);
    }
    while let Ok(Some((dead, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if dead == child {
            return Some(status);
        }
    }
    None
}

/// Kills whatever is left; those that lose their parent by that are handed up, and are next.
fn clear() {
    let mut looks = 0;
    while looks < MOST_LOOKS {
        let left = left();
        for &process in &left {
            let _ = kill_process(process, Signal::KILL);
        }
        let mut options = WaitOptions::empty();
        if left.is_empty() {
            // Most often there are none; but a list made while processes end may lack some.
            looks += 1;
            options |= WaitOptions::NOHANG;
        }
        match rustix::process::wait(options) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// The processes that were handed up and not taken note of.
fn left() -> Vec<Pid> {
    let own = getpid().as_raw_nonzero();
    fs::read_to_string(format!("/proc/{own}/task/{own}/children"))
        .unwrap_or_default()
        .split_ascii_whitespace()
        .filter_map(|number| Pid::from_raw(number.parse().ok()?))
        .collect()
}
