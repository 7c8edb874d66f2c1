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
    BoxFuture, Broker, BrokerError, CallOptions, ChordStore, ContentType, Control, Destination,
    ErrorKind, Executor, Invocation, Message, Outcome, OutcomeChunk, Payload, PublishRetry, Reply,
    ResultBackend, ResultState, Routes, ShutdownMode, StoredResult, TaskError, TaskId, Work,
};
use celeriac_executor::drive::reactor;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::error::{Error, Result};
use crate::format::BodyFormat;

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
    routes: Arc<Routes>,
    format: BodyFormat,
    publish_retry: PublishRetry,
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
    pub(crate) fn new(
        broker: Arc<dyn Broker>,
        routes: Arc<Routes>,
        format: BodyFormat,
        publish_retry: PublishRetry,
    ) -> Result<Arc<Self>> {
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
            routes: routes.clone(),
            format,
            publish_retry,
        });
        reactor().spawn(
            Follower {
                results,
                calls: HashMap::new(),
            }
            .run(followed),
        );
        let unpublished = client.unpublished.clone();
        let publishing = publish_all(broker, submitted, follow, unpublished, routes, format);
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
        &self.broker
    }

    /// What counts the parts of chords, if anything does.
    pub(crate) fn chords(&self) -> Option<Arc<dyn ChordStore>> {
        self.broker.results()?.chords()
    }

    /// Stores messages as [`publish`](Self::publish) does, and tries again if they are not taken for a
    /// reason that may pass: as `policy` says, or else the app.
    pub(crate) async fn publish_again(
        &self,
        messages: Vec<(Destination, Message)>,
        policy: Option<&PublishRetry>,
    ) -> Result<()> {
        let policy = policy.unwrap_or(&self.publish_retry);
        let mut attempts = 1;
        while let Some(wait) = policy.wait(attempts) {
            match self.broker.publish(messages.clone()).await {
                Err(error) if error.is_transient() => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        retry_in = ?wait,
                        "the broker took nothing, will try again"
                    );
                }
                published => return Ok(published?),
            }
            // Whoever calls need not be on a runtime that can sleep.
            let sleeping = reactor().spawn(tokio::time::sleep(wait));
            let _ = sleeping.await;
            attempts += 1;
        }
        match self.broker.publish(messages).await {
            Err(source) if attempts > 1 && source.is_transient() => {
                Err(Error::Unsent { attempts, source })
            }
            published => Ok(published?),
        }
    }

    /// Stores messages, and resolves when they are durable.
    pub(crate) async fn publish(&self, messages: Vec<(Destination, Message)>) -> Result<()> {
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
        Some(self.format.serializer)
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
    routes: Arc<Routes>,
    format: BodyFormat,
) {
    let mut batch = Vec::new();
    while submitted.recv_many(&mut batch, 64).await > 0 {
        let now = Timestamp::now();
        let mut messages = Vec::new();
        for invocation in &batch {
            messages.extend(messages_of(invocation, now, &routes, format));
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
        Work::Local(_) | Work::Shared(_) => None,
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
                    Ok(news) => self.deliver_all(&news),
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

    /// Brings news to those who wait; outcomes of neighbouring calls go together.
    fn deliver_all(&mut self, news: &[StoredResult]) {
        let mut run: Option<Run> = None;
        for result in news {
            let Some(outcome) = self.tell(result) else {
                continue;
            };
            for call in self.calls.remove(&result.id).into_iter().flatten() {
                match &mut run {
                    Some(run) if run.goes_on_with(&call, &outcome) => run.push(&outcome),
                    _ => {
                        let new = Run::start(call, &outcome);
                        if let Some(done) = run.replace(new) {
                            done.deliver();
                        }
                    }
                }
            }
        }
        if let Some(run) = run {
            run.deliver();
        }
    }

    /// Tells those who wait for a call how far it has come, and says how it ended if it did.
    fn tell(&self, result: &StoredResult) -> Option<Outcome<Payload>> {
        let calls = self.calls.get(&result.id)?;
        if let ResultState::Progress(progress) = &result.state {
            for call in calls {
                call.control.report(progress.clone());
            }
        }
        for call in calls {
            call.reply.started();
        }
        result.outcome()
    }

    fn fail_all(&mut self, error: &BrokerError) {
        let reason = format!("its result cannot be read: {}", chain(error));
        for call in self.calls.drain().flat_map(|(_, calls)| calls) {
            let error = TaskError::new(ErrorKind::Unavailable, reason.clone());
            Run::start(call, &Err(error)).deliver();
        }
    }
}

/// Outcomes of neighbouring calls of one invocation, gathered for its reply.
struct Run {
    reply: Arc<dyn Reply>,
    content_type: ContentType,
    first: usize,
    bytes: Vec<u8>,
    count: usize,
}

impl Run {
    fn start(call: Followed, outcome: &Outcome<Payload>) -> Self {
        let mut run = Self {
            reply: call.reply,
            content_type: outcome
                .as_ref()
                .map_or(ContentType::Json, |value| value.content_type),
            first: call.index,
            bytes: Vec::new(),
            count: 0,
        };
        run.push(outcome);
        run
    }

    /// Whether `call` is the next one of the same invocation, and its value is encoded alike.
    fn goes_on_with(&self, call: &Followed, outcome: &Outcome<Payload>) -> bool {
        let alike = |value: &Payload| value.content_type == self.content_type;
        Arc::ptr_eq(&self.reply, &call.reply)
            && call.index == self.first + self.count
            && outcome.as_ref().map_or(true, alike)
    }

    fn push(&mut self, outcome: &Outcome<Payload>) {
        push_outcome(
            &mut self.bytes,
            outcome.as_ref().map(|value| &value.bytes[..]),
        );
        self.count += 1;
    }

    fn deliver(self) {
        let outcomes = OutcomeChunk::from_bytes(
            self.content_type,
            self.first,
            Duration::ZERO,
            self.bytes.into(),
        );
        self.reply
            .outcomes(outcomes.expect("they were just encoded"));
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// The number of each call that was answered, and whether it succeeded.
    #[derive(Default)]
    struct Answers(Mutex<Vec<(usize, bool)>>);

    impl Reply for Answers {
        fn outcomes(&self, outcomes: OutcomeChunk) {
            let numbered = (outcomes.first..).zip(outcomes.iter());
            let mut answers = self.0.lock().unwrap();
            answers.extend(numbered.map(|(index, outcome)| (index, outcome.is_ok())));
        }

        fn failed(&self, _: TaskError) {}
    }

    #[test]
    fn an_error_between_values_goes_to_its_own_call() {
        let replies = [(); 2].map(|()| Arc::new(Answers::default()));
        let value = Payload::encode(ContentType::Json, &1).unwrap();
        let error = Err(TaskError::failed("E", "no text"));
        let mut run: Option<Run> = None;
        // Call 1 failed last, and the other invocation's call 3 failed in between.
        for (of, index, outcome) in [
            (0, 0, Ok(value.clone())),
            (0, 2, Ok(value.clone())),
            (1, 3, error.clone()),
            (0, 3, Ok(value)),
            (0, 1, error),
        ] {
            let reply: Arc<dyn Reply> = replies[of].clone();
            let call = Followed {
                id: TaskId::new(),
                reply,
                index,
                control: Control::new(),
            };
            match &mut run {
                Some(run) if run.goes_on_with(&call, &outcome) => run.push(&outcome),
                _ => {
                    if let Some(done) = run.replace(Run::start(call, &outcome)) {
                        done.deliver();
                    }
                }
            }
        }
        run.unwrap().deliver();
        let answers = replies.map(|reply| reply.0.lock().unwrap().clone());
        assert_eq!(answers[0], [(0, true), (2, true), (3, true), (1, false)]);
        assert_eq!(answers[1], [(3, false)]);
    }
}
