//! Results as messages: each goes to the queue of the client that sent the call.
//!
//! The results of a call are known to its sender and to nobody else. A client's queue outlives a
//! lost connection for some minutes, and results wait in it; it is deleted when the client is closed.
//!
//! # Sources
//!
//! The form of a result is that of Celery's `rpc://` backend: default exchange, the queue that the
//! call named, the call's id as correlation id. Celery's queues vanish with their connection, and
//! with them what arrives meanwhile; nobody but their owner declares them, so ours need not.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac_core::message::later;
use celeriac_core::results::ResultWatch;
use celeriac_core::{
    BoxFuture, BrokerError, Cause, Coroutine, EncodedResult, ResultBackend, StoredResult, TaskId,
};
use celeriac_wire::message::content_encoding;
use celeriac_wire::result;
use futures_util::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use serde_json::Map;
use tokio::sync::{OnceCell, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::failure;
use super::hub::{Hub, Letter};
use super::intake::{jittered, lock};
use super::names::{Entity, classic, milliseconds};
use super::runtime;
use super::transport::{
    Channel, Connection, Consume, Description, Incoming, LinkError, Properties, QueueFlags, Stream,
};
use super::watch::AmqpWatch;
use crate::patience::Patience;
use crate::refusal;

/// So many results are remembered.
const MOST: usize = 100_000;

/// So many unacknowledged results are taken at a time.
const PREFETCH: u16 = 2000;

/// For so long results wait for a client that is away. One that has ended without a word, as most
/// programs do, leaves its queue behind for no longer.
const AWAY: Duration = Duration::from_secs(5 * 60);

const ATTEMPT: &str = "celeriac-attempt";
const TASK: &str = "celeriac-task";
const EXPIRES: &str = "celeriac-expires";

/// How long connecting again waits at most.
const PAUSE: Duration = Duration::from_secs(2);

/// How long an answer of our own connection is waited for.
const ANSWER: Duration = Duration::from_secs(20);

/// See the module.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(super) hub: Arc<Hub>,
    queue: String,
    pub(super) held: Mutex<Held>,
    /// Something came, or nothing can.
    pub(super) news: watch::Sender<()>,
    listener: OnceCell<mpsc::Sender<oneshot::Sender<()>>>,
}

/// The results that came, each with a number that grows.
#[derive(Debug, Default)]
pub(super) struct Held {
    results: HashMap<TaskId, (i64, StoredResult)>,
    order: VecDeque<TaskId>,
    last: i64,
    /// Why nothing can come, if that has lasted.
    pub(super) refusal: Option<Cause>,
}

impl Held {
    fn put(&mut self, result: StoredResult) {
        let id = result.id.clone();
        let passing = !result.state.is_final();
        match self.results.get(&id) {
            Some((_, old)) if old.state.is_final() && passing => return,
            Some(_) => {}
            None => self.order.push_back(id.clone()),
        }
        self.last += 1;
        self.results.insert(id, (self.last, result));
        while self.results.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.results.remove(&oldest);
        }
        if self.order.len() > 2 * MOST {
            let results = &self.results;
            self.order.retain(|id| results.contains_key(id));
        }
    }

    pub(super) fn get(&self, id: &TaskId, now: Timestamp) -> Option<&(i64, StoredResult)> {
        self.results.get(id).filter(|(_, it)| it.expires_at > now)
    }
}

/// The letter that carries a result to the queue of who waits for it.
pub(crate) fn letter(stored: &StoredResult, to: &str) -> Option<Letter> {
    let id = stored.id.to_string();
    let description = Description {
        content_type: "application/json",
        content_encoding: "utf-8",
        correlation_id: Some(&id),
        ..Description::default()
    };
    let headers = Map::from_iter([
        (ATTEMPT.to_owned(), stored.attempt.into()),
        (TASK.to_owned(), stored.task.as_str().into()),
        (
            EXPIRES.to_owned(),
            stored.expires_at.as_millisecond().into(),
        ),
    ]);
    let body = result::encode(stored)
        .inspect_err(|error| tracing::error!(task.id = id, %error, "a result cannot be sent"))
        .ok()?;
    Some(Letter {
        to: Entity::Private(to.to_owned()),
        properties: Properties::new(&description, &headers).ok()?,
        body: body.into(),
    })
}

/// The letter that carries a result to the letter.
fn exact_letter(result: &EncodedResult, to: &str) -> Option<Letter> {
    let id = result.id.to_string();
    let content_type = result.payload.content_type;
    let description = Description {
        content_type: content_type.as_str(),
        content_encoding: content_encoding(content_type),
        correlation_id: Some(result.correlation_id.as_deref().unwrap_or(&id)),
        priority: Some(0),
        ..Description::default()
    };
    let properties = Properties::new(&description, &Map::new())
        .inspect_err(|error| tracing::error!(task.id = id, %error, "a result cannot be sent"))
        .ok()?;
    Some(Letter {
        to: Entity::Private(to.to_owned()),
        properties,
        body: result.payload.bytes.clone(),
    })
}

