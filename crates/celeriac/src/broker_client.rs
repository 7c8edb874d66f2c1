//! The client of a broker: publishes calls and brings their outcomes back.
//!
//! To the rest of the app it is one more executor, so that `map` and handles know no difference.
//! Two coroutines do the work: one publishes what was submitted, in order and many at a time; one
//! follows the results of every call that somebody waits for.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use celeriac_core::{
    BoxFuture, Broker, BrokerError, CallOptions, ChordStore, ContentType, Control, Destination,
    ErrorKind, Executor, Invocation, Message, PublishRetry, Reply, Routes, ShutdownMode,
    StoredResult, TaskError, TaskId, Work,
};
use celeriac_executor::drive::reactor;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::Origin;
use crate::error::{Error, Result};
use crate::follower::{Followed, Follower, Following, chain};
use crate::format::BodyFormat;
use crate::outlet::Outlet;

/// How many chunks a map may have under way, as if each were a slot.
const SLOTS: NonZeroUsize = NonZeroUsize::new(16).expect("it is not zero");

/// A connection to a broker and its results.
pub(crate) struct BrokerClient {
    outlet: Outlet,
    following: Following,
    submit: mpsc::UnboundedSender<Submitted>,
    unpublished: watch::Sender<usize>,
    routes: Arc<Routes>,
    format: BodyFormat,
    publish_retry: PublishRetry,
}

/// What is to be published, and where it was sent from.
type Submitted = (Invocation, Origin);

impl BrokerClient {
    pub(crate) fn new(
        outlet: Outlet,
        routes: Arc<Routes>,
        format: BodyFormat,
        publish_retry: PublishRetry,
    ) -> Result<Arc<Self>> {
        let broker = outlet.broker();
        let results = broker.results().ok_or_else(|| BrokerError::Unsupported {
            address: format!("{broker:?}"),
            what: "keep results".to_owned(),
        })?;
        let (follow, followed) = mpsc::unbounded_channel();
        let following = Following::new(follow, results.goes_to_sender());
        let (submit, submitted) = mpsc::unbounded_channel();
        let client = Arc::new(Self {
            outlet: outlet.clone(),
            following: following.clone(),
            submit,
            unpublished: watch::Sender::new(0),
            routes: routes.clone(),
            format,
            publish_retry,
        });
        let follower = Box::pin(Follower::new(results.clone()).run(followed));
        if let Err(follower) = results.host(follower) {
            reactor().spawn(follower);
        }
        let unpublished = client.unpublished.clone();
        let publishing = publish_all(outlet, submitted, following, unpublished, routes, format);
        reactor().spawn(publishing);
        Ok(client)
    }

    pub(crate) fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    pub(crate) fn format(&self) -> BodyFormat {
        self.format
    }

    pub(crate) fn broker(&self) -> &Arc<dyn Broker> {
        self.outlet.broker()
    }

    /// Stores messages, without a second attempt.
    pub(crate) async fn publish(
        &self,
        messages: Vec<(Destination, Message)>,
    ) -> Result<(), BrokerError> {
        self.outlet.publish(messages).await
    }

    /// What counts the parts of chords, if anything does.
    pub(crate) fn chords(&self) -> Option<Arc<dyn ChordStore>> {
        self.broker().results()?.chords()
    }

    /// Stores messages, and tries again with those that were not confirmed if the reason may pass: as
    /// `policy` says, or else the app.
    pub(crate) async fn publish_again(
        &self,
        messages: Vec<(Destination, Message)>,
        policy: Option<&PublishRetry>,
    ) -> Result<()> {
        let policy = policy.unwrap_or(&self.publish_retry);
        let (mut open, mut sent) = (messages, Vec::new());
        let mut attempts = 1;
        loop {
            let Err(error) = self.outlet.publish(open.clone()).await else {
                return Ok(());
            };
            let (taken, rest) = error.part(open);
            sent.extend(ids(&taken));
            open = rest;
            let error = error.into_reason();
            let wait = policy.wait(attempts).filter(|_| error.is_transient());
            let Some(wait) = wait else {
                return Err(unsent(sent, &open, attempts, error));
            };
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                retry_in = ?wait,
                "the broker did not take all, will try again"
            );
            // Whoever calls need not be on a runtime that can sleep.
            let sleeping = reactor().spawn(tokio::time::sleep(wait));
            let _ = sleeping.await;
            attempts += 1;
        }
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
        let call = Followed {
            id,
            reply,
            index,
            control,
            ahead: false,
        };
        self.following.follow(call, ignored);
    }

    /// The same for one that is only being published, and by itself.
    pub(crate) fn follow_ahead(&self, id: TaskId, reply: Arc<dyn Reply>, control: Arc<Control>) {
        let call = Followed {
            id,
            reply,
            index: 0,
            control,
            ahead: true,
        };
        self.following.follow(call, false);
    }

    /// Brings it no more.
    pub(crate) fn forget(&self, id: TaskId, reply: Arc<dyn Reply>) {
        self.following.forget(id, reply);
    }

    /// Takes note of a call that was sent, though nobody waits for its result yet.
    pub(crate) fn sent(&self, id: &TaskId) {
        self.following.sent(id);
    }

    /// Whether the result of a call can be read here.
    pub(crate) fn hears_of(&self, id: &TaskId) -> bool {
        self.following.hears_of(id)
    }

    /// What is stored of a call.
    pub(crate) async fn result(&self, id: &TaskId) -> Result<Option<StoredResult>> {
        let Some(results) = self.broker().results() else {
            return Ok(None);
        };
        let mut found = results.fetch(std::slice::from_ref(id)).await?;
        Ok(found.pop().flatten())
    }

    /// Has calls revoked.
    pub(crate) async fn revoke(&self, ids: &[TaskId]) -> Result<()> {
        Ok(self.broker().revoke(ids).await?)
    }
}

