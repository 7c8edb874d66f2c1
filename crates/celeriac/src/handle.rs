//! One call under way, as its sender sees it.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use celeriac_core::{Control, ErrorKind, OutcomeChunk, Progress, Reply, TaskError, TaskId};
use tokio::sync::watch;

use crate::broker_client::BrokerClient;
use crate::call::Call;
use crate::error::Result;

/// One call under way that returns a `V`.
///
/// Usable from `async` code ([`get`](Self::get)) and from blocking code ([`wait`](Self::wait)),
/// wherever the call runs. Dropping a handle leaves the call running.
///
/// For a chain or a chord it is the last call, which the others lead to.
pub struct Handle<V> {
    sent: Sent<V>,
    /// Made when the first report is waited for.
    reports: Option<watch::Receiver<Option<Progress>>>,
}

/// A call, and what was sent with it.
pub(crate) struct Sent<V> {
    call: Arc<Call<V>>,
    broker: Option<Arc<BrokerClient>>,
    lineage: Option<Arc<Lineage>>,
}

/// The other calls of a canvas.
#[derive(Debug)]
pub(crate) struct Lineage {
    /// Those that lead to the last one step by step, in order.
    pub(crate) steps: Vec<TaskId>,
    /// All of them.
    pub(crate) all: Vec<TaskId>,
}

impl<V> Clone for Sent<V> {
    fn clone(&self) -> Self {
        Self {
            call: self.call.clone(),
            broker: self.broker.clone(),
            lineage: self.lineage.clone(),
        }
    }
}

impl<V: Send + 'static> Sent<V> {
    pub(crate) async fn cancel(&self) -> Result<()> {
        let Some(broker) = &self.broker else {
            self.call.cancel();
            return Ok(());
        };
        let Some(lineage) = &self.lineage else {
            return broker.revoke(std::slice::from_ref(&self.call.id)).await;
        };
        let mut ids = lineage.all.clone();
        ids.push(self.call.id.clone());
        broker.revoke(&ids).await?;
        // The last call may never be sent now, and then nobody says that it was revoked.
        for id in &lineage.all {
            let heir = Arc::new(Heir(Arc::downgrade(&self.call)));
            broker.follow(id.clone(), heir, 0, Control::new(), false);
        }
        Ok(())
    }
}

/// Hears of the end of an earlier call for the last one.
struct Heir<V>(Weak<Call<V>>);

impl<V: Send + 'static> Reply for Heir<V> {
    fn outcomes(&self, outcomes: OutcomeChunk) {
        if let Some(Err(error)) = outcomes.iter().next() {
            self.failed(error);
        }
    }

    fn failed(&self, error: TaskError) {
        if error.kind() == ErrorKind::Cancelled
            && let Some(call) = self.0.upgrade()
        {
            call.slot.fill(Err(error));
        }
    }
}

impl<V: Send + 'static> Handle<V> {
    pub(crate) fn new(call: Arc<Call<V>>, broker: Option<Arc<BrokerClient>>) -> Self {
        Self {
            sent: Sent {
                call,
                broker,
                lineage: None,
            },
            reports: None,
        }
    }

    /// The handle of the last of several calls.
    pub(crate) fn of_canvas(
        call: Arc<Call<V>>,
        broker: Option<Arc<BrokerClient>>,
        lineage: Lineage,
    ) -> Self {
        Self {
            sent: Sent {
                call,
                broker,
                lineage: Some(Arc::new(lineage)),
            },
            reports: None,
        }
    }

    pub(crate) fn sent(&self) -> &Sent<V> {
        &self.sent
    }

    /// The id of the call, by which others can ask for its result.
    pub fn id(&self) -> &TaskId {
        &self.sent.call.id
    }

    /// The id of the step before the last one, if it is a chain's; a chord's body counts for the
    /// chord. On a broker, [`App::handle`](crate::App::handle) follows it.
    pub fn parent(&self) -> Option<&TaskId> {
        self.steps().last()
    }

    /// The ids of the steps before the last one, in order.
    pub fn steps(&self) -> &[TaskId] {
        match &self.sent.lineage {
            Some(lineage) => &lineage.steps,
            None => &[],
        }
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
    pub async fn get(&mut self) -> Result<V, TaskError> {
        std::future::poll_fn(|context| self.sent.call.slot.poll_take(context)).await
    }

    /// Waits for the value on this thread.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn wait(&mut self) -> Result<V, TaskError> {
        self.sent
            .call
            .slot
            .wait_take(None)
            .expect("waiting without a limit ends with an outcome")
    }

    /// Waits for the value on this thread, at most for `limit`; `None` if it is not there by then.
    pub fn wait_for(&mut self, limit: Duration) -> Option<Result<V, TaskError>> {
        self.sent.call.slot.wait_take(Some(limit))
    }

    /// Whether the outcome is there.
    pub fn is_finished(&self) -> bool {
        self.sent.call.slot.is_filled()
    }

    /// How far the task has come, if it said.
    ///
    /// A broker passes on a report every 100 ms at most, and none once the call has ended.
    pub fn progress(&self) -> Option<Progress> {
        self.sent.call.control.progress()
    }

    /// Waits for a progress report not seen here yet, the newest; `None` if the call ends before
    /// there is one.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn next_progress(&mut self) -> Option<Progress> {
        let reports = self.reports.get_or_insert_with(|| {
            let mut reports = self.sent.call.control.watch_progress();
            if reports.borrow().is_some() {
                // It was quicker than we are, and its report is still news.
                reports.mark_changed();
            }
            reports
        });
        tokio::select! {
            biased;
            changed = reports.changed() => changed.ok().and_then(|()| reports.borrow_and_update().clone()),
            () = self.sent.call.slot.finished() => None,
        }
    }

    /// Asks the call to stop.
    ///
    /// One that has not started will not. One that runs is interrupted: a coroutine is dropped at its
    /// next await, a child process is killed after a grace period, a plain function on a thread
    /// stops when it looks at its context. The outcome then is
    /// [`Cancelled`](crate::ErrorKind::Cancelled), unless the call was faster.
    ///
    /// With it stop all the calls that lead to it.
    ///
    /// # Errors
    ///
    /// If the call runs on workers and the broker cannot be told.
    pub async fn cancel(&self) -> Result<()> {
        self.sent.cancel().await
    }

    pub(crate) fn poll_get(
        &mut self,
        context: &std::task::Context<'_>,
    ) -> std::task::Poll<Result<V, TaskError>> {
        self.sent.call.slot.poll_take(context)
    }
}

impl<V> fmt::Debug for Handle<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Handle")
            .field("id", &self.sent.call.id)
            .field("finished", &self.sent.call.slot.is_filled())
            .finish_non_exhaustive()
    }
}