/// The result that came. One that cannot be read ends the waiting for it, if it says for which call.
fn read(incoming: &Incoming, keep: Duration) -> Option<StoredResult> {
    let now = Timestamp::now();
    let mut stored = match result::decode(&incoming.body, now) {
        Ok(stored) => stored,
        Err(error) => {
            tracing::warn!(%error, "a result cannot be read");
            let id = incoming.properties.correlation_id()?;
            return Some(refusal::unreadable(id.into(), &error, now));
        }
    };
    let (headers, _) = incoming.properties.headers();
    if let Some(attempt) = headers.get(ATTEMPT).and_then(serde_json::Value::as_u64) {
        stored.attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
    }
    if let Some(task) = headers.get(TASK).and_then(serde_json::Value::as_str) {
        task.clone_into(&mut stored.task);
    }
    let expires = headers.get(EXPIRES).and_then(serde_json::Value::as_i64);
    stored.expires_at = expires
        .and_then(|at| Timestamp::from_millisecond(at).ok())
        .unwrap_or_else(|| later(now, keep));
    Some(stored)
}

impl Answers {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        let own = uuid::Uuid::new_v4();
        Self {
            queue: format!("{}{own}", hub.settings.prefix),
            hub,
            held: Mutex::default(),
            news: watch::Sender::new(()),
            listener: OnceCell::new(),
        }
    }

    /// The queue that our results go to, which is there once this returns.
    pub(crate) async fn queue(self: &Arc<Self>) -> Result<&str, BrokerError> {
        let start = || async {
            let link = self.connect().await?;
            let (orders, inbox) = mpsc::channel(16);
            runtime::spawn(listen(Arc::downgrade(self), self.hub.clone(), link, inbox));
            Ok(orders)
        };
        self.listener.get_or_try_init(start).await?;
        Ok(&self.queue)
    }

    async fn connect(&self) -> Result<Link, BrokerError> {
        let connection = self.hub.connect("celeriac:results").await?;
        let begun = Link::begin(connection, &self.queue, self.hub.settings.result_expires).await;
        begun.map_err(|error| failure::at(&self.hub.address(), error))
    }

    /// Forgets what came of these calls.
    pub(crate) fn forget(&self, ids: &[TaskId]) {
        let mut held = lock(&self.held);
        for id in ids {
            held.results.remove(id);
        }
    }

    /// Waits until everything has arrived that the server had for us.
    async fn catch_up(&self) -> Result<(), BrokerError> {
        let Some(listener) = self.listener.get() else {
            return Ok(());
        };
        let (done, caught_up) = oneshot::channel();
        let lost = || {
            let error = LinkError::Lost("the connection for results is lost".to_owned());
            failure::at(&self.hub.address(), error)
        };
        listener.send(done).await.map_err(|_| lost())?;
        let waited = tokio::time::timeout(ANSWER, caught_up).await;
        waited.map_err(|_| lost())?.map_err(|_| lost())
    }

    fn arrived(&self, incoming: &Incoming) {
        if let Some(result) = read(incoming, self.hub.settings.result_expires) {
            lock(&self.held).put(result);
        }
    }
}

/// The connection on which results arrive.
struct Link {
    connection: Connection,
    channel: Channel,
    stream: Stream,
    queue: String,
}

impl Link {
    async fn begin(
        connection: Connection,
        queue: &str,
        expires: Duration,
    ) -> Result<Self, LinkError> {
        let channel = connection.channel().await?;
        let flags = QueueFlags {
            durable: true,
            ..QueueFlags::default()
        };
        let expires = milliseconds(expires.min(AWAY)).max(1).into();
        let mut arguments = classic();
        arguments.insert("x-expires".to_owned(), expires);
        channel.declare_queue(queue, flags, &arguments).await?;
        let stream = channel
            .consume(queue, "results", PREFETCH, Consume::default(), &Map::new())
            .await?;
        Ok(Self {
            connection,
            channel,
            stream,
            queue: queue.to_owned(),
        })
    }

    /// Takes up what has arrived, together with `first`.
    fn take_up(&mut self, answers: &Answers, first: Option<Incoming>) -> Result<(), LinkError> {
        let mut last = None;
        let mut next = first;
        loop {
            if let Some(incoming) = next {
                answers.arrived(&incoming);
                last = Some(incoming.tag);
            }
            next = match self.stream.next().now_or_never() {
                Some(Some(incoming)) => Some(incoming?),
                Some(None) => return Err(cancelled()),
                None => break,
            };
        }
        if let Some(tag) = last {
            answers.news.send_replace(());
            self.channel.acknowledge(&[(tag, true)])?;
        }
        Ok(())
    }
}

fn cancelled() -> LinkError {
    LinkError::Lost("the queue of our results was deleted".to_owned())
}

