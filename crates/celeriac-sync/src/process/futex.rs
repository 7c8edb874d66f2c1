//! Waiting for a word in shared memory.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::thread::futex::{Flags, Timespec, wait as sleep, wake as rouse};

/// Waits while `word` is `value`, no longer than `most`. May return for no reason.
pub(super) fn wait(word: &AtomicU32, value: u32, most: Duration) {
    let most = Timespec {
        tv_sec: most.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: most.subsec_nanos().into(),
    };
    // Changed meanwhile, interrupted, out of time: whoever waits looks again in any case.
    let _ = sleep(word, Flags::empty(), value, Some(&most));
}

/// Wakes so many who wait for `word`, in whatever process.
pub(super) fn wake(word: &AtomicU32, count: u32) {
    let _ = rouse(word, Flags::empty(), count);
}
