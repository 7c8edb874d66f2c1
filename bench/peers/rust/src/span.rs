//! From the first task of a backlog to its last.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::Result;

/// What the tasks of this process write down.
static SPAN: Mutex<Span> = Mutex::new(Span::of(0));

/// Told when as many tasks have run as there are.
static ALL_RAN: Notify = Notify::const_new();

struct Span {
    expected: u32,
    ran: u32,
    first: Option<Instant>,
    took: Duration,
}

impl Span {
    const fn of(expected: u32) -> Self {
        Self {
            expected,
            ran: 0,
            first: None,
            took: Duration::ZERO,
        }
    }
}

/// Runs `worker` until `tasks` have run; gives how long they took after the first.
pub(crate) async fn of<E: fmt::Display>(
    tasks: u32,
    worker: impl Future<Output = Result<(), E>>,
) -> Result<Duration> {
    *SPAN.lock().expect("no task panics") = Span::of(tasks);
    tokio::select! {
        () = ALL_RAN.notified() => Ok(SPAN.lock().expect("no task panics").took),
        ended = worker => Err(match ended {
            Ok(()) => "the worker ended before the last task".into(),
            Err(error) => format!("the worker ended: {error}").into(),
        }),
    }
}

/// All that a task does: it counts itself.
pub(crate) fn count_task() {
    let mut span = SPAN.lock().expect("no task panics");
    span.ran += 1;
    let first = *span.first.get_or_insert_with(Instant::now);
    if span.ran == span.expected {
        span.took = first.elapsed();
        ALL_RAN.notify_one();
    }
}
