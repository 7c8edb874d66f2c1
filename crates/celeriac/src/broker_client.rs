//! The client of a broker: publishes calls and brings their outcomes back.
//!
//! To the rest of the app it is one more executor, so that `map` and handles know no difference.
//! Two coroutines do the work: one publishes what was submitted, in order and many at a time; one
//! follows the results of every call that somebody waits for.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::chunk::push_outcome;
use celeriac_core::results::ResultWatch;
use celeriac_core::{
    BoxFuture, Broker, BrokerError, CallOptions, ContentType, Control, ErrorKind, Executor,
    Invocation, Message, OutcomeChunk, Payload, QueueName, Reply, ResultBackend, ResultState,
    ShutdownMode, StoredResult, TaskError, TaskId, Work,
};
use celeriac_executor::drive::reactor;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::error::Result;

/// How long to wait before asking a broker again that was away.
const PAUSE: Duration = Duration::from_millis(200);

/// How many chunks a map may have under way, as if each were a slot.
const SLOTS: NonZeroUsize = NonZeroUsize::new(16).expect("it is not zero");

/// A connection to a broker and its results.
pub(crate) struct BrokerClient {
    broker: Arc<dyn Broker>,
    follow: mpsc::UnboundedSender<Followed>,
    submit: mpsc::UnboundedSender<Invocation>,
    unpublished: watch::Sender<usize>,
}

/// A call whose result somebody waits for.
struct Followed {
    id: TaskId,
    reply: Arc<dyn Reply>,
    /// The number of the call in its invocation.
    index: usize,
    control: Arc<Control>,
}

impl BrokerClient {
    pub(crate) fn new(broker: Arc<dyn Broker>) -> Result<Arc<Self>> {
        let results = broker.results().ok_or_else(|| BrokerError::Unsupported {
            address: format!("{broker:?}"),
            what: "keep results".to_owned(),
        })?;
        let (follow, followed) = mpsc::unbounded_channel();
        let (submit, submitted) = mpsc::unbounded_channel();
        let client = Arc::new(Self {
            broker: broker.clone(),
            follow: follow.clone(),
            submit,
            unpublished: watch::Sender::new(0),
        });
        reactor().spawn(
            Follower {
                results,
                calls: HashMap::new(),
            }
            .run(followed),
        );
        let unpublished = client.unpublished.clone();
        reactor().spawn(publish_all(broker, submitted, follow, unpublished));
        Ok(client)
    }

    pub(crate) fn broker(&self) -> &Arc<dyn Broker> {
        &self.broker
    }

    /// Stores messages, and resolves when they are durable.
    pub(crate) async fn publish(&self, messages: Vec<(QueueName, Message)>) -> Result<()> {
        Ok(self.broker.publish(messages).await?)
    }

    /// Brings the outcome of a published call to its reply.
    pub(crate) fn follow(
        &self,
        id: TaskId,
        reply: Arc<dyn Reply>,
        index: usize,
        control: Arc<Control>,
        ignored: bool,
    ) {
        follow(
            &self.follow,
            Followed {
                id,
                reply,
                index,
                control,
            },
            ignored,
        );
    }

    /// Has calls revoked.
    pub(crate) async fn revoke(&self, ids: &[TaskId]) -> Result<()> {
        Ok(self.broker.revoke(ids).await?)
    }
}

fn follow(follower: &mpsc::UnboundedSender<Followed>, call: Followed, ignored: bool) {
    if ignored {
        call.reply.failed(TaskError::new(
            ErrorKind::NoResult,
            "its task keeps no result",
        ));
    } else if let Err(unsent) = follower.send(call) {
        unsent
            .0
            .reply
            .failed(TaskError::new(ErrorKind::Unavailable, "the app was closed"));
    }
}

impl Executor for BrokerClient {
    fn slots(&self) -> NonZeroUsize {
        SLOTS
    }

    fn content_type(&self) -> Option<ContentType> {
        Some(ContentType::Json)
    }

    fn submit(&self, invocation: Invocation) {
        self.unpublished.send_modify(|count| *count += 1);
        if let Err(unsent) = self.submit.send(invocation) {
            unsent.0.reply.failed(TaskError::shutdown());
        }
    }

    /// Resolves when everything submitted is stored; workers elsewhere go on.
    fn shutdown(&self, _: ShutdownMode) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // The sender lives in `self`, so waiting cannot fail.
            let _ = self
                .unpublished
                .subscribe()
                .wait_for(|&count| count == 0)
                .await;
        })
    }
}

impl fmt::Debug for BrokerClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BrokerClient")
            .field("broker", &self.broker)
            .finish_non_exhaustive()
    }
}

