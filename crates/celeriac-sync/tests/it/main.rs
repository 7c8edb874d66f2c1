//! What holds of every scope, and what only one of them has.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something it needs is missing"
)]

mod cluster;
mod interleavings;
mod killed;
mod model;
mod named;
mod processes;
mod refused;
mod suite;

/// The scope of threads, as the suite wants it.
mod thread {
    use celeriac_sync::thread as scope;

    fn made<T>(made: T) -> T {
        made
    }

    crate::suite::locks!();
    crate::suite::meetings!();
    crate::suite::data!();
    crate::suite::queues!();
    crate::suite::tables!();
}

/// The scope of processes, as the suite wants it.
mod process {
    use celeriac_sync::SyncError;
    use celeriac_sync::process as scope;

    fn made<T>(made: Result<T, SyncError>) -> T {
        made.unwrap()
    }

    crate::suite::locks!();
    crate::suite::meetings!();
    crate::suite::data!();
    crate::suite::queues!();
    crate::suite::tables!();
}
