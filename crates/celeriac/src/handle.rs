//! One call under way, as its sender sees it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{Progress, Task, TaskError, TaskId};
use tokio::sync::watch;

use crate::broker_client::BrokerClient;
use crate::call::Call;
use crate::error::Result;

/// One call under way.
///
/// Usable from `async` code ([`get`](Self::get)) and from blocking code ([`wait`](Self::wait)),
/// wherever the call runs. Dropping a handle leaves the call running.
pub struct Handle<T: Task> {
    call: Arc<Call<T>>,
    broker: Option<Arc<BrokerClient>>,
    /// Made when the first report is waited for.
    reports: Option<watch::Receiver<Option<Progress>>>,
}

impl<T: Task> Handle<T> {
    pub(crate) fn new(call: Arc<Call<T>>, broker: Option<Arc<BrokerClient>>) -> Self {
        Self {
            call,
            broker,
            reports: None,
        }
    }

    /// The id of the call, by which others can ask for its result.
    pub fn id(&self) -> &TaskId {
        &self.call.id
    }

    /// Waits for the value the task returned.
    ///
    /// # Errors
    ///
    /// Why there is none; [`NoResult`](crate::ErrorKind::NoResult) if it was already taken.
    ///
    /// # Cancel safety
    ///
    /// Safe: a dropped wait may be repeated, so a time-out is
    /// `tokio::time::timeout(limit, handle.get())`.
    pub async fn get(&mut self) -> Result<T::Output, TaskError> {
        std::future::poll_fn(|context| self.call.slot.poll_take(context)).await
    }

    /// Waits for the value on this thread.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn wait(&mut self) -> Result<T::Output, TaskError> {
        self.call
            .slot
            .wait_take(None)
            .expect("waiting without a limit ends with an outcome")
    }

    /// Waits for the value on this thread, at most for `limit`; `None` if it is not there by then.
    pub fn wait_for(&mut self, limit: Duration) -> Option<Result<T::Output, TaskError>> {
        self.call.slot.wait_take(Some(limit))
    }

    /// Whether the outcome is there.
    pub fn is_finished(&self) -> bool {
        self.call.slot.is_filled()
    }

    /// How far the task has come, if it said.
    ///
    /// A broker passes on a report every 100 ms at most, and none once the call has ended.
    pub fn progress(&self) -> Option<Progress> {
        self.call.control.progress()
    }

    /// Waits for a progress report not seen here yet, the newest; `None` if the call ends before
    /// there is one.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn next_progress(&mut self) -> Option<Progress> {
        let reports = self.reports.get_or_insert_with(|| {
            let mut reports = self.call.control.watch_progress();
            if reports.borrow().is_some() {
                // It was quicker than we are, and its report is still news.
                reports.mark_changed();
            }
            reports
        });
        tokio::select! {
            biased;
            changed = reports.changed() => changed.ok().and_then(|()| reports.borrow_and_update().clone()),
            () = self.call.slot.finished() => None,
        }
    }

    /// Asks the call to stop.
    ///
    /// One that has not started will not. One that runs is interrupted: a coroutine is dropped at its
    /// next await, a child process is killed after a grace period, a plain function on a thread
    /// stops when it looks at its context. The outcome then is
    /// [`Cancelled`](crate::ErrorKind::Cancelled), unless the call was faster.
    ///
    /// # Errors
    ///
    /// If the call runs on workers and the broker cannot be told.
    pub async fn cancel(&self) -> Result<()> {
        if let Some(broker) = &self.broker {
            return broker.revoke(std::slice::from_ref(&self.call.id)).await;
        }
        self.call.cancel();
        Ok(())
    }

    pub(crate) fn poll_get(
        &mut self,
        context: &std::task::Context<'_>,
    ) -> std::task::Poll<Result<T::Output, TaskError>> {
        self.call.slot.poll_take(context)
    }
}

impl<T: Task> fmt::Debug for Handle<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Handle")
            .field("task", &T::DEFINITION.name)
            .field("id", &self.call.id)
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}
