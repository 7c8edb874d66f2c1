//! The thread that serves all connections of this process.
//!
//! Callers may run on any executor, or on none, so the driver brings its own.

use std::future::Future;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("amqp")
            .enable_all()
            .build()
            .expect("a thread can be started")
    })
}

/// Starts `future` on the driver's thread.
pub(crate) fn spawn<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    runtime().spawn(future)
}

/// Runs `future` on the driver's thread and waits for it, on whatever executor the caller has. It
/// goes on if the caller stops waiting.
///
/// # Panics
///
/// If `future` does.
pub(crate) async fn run<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    match spawn(future).await {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
