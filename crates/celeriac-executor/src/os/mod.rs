//! What the process pool needs of the system and no safe interface offers.
//!
//! The door through which children enter before `main`, memory shared by parent and child, signals, a
//! process that keeps another, and the detection of a stack overflow. Everything here is small, and callers see only safe functions.
#![allow(
    unsafe_code,
    reason = "constructors, shared mappings, signals and forks have no safe interface"
)]

mod keeping;
mod memory;
mod signals;
mod stack;

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use self::keeping::{Heard, Held, notify, split};
pub(crate) use self::memory::{SharedBytes, SharedWords, map_own, map_theirs};
pub(crate) use self::signals::{Thread, has_rung, ignore_signals, on_signal, take_signals};
pub(crate) use self::stack::{STACK_OVERFLOW, guard_stack, note_overflows};

/// The environment variable that marks a process as a pool's child.
pub(crate) const MARKER: &str = "CELERIAC_CHILD";

static IS_CHILD: AtomicBool = AtomicBool::new(false);

/// Whether this process was started as a pool's child, even if it did not become one.
pub(crate) fn is_child() -> bool {
    IS_CHILD.load(Ordering::Relaxed) || std::env::var_os(MARKER).is_some()
}

/// Run by the C library before `main`, after the standard library has taken the arguments.
// SAFETY: the section holds pointers to functions of this type, which is what the loader calls.
#[used]
#[unsafe(link_section = ".init_array")]
static ENTER: extern "C" fn() = enter;

/// Returns at once in any process but a pool's child, and never in that.
extern "C" fn enter() {
    let Ok(marker) = std::env::var(MARKER) else {
        return;
    };
    // SAFETY: constructors run on the only thread there is.
    unsafe { std::env::remove_var(MARKER) };
    IS_CHILD.store(true, Ordering::Relaxed);
    crate::processes::inside::enter(&marker)
}

/// Takes the socket that was handed over as standard input, and leaves `/dev/null` in its place.
pub(crate) fn take_stdin() -> io::Result<OwnedFd> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = File::open("/dev/null")?;
    // SAFETY: descriptor 0 is the process's own, and nobody has read from it yet.
    match unsafe { libc::dup2(null.as_raw_fd(), 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(socket),
    }
}
