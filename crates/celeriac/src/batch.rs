//! Calls that are published together, and which of them the broker has taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use celeriac_core::task::encode_body;
use celeriac_core::{Destination, Message, Signature, Task, TaskId};
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;

use crate::Origin;
use crate::ahead;
use crate::app::App;
use crate::broker_client::BrokerClient;
use crate::call::Call;
use crate::error::{Error, Result};
use crate::handle::Handle;

/// The most calls that are stored together.
const BATCH_CALLS: usize = 4_000;

/// Bodies of so many bytes end a batch.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// One batch is made while others are stored; what waits together is stored in one commit.
const BATCHES_UNDER_WAY: usize = 3;

impl App {
    /// Sends many calls, much faster than one by one; the handles come in their order.
    ///
    /// With a broker it resolves once all are stored there for good. They are stored some thousand
    /// at a time, each batch whole or not at all on most brokers, while the next one is made. On a pool
    /// this is [`send`](Self::send) for each.
    ///
    /// All handles are in memory at once; [`map`](Self::map) holds a window only.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). If a broker had taken some calls by then, or may have,
    /// [`Error::PartlySent`] names them. Nothing is sent again by itself: those whose fate is unknown
    /// could run twice, and they may be thousands.
    ///
    /// # Cancel safety
    ///
    /// None: a dropped future has sent some of the calls.
    pub async fn send_many<T: Task>(
        &self,
        signatures: impl IntoIterator<Item = Signature<T>>,
    ) -> Result<Vec<Handle<T::Output>>> {
        let mut signatures = signatures.into_iter().peekable();
        let Some(broker) = &self.broker else {
            return signatures.map(|call| self.launch(call)).collect();
        };
        let mut handles = Vec::with_capacity(signatures.size_hint().0);
        let mut trouble = Trouble::default();
        let stopped = AtomicBool::new(false);
        let batches = std::iter::from_fn(|| {
            let goes_on = !stopped.load(Ordering::Relaxed) && signatures.peek().is_some();
            goes_on.then(|| self.batch(broker, &mut signatures))
        });
        let mut stored = stream::iter(batches)
            .map(|(batch, error)| async move {
                match error {
                    None => batch.publish(broker).await,
                    Some(error) => (Vec::new(), Some(Failed::refused(error))),
                }
            })
            .buffered(BATCHES_UNDER_WAY);
        // What is under way when one fails is waited for, so that it is known what became of it.
        while let Some((calls, failed)) = stored.next().await {
            let sent = calls.into_iter();
            handles.extend(sent.map(|call| Handle::new(call, Some(broker.clone()))));
            if let Some(failed) = failed {
                stopped.store(true, Ordering::Relaxed);
                trouble.add(failed);
            }
        }
        match trouble.error {
            None => Ok(handles),
            Some(source) => {
                let sent = handles.iter().map(|handle| handle.id().clone()).collect();
                Err(Error::partly_sent(sent, trouble.unconfirmed, source))
            }
        }
    }

    pub(crate) async fn publish<T: Task>(
        &self,
        broker: &Arc<BrokerClient>,
        signature: Signature<T>,
    ) -> Result<Handle<T::Output>> {
        let mut batch = Batch::default();
        self.push(&mut batch, broker, &signature, Timestamp::now())?;
        let messages = std::mem::take(&mut batch.messages);
        let policy = signature.options.publish_retry.as_deref();
        let confirmed = broker.publish_again(messages, policy);
        // There may be a result already under an id that somebody chose.
        let call = if signature.options.id.is_some() || batch.ignored[0] {
            confirmed.await?;
            batch.follow(broker).pop().expect("one was pushed")
        } else {
            let call = batch.calls.pop().expect("one was pushed");
            ahead::publish(broker, call, confirmed).await?
        };
        Ok(Handle::new(call, Some(broker.clone())))
    }

