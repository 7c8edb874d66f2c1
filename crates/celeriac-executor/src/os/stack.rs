//! The detection of a stack overflow.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use memmap2::MmapOptions;

use super::SharedWords;

/// The word in which a stack overflow leaves its mark; null until there is one.
static CAUSE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());

/// What [`note_overflows`] stores.
pub(crate) const STACK_OVERFLOW: u64 = 1;

thread_local! {
    /// The range of addresses whose touch means that this thread's stack is full.
    static STACK_END: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// From now on a stack overflow of a thread that called [`guard_stack`] stores [`STACK_OVERFLOW`]
/// in word number `index` before the process dies of it.
pub(crate) fn note_overflows(words: &'static SharedWords, index: usize) -> io::Result<()> {
    CAUSE.store(
        ptr::from_ref(&words.words()[index]).cast_mut(),
        Ordering::Release,
    );
    // SAFETY: an all-zero `sigaction` is a valid one, and the handler only does what a signal
    // handler may: atomic stores, a read of constant-initialised thread-local memory, `signal`, `raise`.
    let installed = unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGSEGV, &raw const action, ptr::null_mut())
    };
    match installed {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Marks a stack overflow, and lets the signal take its usual end.
extern "C" fn on_fault(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes valid information to an SA_SIGINFO handler, `CAUSE` points into a
    // mapping that is never unmapped, and `signal` and `raise` are
    // async-signal-safe.
    unsafe {
        let address = (*info).si_addr() as usize;
        let (low, high) = STACK_END.get();
        let cause = CAUSE.load(Ordering::Acquire);
        if (low..high).contains(&address) && !cause.is_null() {
            (*cause).store(STACK_OVERFLOW, Ordering::Release);
        }
        libc::signal(libc::SIGSEGV, libc::SIG_DFL);
        // A signal that was sent would not come again by itself; it waits until this returns.
        libc::raise(libc::SIGSEGV);
    }
}

/// Gives this thread a stack for signals, so that running out of its own can be told.
///
/// Threads of a child need it because the standard library prepares them only once `main` was
/// reached. The memory is never given back, so it is for threads that live as long as the process.
pub(crate) fn guard_stack() {
    const SIZE: usize = 64 * 1024;
    static PAGE: OnceLock<usize> = OnceLock::new();
    let page = *PAGE.get_or_init(rustix::param::page_size);
    let Ok(map) = MmapOptions::new().len(SIZE).map_anon() else {
        return;
    };
    let stack = libc::stack_t {
        ss_sp: Box::leak(Box::new(map)).as_mut_ptr().cast(),
        ss_flags: 0,
        ss_size: SIZE,
    };
    // SAFETY: the alternate stack is leaked and used by this thread alone; `attributes` is
    // initialised by `pthread_getattr_np` before it is read and destroyed after.
    unsafe {
        libc::sigaltstack(&raw const stack, ptr::null_mut());
        let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return;
        }
        let mut low = ptr::null_mut();
        let mut size = 0;
        libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut low, &raw mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        // glibc's guard page lies below the stack, musl's and older glibc's within it.
        let low = low as usize;
        STACK_END.set((low.saturating_sub(16 * page), low + 4 * page));
    }
}