/// Takes results until nobody needs them any more, and then deletes the queue.
async fn listen(
    answers: std::sync::Weak<Answers>,
    hub: Arc<Hub>,
    mut link: Link,
    mut inbox: mpsc::Receiver<oneshot::Sender<()>>,
) {
    loop {
        let step = tokio::select! {
            arrival = link.stream.next() => match (arrival, answers.upgrade()) {
                (Some(Ok(incoming)), Some(answers)) => link.take_up(&answers, Some(incoming)),
                (Some(Err(error)), _) => Err(error),
                (None, _) => Err(cancelled()),
                (_, None) => break,
            },
            order = inbox.recv() => match (order, answers.upgrade()) {
                (Some(done), Some(answers)) => {
                    let caught_up = match link.channel.look_at(&link.queue).await {
                        Ok(_) => link.take_up(&answers, None),
                        Err(error) => Err(error),
                    };
                    if caught_up.is_ok() {
                        let _ = done.send(());
                    }
                    caught_up
                }
                _ => break,
            },
        };
        if let Err(error) = step {
            tracing::warn!(%error, "results are not heard, will connect again");
            match again(&answers).await {
                Some(new) => link = new,
                None => return,
            }
        }
    }
    if let Err(error) = link.channel.delete_queue(&link.queue).await {
        tracing::debug!(%error, address = hub.address(), "the queue of our results stays for now");
    }
    link.connection.close().await;
}

/// Connects again, however long that takes; nothing if nobody needs it any more.
async fn again(answers: &std::sync::Weak<Answers>) -> Option<Link> {
    let mut told = false;
    let mut patience = Patience::default();
    loop {
        tokio::time::sleep(jittered(PAUSE)).await;
        let answers = answers.upgrade()?;
        let error = match answers.connect().await {
            Ok(link) => {
                lock(&answers.held).refusal = None;
                return Some(link);
            }
            Err(error) => error,
        };
        // Told once, for it is tried every moment.
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(%error, help = error.help(), "results are not heard, will try again");
        }
        let now = Instant::now();
        match error {
            BrokerError::Unusable { reason, help, .. } => {
                patience.begins(now);
                if patience.is_over(now) {
                    lock(&answers.held).refusal = Some(Cause { reason, help });
                    answers.news.send_replace(());
                }
            }
            _ => patience = Patience::default(),
        }
    }
}

/// The result backend of one handle.
#[derive(Debug, Clone)]
pub(crate) struct AmqpResults(pub(crate) Arc<Answers>);

impl ResultBackend for AmqpResults {
    fn host(&self, coroutine: Coroutine) -> Result<(), Coroutine> {
        runtime::spawn(coroutine);
        Ok(())
    }

    /// Sends the results to where their trails say. Those that name no place are nobody's.
    fn store(&self, results: Vec<StoredResult>) -> BoxFuture<'_, Result<(), BrokerError>> {
        let hub = self.0.hub.clone();
        Box::pin(runtime::run(async move {
            let sent = results
                .iter()
                .filter_map(|result| letter(result, result.trail.reply_to.as_deref()?));
            hub.send(sent.collect()).await
        }))
    }

    /// Sends the results to where they say. Those that name no place are nobody's.
    fn store_encoded(&self, results: Vec<EncodedResult>) -> BoxFuture<'_, Result<(), BrokerError>> {
        let hub = self.0.hub.clone();
        Box::pin(runtime::run(async move {
            let sent = results
                .iter()
                .filter_map(|result| exact_letter(result, result.reply_to.as_deref()?));
            hub.send(sent.collect()).await
        }))
    }

    /// What came of calls that this handle sent.
    fn fetch<'a>(
        &'a self,
        ids: &'a [TaskId],
    ) -> BoxFuture<'a, Result<Vec<Option<StoredResult>>, BrokerError>> {
        Box::pin(async move {
            let answers = self.0.clone();
            runtime::run(async move { answers.catch_up().await }).await?;
            let held = lock(&self.0.held);
            let now = Timestamp::now();
            let found = |id| held.get(id, now).map(|(_, result)| result.clone());
            Ok(ids.iter().map(found).collect())
        })
    }

    /// Where the server refuses the queue of our results there are no calls to watch: who sends one is
    /// told, and once the server allows it, the watch hears of them.
    fn watch(&self) -> BoxFuture<'_, Result<Box<dyn ResultWatch>, BrokerError>> {
        let answers = self.0.clone();
        Box::pin(runtime::run(async move {
            if let Err(error) = answers.queue().await
                && !matches!(error, BrokerError::Unusable { .. })
            {
                return Err(error);
            }
            Ok(Box::new(AmqpWatch::new(answers)) as Box<dyn ResultWatch>)
        }))
    }

    fn goes_to_sender(&self) -> bool {
        true
    }

    fn forget<'a>(&'a self, ids: &'a [TaskId]) -> BoxFuture<'a, Result<(), BrokerError>> {
        self.0.forget(ids);
        Box::pin(std::future::ready(Ok(())))
    }
}