    /// Takes as many signatures as are published together, or up to one that cannot be.
    fn batch<T: Task>(
        &self,
        broker: &BrokerClient,
        signatures: impl Iterator<Item = Signature<T>>,
    ) -> (Batch<T::Output>, Option<Error>) {
        let now = Timestamp::now();
        let mut batch = Batch::default();
        // Moving thousands of messages as the room for them grows takes longer than too much room.
        let expected = signatures.size_hint().0.min(BATCH_CALLS);
        batch.messages.reserve_exact(expected);
        batch.calls.reserve_exact(expected);
        for signature in signatures {
            if let Err(error) = self.push(&mut batch, broker, &signature, now) {
                return (batch, Some(error));
            }
            if batch.calls.len() == BATCH_CALLS || batch.size_bytes >= BATCH_BYTES {
                break;
            }
        }
        (batch, None)
    }

    /// Encodes a call into a batch.
    fn push<T: Task>(
        &self,
        batch: &mut Batch<T::Output>,
        broker: &BrokerClient,
        signature: &Signature<T>,
        now: Timestamp,
    ) -> Result<()> {
        let own = &T::DEFINITION.options;
        let options = &signature.options;
        let destination = broker
            .routes()
            .choose(options, own.queue, T::DEFINITION.name)?;
        let serializer = broker.format().serializer_of(options);
        let body = encode_body(serializer, &signature.args)
            .and_then(|body| body.check_size(self.body_limit_bytes).map(|()| body))
            .map_err(|source| Error::Arguments {
                task: T::DEFINITION.name.to_owned(),
                source,
            })?;
        batch.size_bytes += body.bytes.len();
        let mut message = Message::new(T::DEFINITION.name, body, options, own, now);
        broker.format().compress(&mut message);
        Origin::current().mark(&mut message);
        batch
            .calls
            .push(Call::<T::Output>::elsewhere(message.headers.id.clone()));
        batch
            .ignored
            .push(message.headers.ignore_result == Some(true));
        batch.messages.push((destination, message));
        Ok(())
    }
}

/// Calls that are published together.
struct Batch<V> {
    messages: Vec<(Destination, Message)>,
    size_bytes: usize,
    calls: Vec<Arc<Call<V>>>,
    /// Which of them leave no result.
    ignored: Vec<bool>,
}

/// Why calls were not sent, and which of them may be stored all the same.
struct Failed {
    ids: Vec<TaskId>,
    error: Error,
}

impl Failed {
    /// None of them was sent, because of one that cannot be.
    fn refused(error: Error) -> Self {
        let ids = Vec::new();
        Self { ids, error }
    }
}

/// The calls of a batch that were taken, and what is known of the others.
type Stored<V> = (Vec<Arc<Call<V>>>, Option<Failed>);

/// All that were not, and why the first of them.
#[derive(Default)]
struct Trouble {
    unconfirmed: Vec<TaskId>,
    error: Option<Error>,
}

impl Trouble {
    fn add(&mut self, failed: Failed) {
        self.unconfirmed.extend(failed.ids);
        self.error.get_or_insert(failed.error);
    }
}

impl<V> Default for Batch<V> {
    fn default() -> Self {
        Self {
            messages: Vec::new(),
            size_bytes: 0,
            calls: Vec::new(),
            ignored: Vec::new(),
        }
    }
}

impl<V: Send + 'static> Batch<V> {
    /// Stores the messages, and has the outcomes brought to the calls.
    async fn publish(mut self, broker: &BrokerClient) -> Stored<V> {
        let messages = std::mem::take(&mut self.messages);
        let Err(error) = broker.publish(messages).await else {
            return (self.follow(broker), None);
        };
        let (taken, open) = error.part(self.calls.into_iter().zip(self.ignored).collect());
        let mut ids = Vec::new();
        if !error.is_refusal() {
            ids.extend(open.into_iter().map(|(call, _)| call.id.clone()));
        }
        let error = error.into_reason().into();
        (follow(broker, taken), Some(Failed { ids, error }))
    }

    /// Has the outcomes brought to the calls, once the messages are stored.
    fn follow(self, broker: &BrokerClient) -> Vec<Arc<Call<V>>> {
        follow(broker, self.calls.into_iter().zip(self.ignored))
    }
}

fn follow<V: Send + 'static>(
    broker: &BrokerClient,
    calls: impl IntoIterator<Item = (Arc<Call<V>>, bool)>,
) -> Vec<Arc<Call<V>>> {
    let followed = calls.into_iter().map(|(call, ignored)| {
        let (id, control) = (call.id.clone(), call.control.clone());
        broker.follow(id, call.reply(1), 0, control, ignored);
        call
    });
    followed.collect()
}