/// Publishes invocations in order, all that wait at a time.
async fn publish_all(
    broker: Arc<dyn Broker>,
    mut submitted: mpsc::UnboundedReceiver<Invocation>,
    follower: mpsc::UnboundedSender<Followed>,
    unpublished: watch::Sender<usize>,
) {
    let mut batch = Vec::new();
    while submitted.recv_many(&mut batch, 64).await > 0 {
        let now = Timestamp::now();
        let mut messages = Vec::new();
        for invocation in &batch {
            messages.extend(messages_of(invocation, now));
        }
        let ignored: Vec<_> = messages
            .iter()
            .map(|(_, m)| m.headers.ignore_result)
            .collect();
        let published = broker.publish(messages).await;
        let count = batch.len();
        let mut ignored = ignored.into_iter();
        for invocation in batch.drain(..) {
            if let Err(error) = &published {
                let reason = format!("it could not be sent: {}", chain(error));
                invocation
                    .reply
                    .failed(TaskError::new(ErrorKind::Unavailable, reason));
                continue;
            }
            let Work::Encoded(chunk) = &invocation.work else {
                continue;
            };
            for index in 0..chunk.len() {
                let call = Followed {
                    id: invocation.id.nth(index),
                    reply: invocation.reply.clone(),
                    index,
                    control: invocation.control.clone(),
                };
                follow(&follower, call, ignored.next().flatten() == Some(true));
            }
        }
        unpublished.send_modify(|left| *left -= count);
    }
}

/// The messages of the calls of one invocation.
fn messages_of(
    invocation: &Invocation,
    now: Timestamp,
) -> impl Iterator<Item = (QueueName, Message)> {
    let own = &invocation.task.options;
    // The attribute checked the name.
    let queue = own
        .queue
        .and_then(|name| QueueName::new(name).ok())
        .unwrap_or_default();
    let options = CallOptions {
        time_limit: invocation.limits.hard,
        soft_time_limit: invocation.limits.soft,
        ..CallOptions::default()
    };
    let chunk = match &invocation.work {
        Work::Encoded(chunk) => Some(chunk),
        Work::Local(_) => None,
    };
    chunk.into_iter().flat_map(move |chunk| {
        let (options, queue) = (options.clone(), queue.clone());
        chunk.payloads().enumerate().map(move |(index, body)| {
            let options = CallOptions {
                id: Some(invocation.id.nth(index)),
                ..options.clone()
            };
            let message = Message::new(invocation.task.name, body, &options, own, now);
            (queue.clone(), message)
        })
    })
}

/// Follows the results of calls until each has its outcome.
struct Follower {
    results: Arc<dyn ResultBackend>,
    calls: HashMap<TaskId, Vec<Followed>>,
}

impl Follower {
    async fn run(mut self, mut followed: mpsc::UnboundedReceiver<Followed>) {
        let Some(mut watch) = self.open(&mut followed).await else {
            return;
        };
        let mut new = Vec::new();
        loop {
            tokio::select! {
                count = followed.recv_many(&mut new, 4096) => {
                    if count == 0 {
                        return;
                    }
                    let ids: Vec<_> = new.iter().map(|call: &Followed| call.id.clone()).collect();
                    for call in new.drain(..) {
                        self.calls.entry(call.id.clone()).or_default().push(call);
                    }
                    watch.add(&ids);
                }
                news = watch.next(), if !self.calls.is_empty() => match news {
                    Ok(news) => news.into_iter().for_each(|result| self.deliver(&result)),
                    Err(error) if error.is_transient() => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "results cannot be read, will try again");
                        tokio::time::sleep(PAUSE).await;
                    }
                    Err(error) => self.fail_all(&error),
                },
            }
        }
    }

    /// Opens the watch, however long that takes; `None` if nobody will need it any more.
    async fn open(
        &mut self,
        followed: &mut mpsc::UnboundedReceiver<Followed>,
    ) -> Option<Box<dyn ResultWatch>> {
        loop {
            match self.results.watch().await {
                Ok(watch) => return Some(watch),
                Err(error) if error.is_transient() && !followed.is_closed() => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "results cannot be read, will try again"
                    );
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    let reason = format!("its result cannot be read: {}", chain(&error));
                    while let Some(call) = followed.recv().await {
                        call.reply
                            .failed(TaskError::new(ErrorKind::Unavailable, reason.clone()));
                    }
                    return None;
                }
            }
        }
    }

    fn deliver(&mut self, result: &StoredResult) {
        let Some(calls) = self.calls.get(&result.id) else {
            return;
        };
        if let ResultState::Progress(progress) = &result.state {
            for call in calls {
                call.control.report(progress.clone());
            }
        }
        for call in calls {
            call.reply.started();
        }
        let Some(outcome) = result.outcome() else {
            return;
        };
        for call in self.calls.remove(&result.id).into_iter().flatten() {
            call.reply.outcomes(chunk_of(call.index, outcome.as_ref()));
        }
    }

    fn fail_all(&mut self, error: &BrokerError) {
        let reason = format!("its result cannot be read: {}", chain(error));
        for call in self.calls.drain().flat_map(|(_, calls)| calls) {
            let error = TaskError::new(ErrorKind::Unavailable, reason.clone());
            call.reply.outcomes(chunk_of(call.index, Err(&error)));
        }
    }
}

/// One outcome as the chunk a reply takes.
fn chunk_of(index: usize, outcome: std::result::Result<&Payload, &TaskError>) -> OutcomeChunk {
    let content_type = outcome.map_or(ContentType::Json, |value| value.content_type);
    let mut bytes = Vec::new();
    push_outcome(&mut bytes, outcome.map(|value| &*value.bytes));
    OutcomeChunk::from_bytes(content_type, index, Duration::ZERO, bytes.into())
        .expect("it was just encoded")
}

/// An error and its sources on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
