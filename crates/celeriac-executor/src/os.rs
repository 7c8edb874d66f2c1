//! What the process pool needs of the system and no safe interface offers.
//!
//! The door through which children enter before `main`, memory shared by parent and child, and the
//! detection of a stack overflow. Everything here is small, and callers see only safe functions.
#![allow(
    unsafe_code,
    reason = "constructors, shared mappings and signal handlers have no safe interface"
)]

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use memmap2::{Mmap, MmapMut, MmapOptions, MmapRaw};

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

/// Ignores SIGPIPE, which `main` would have done, and SIGINT, which is the parent's to answer.
pub(crate) fn ignore_signals() {
    for signal in [libc::SIGPIPE, libc::SIGINT] {
        // SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Words of memory that two processes share, from the start of a file.
#[derive(Debug)]
pub(crate) struct SharedWords {
    map: MmapRaw,
    count: usize,
}

impl SharedWords {
    /// Maps `count` words from the start of `file`, which must be sealed against shrinking.
    pub(crate) fn map(file: impl AsFd, count: usize) -> io::Result<Self> {
        let map = MmapOptions::new()
            .len(count * 8)
            .map_raw(file.as_fd().as_raw_fd())?;
        Ok(Self { map, count })
    }

    /// The words.
    #[expect(clippy::cast_ptr_alignment, reason = "a mapping is page-aligned")]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, `count` words long, lives as long as `self` and
        // cannot be cut off by the other process because the file is sealed. Whatever the other
        // process stores is a valid word, and each access is atomic.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast::<AtomicU64>(), self.count) }
    }
}

/// Bytes that two processes share: copied in and out, and never looked at in place.
#[derive(Debug)]
pub(crate) struct SharedBytes(MmapRaw);

impl SharedBytes {
    /// Maps `len` bytes of `file` from `offset` on, which must be sealed against shrinking.
    pub(crate) fn map(file: impl AsFd, offset: u64, len: usize) -> io::Result<Self> {
        let map = MmapOptions::new()
            .offset(offset)
            .len(len)
            .map_raw(file.as_fd().as_raw_fd())?;
        Ok(Self(map))
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Panics
    ///
    /// If they are not within what was mapped.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset <= self.0.len() && bytes.len() <= self.0.len() - offset);
        // SAFETY: the range is mapped, as just checked, and no reference points into it.
        // What another process writes there meanwhile only changes which bytes it will read.
        unsafe {
            let place = self.0.as_mut_ptr().add(offset);
            ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
        }
    }

    /// Copies `len` bytes from `offset` on out of it.
    ///
    /// # Panics
    ///
    /// If they are not within what was mapped.
    pub(crate) fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        assert!(offset <= self.0.len() && len <= self.0.len() - offset);
        let mut bytes = Vec::with_capacity(len);
        // SAFETY: the range is mapped, as just checked, and the vector has room for it; all `len`
        // bytes are initialised by the copy. Should another process write there meanwhile, they are
        // some bytes or others, and each is valid.
        unsafe {
            ptr::copy_nonoverlapping(self.0.as_ptr().add(offset), bytes.as_mut_ptr(), len);
            bytes.set_len(len);
        }
        bytes
    }
}

/// Maps memory that this process writes and another only reads, through `pread`.
pub(crate) fn map_own(file: impl AsFd, offset: u64, len: usize) -> io::Result<MmapMut> {
    // SAFETY: the file is sealed against shrinking, and no other process maps or writes this range.
    unsafe {
        MmapOptions::new()
            .offset(offset)
            .len(len)
            .map_mut(file.as_fd().as_raw_fd())
    }
}

/// Maps memory that the other process writes, at times when nobody looks at it here.
pub(crate) fn map_theirs(file: impl AsFd, offset: u64, len: usize) -> io::Result<Mmap> {
    // SAFETY: the file is sealed against shrinking. A parent writes to an inbox only while its seat
    // is free, that is before the child is told of the chunk and after it has sent the last outcome,
    // and the child reads it only in between. The parent is the same program as the child.
    unsafe {
        MmapOptions::new()
            .offset(offset)
            .len(len)
            .map(file.as_fd().as_raw_fd())
    }
}

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