impl Executor for BrokerClient {
    fn slots(&self) -> NonZeroUsize {
        SLOTS
    }

    fn content_type(&self) -> Option<ContentType> {
        Some(self.format.serializer)
    }

    fn submit(&self, invocation: Invocation) {
        self.unpublished.send_modify(|count| *count += 1);
        if let Err(unsent) = self.submit.send((invocation, Origin::current())) {
            let (invocation, _) = unsent.0;
            invocation.reply.failed(TaskError::shutdown());
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
            .field("broker", self.broker())
            .finish_non_exhaustive()
    }
}

fn ids(messages: &[(Destination, Message)]) -> impl Iterator<Item = TaskId> {
    messages
        .iter()
        .map(|(_, message)| message.headers.id.clone())
}

/// What is wrong if messages were not sent in so many attempts.
fn unsent(
    sent: Vec<TaskId>,
    open: &[(Destination, Message)],
    attempts: u32,
    source: BrokerError,
) -> Error {
    let unconfirmed = if sent.is_empty() || source.is_refusal() {
        Vec::new()
    } else {
        ids(open).collect()
    };
    let source = if attempts > 1 && source.is_transient() {
        Error::Unsent { attempts, source }
    } else {
        source.into()
    };
    Error::partly_sent(sent, unconfirmed, source)
}

/// Publishes invocations in order, all that wait at a time.
async fn publish_all(
    outlet: Outlet,
    mut submitted: mpsc::UnboundedReceiver<Submitted>,
    following: Following,
    unpublished: watch::Sender<usize>,
    routes: Arc<Routes>,
    format: BodyFormat,
) {
    let mut batch = Vec::new();
    while submitted.recv_many(&mut batch, 64).await > 0 {
        let now = Timestamp::now();
        let mut messages = Vec::new();
        for (invocation, origin) in &batch {
            let of_it = messages_of(invocation, now, &routes, format);
            messages.extend(of_it.map(|(destination, mut message)| {
                origin.mark(&mut message);
                (destination, message)
            }));
        }
        let ignored: Vec<_> = messages
            .iter()
            .map(|(_, message)| message.headers.ignore_result == Some(true))
            .collect();
        let published = outlet.publish(messages).await;
        let count = batch.len();
        let calls = batch
            .drain(..)
            .flat_map(|(invocation, _)| calls_of(invocation));
        let calls: Vec<_> = calls.zip(ignored).collect();
        let (sent, open) = match &published {
            Ok(()) => (calls, Vec::new()),
            Err(error) => error.part(calls),
        };
        for (call, ignored) in sent {
            following.follow(call, ignored);
        }
        if let Err(error) = published {
            let reason = format!("it could not be sent: {}", chain(&error.into_reason()));
            let error = TaskError::new(ErrorKind::Unavailable, reason);
            for (call, _) in open {
                call.fail(&error);
            }
        }
        unpublished.send_modify(|left| *left -= count);
    }
}

/// The calls of one invocation, in the order of their messages.
fn calls_of(invocation: Invocation) -> impl Iterator<Item = Followed> {
    let count = match &invocation.work {
        Work::Encoded(chunk) => chunk.len(),
        Work::Local(_) | Work::Shared(_) | Work::Message(_) => 0,
    };
    (0..count).map(move |index| Followed {
        id: invocation.id.nth(index),
        reply: invocation.reply.clone(),
        index,
        control: invocation.control.clone(),
        ahead: false,
    })
}

/// The messages of the calls of one invocation.
fn messages_of<'a>(
    invocation: &'a Invocation,
    now: Timestamp,
    routes: &Routes,
    format: BodyFormat,
) -> impl Iterator<Item = (Destination, Message)> + use<'a> {
    let own = &invocation.task.options;
    let options = CallOptions {
        time_limit: invocation.limits.hard,
        soft_time_limit: invocation.limits.soft,
        ..CallOptions::default()
    };
    // The attribute checked the name.
    let destination = routes
        .choose(&options, own.queue, invocation.task.name)
        .unwrap_or_default();
    let chunk = match &invocation.work {
        Work::Encoded(chunk) => Some(chunk),
        Work::Local(_) | Work::Shared(_) | Work::Message(_) => None,
    };
    chunk.into_iter().flat_map(move |chunk| {
        let (options, destination) = (options.clone(), destination.clone());
        chunk.payloads().enumerate().map(move |(index, body)| {
            let options = CallOptions {
                id: Some(invocation.id.nth(index)),
                ..options.clone()
            };
            let mut message = Message::new(invocation.task.name, body, &options, own, now);
            format.compress(&mut message);
            (destination.clone(), message)
        })
    })
}
