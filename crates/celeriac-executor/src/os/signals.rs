//! Signals in a child: the bell of the parent's notices, and what interrupts a system call.
//!
//! SIGUSR1 does both. Sent to the process it says that the parent has left a notice; sent on to the
//! thread that runs a task it ends the system call that the task waits in, with `EINTR`.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{IntoRawFd as _, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use rustix::process::Pid;

/// Ignores SIGPIPE, which `main` would have done, and SIGINT, which is the parent's to answer.
pub(crate) fn ignore_signals() {
    for signal in [libc::SIGPIPE, libc::SIGINT] {
        // SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Whether SIGUSR1 has come since anybody looked.
static RUNG: AtomicBool = AtomicBool::new(false);

/// What the handler of SIGUSR1 writes to.
static BELL: AtomicI32 = AtomicI32::new(-1);

/// From now on each SIGUSR1 makes [`has_rung`] true and then writes a byte to `bell`.
///
/// A full `bell` must not block. It stays open for as long as the process lives.
pub(crate) fn on_signal(bell: OwnedFd) -> io::Result<()> {
    BELL.store(bell.into_raw_fd(), Ordering::Release);
    // SAFETY: an all-zero `sigaction` is a valid one, and the handler only does what a signal
    // handler may: atomic accesses, and `write`. It leaves `errno` as it was.
    let installed = unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = on_notice as *const () as usize;
        // Without SA_RESTART, so that system calls are not begun again behind the task's back.
        action.sa_flags = libc::SA_ONSTACK;
        libc::sigaction(libc::SIGUSR1, &raw const action, ptr::null_mut())
    };
    match installed {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

extern "C" fn on_notice(_: libc::c_int) {
    RUNG.store(true, Ordering::SeqCst);
    // SAFETY: `errno` is this thread's own, the byte outlives the call, and a descriptor that
    // cannot be written to does no harm.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(BELL.load(Ordering::Acquire), [1_u8].as_ptr().cast(), 1);
        *libc::__errno_location() = errno;
    }
}

/// Whether SIGUSR1 has come since this was last asked.
pub(crate) fn has_rung() -> bool {
    RUNG.load(Ordering::Relaxed) && RUNG.swap(false, Ordering::SeqCst)
}

/// A thread of this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thread(Pid);

impl Thread {
    /// The one that asks.
    pub(crate) fn current() -> Self {
        thread_local! {
            static OWN: Cell<Option<Thread>> = const { Cell::new(None) };
        }
        OWN.get().unwrap_or_else(|| {
            let own = Self(rustix::thread::gettid());
            OWN.set(Some(own));
            own
        })
    }

    /// Ends the system call it waits in, if it does; does nothing if it has ended.
    pub(crate) fn interrupt(self) {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        // SAFETY: it sends a signal that has a handler to a thread of this process, or to none.
        unsafe {
            libc::syscall(
                libc::SYS_tgkill,
                own,
                self.0.as_raw_nonzero().get(),
                libc::SIGUSR1,
            )
        };
    }
}

/// Lets the signals in that were sent to this thread: whatever it does next, they will not interrupt it.
pub(crate) fn take_signals() {
    // They come in at the end of a system call at the latest.
    rustix::thread::sched_yield();
}
