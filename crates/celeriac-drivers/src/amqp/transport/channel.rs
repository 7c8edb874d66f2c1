//! A channel: declarations, publishing, consuming, acknowledging.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions,
    BasicPublishOptions, BasicQosOptions, ExchangeBindOptions, ExchangeDeclareOptions,
    ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
    QueuePurgeOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Confirmation, ExchangeKind};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::{LinkError, Properties, table};

/// How long the server may take for one answer.
const ANSWER: Duration = Duration::from_secs(20);

/// A channel of a connection. Clones share it; the last one to go closes it.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    pub(super) inner: lapin::Channel,
}

/// What a queue is declared with, besides its arguments.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct QueueFlags {
    pub(crate) durable: bool,
    pub(crate) exclusive: bool,
    pub(crate) auto_delete: bool,
}

/// What the server tells of a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    /// Messages that could be delivered now.
    pub(crate) ready: u64,
    /// Consumers of it, of whatever kind.
    pub(crate) consumers: u64,
}

/// A message to be published.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    /// Whether it is an error if no queue takes it.
    pub(crate) mandatory: bool,
    pub(crate) properties: Properties,
    pub(crate) body: Bytes,
}

/// A message that was delivered.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) tag: u64,
    pub(crate) redelivered: bool,
    pub(crate) properties: Properties,
    pub(crate) body: Bytes,
}

/// A call that has begun: the first step, in which it is queued for sending, is done.
type Started<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Takes the first step of `future`, so that what is started first is sent first.
fn start<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Started<T> {
    let mut future = Box::pin(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(value) => Box::pin(std::future::ready(value)),
        Poll::Pending => future,
    }
}

async fn answer<T>(
    what: &'static str,
    call: impl Future<Output = lapin::Result<T>>,
) -> Result<T, LinkError> {
    let answered = timeout(ANSWER, call).await;
    Ok(answered.map_err(|_| LinkError::TimedOut(what))??)
}

fn name(text: &str) -> Result<ShortString, LinkError> {
    ShortString::try_new(text)
        .map_err(|_| LinkError::Unsayable(format!("a name has more than 255 bytes: {text}")))
}

fn arguments(map: &Map<String, Value>) -> Result<FieldTable, LinkError> {
    table::to_table(map).map_err(LinkError::Unsayable)
}

impl Channel {
    pub(super) fn new(inner: lapin::Channel) -> Self {
        Self { inner }
    }

    /// Whether it still stands, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        self.inner.status().connected()
    }

    /// Declares a queue.
    pub(crate) async fn declare_queue(
        &self,
        queue: &str,
        flags: QueueFlags,
        args: &Map<String, Value>,
    ) -> Result<Counts, LinkError> {
        let options = QueueDeclareOptions {
            durable: flags.durable,
            exclusive: flags.exclusive,
            auto_delete: flags.auto_delete,
            ..QueueDeclareOptions::default()
        };
        self.declare(queue, options, arguments(args)?).await
    }

    /// Asks after a queue that must be there.
    pub(crate) async fn look_at(&self, queue: &str) -> Result<Counts, LinkError> {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        self.declare(queue, options, FieldTable::default()).await
    }

    async fn declare(
        &self,
        queue: &str,
        options: QueueDeclareOptions,
        args: FieldTable,
    ) -> Result<Counts, LinkError> {
        let call = self.inner.queue_declare(name(queue)?, options, args);
        let declared = answer("queue.declare", call).await?;
        Ok(Counts {
            ready: declared.message_count().into(),
            consumers: declared.consumer_count().into(),
        })
    }

    /// Declares an exchange of the kind `direct`, `topic` or `fanout`.
    pub(crate) async fn declare_exchange(
        &self,
        exchange: &str,
        kind: &str,
        durable: bool,
    ) -> Result<(), LinkError> {
        let kind = match kind {
            "topic" => ExchangeKind::Topic,
            "fanout" => ExchangeKind::Fanout,
            _ => ExchangeKind::Direct,
        };
        let options = ExchangeDeclareOptions {
            durable,
            ..ExchangeDeclareOptions::default()
        };
        let call =
            self.inner
                .exchange_declare(name(exchange)?, kind, options, FieldTable::default());
        answer("exchange.declare", call).await
    }

    /// Asks after an exchange that must be there.
    pub(crate) async fn look_at_exchange(&self, exchange: &str) -> Result<(), LinkError> {
        let options = ExchangeDeclareOptions {
            passive: true,
            ..ExchangeDeclareOptions::default()
        };
        let kind = ExchangeKind::Direct;
        let call =
            self.inner
                .exchange_declare(name(exchange)?, kind, options, FieldTable::default());
        answer("exchange.declare", call).await
    }

    /// Binds a queue to an exchange.
    pub(crate) async fn bind_queue(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
    ) -> Result<(), LinkError> {
        let call = self.inner.queue_bind(
            name(queue)?,
            name(exchange)?,
            name(routing_key)?,
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        answer("queue.bind", call).await
    }

    /// Binds an exchange to another one, from which it gets what fits the key.
    pub(crate) async fn bind_exchange(
        &self,
        to: &str,
        from: &str,
        routing_key: &str,
    ) -> Result<(), LinkError> {
        let call = self.inner.exchange_bind(
            name(to)?,
            name(from)?,
            name(routing_key)?,
            ExchangeBindOptions::default(),
            FieldTable::default(),
        );
        answer("exchange.bind", call).await
    }

    /// Drops what is ready in a queue, and says how many messages that were.
    pub(crate) async fn purge(&self, queue: &str) -> Result<u64, LinkError> {
        let call = self
            .inner
            .queue_purge(name(queue)?, QueuePurgeOptions::default());
        Ok(answer("queue.purge", call).await?.into())
    }

    /// Deletes a queue with what is in it.
    pub(crate) async fn delete_queue(&self, queue: &str) -> Result<(), LinkError> {
        let call = self
            .inner
            .queue_delete(name(queue)?, QueueDeleteOptions::default());
        answer("queue.delete", call).await.map(|_| ())
    }

    /// Deletes an exchange.
    pub(crate) async fn delete_exchange(&self, exchange: &str) -> Result<(), LinkError> {
        let call = self
            .inner
            .exchange_delete(name(exchange)?, ExchangeDeleteOptions::default());
        answer("exchange.delete", call).await
    }

    /// Consumes from a queue. At most `prefetch` deliveries are unacknowledged at a time; 0 means
    /// any number.
    pub(crate) async fn consume(
        &self,
        queue: &str,
        tag: &str,
        prefetch: u16,
        options: Consume,
        args: &Map<String, Value>,
    ) -> Result<Stream, LinkError> {
        let qos = self.inner.basic_qos(prefetch, BasicQosOptions::default());
        answer("basic.qos", qos).await?;
        let options = BasicConsumeOptions {
            no_ack: options.no_ack,
            exclusive: options.exclusive,
            ..BasicConsumeOptions::default()
        };
        let call = self
            .inner
            .basic_consume(name(queue)?, name(tag)?, options, arguments(args)?);
        Ok(Stream(answer("basic.consume", call).await?))
    }

    /// Stops consuming. What was delivered before stays unacknowledged.
    pub(crate) async fn cancel(&self, tag: &str) -> Result<(), LinkError> {
        let call = self
            .inner
            .basic_cancel(name(tag)?, BasicCancelOptions::default());
        answer("basic.cancel", call).await
    }

    /// Begins to acknowledge deliveries, each with all before it if so marked. What is begun first
    /// is sent first, even if nobody awaits it.
    pub(crate) fn start_acks(
        &self,
        acks: Vec<(u64, bool)>,
    ) -> impl Future<Output = Result<(), LinkError>> + use<> {
        let sending: Vec<_> = acks
            .into_iter()
            .map(|(tag, multiple)| {
                let channel = self.inner.clone();
                start(async move { channel.basic_ack(tag, BasicAckOptions { multiple }).await })
            })
            .collect();
        async move {
            for sent in sending {
                sent.await?;
            }
            Ok(())
        }
    }

    /// Gives a delivery back to its queue.
    pub(crate) async fn give_back(&self, tag: u64) -> Result<(), LinkError> {
        let options = BasicNackOptions {
            multiple: false,
            requeue: true,
        };
        Ok(self.inner.basic_nack(tag, options).await?)
    }

    /// Gives all unsettled deliveries of this channel back to their queues.
    pub(crate) async fn give_back_all(&self) -> Result<(), LinkError> {
        let options = BasicNackOptions {
            multiple: true,
            requeue: true,
        };
        // The number 0 stands for all of them.
        Ok(self.inner.basic_nack(0, options).await?)
    }

    /// Publishes messages one after the other, and resolves when the server has answered to each:
    /// with those that it did not take. The channel must be one that confirms.
    pub(crate) async fn publish(&self, messages: Vec<Outgoing>) -> Result<Vec<Refusal>, LinkError> {
        let mut sending = Vec::with_capacity(messages.len());
        for message in messages {
            let channel = self.inner.clone();
            let (exchange, key) = (name(&message.exchange)?, name(&message.routing_key)?);
            sending.push(start(async move {
                let options = BasicPublishOptions {
                    mandatory: message.mandatory,
                    immediate: false,
                };
                let properties = message.properties.0;
                channel
                    .basic_publish(exchange, key, options, &message.body, properties)
                    .await
            }));
        }
        let mut confirming = Vec::with_capacity(sending.len());
        for sent in sending {
            confirming.push(sent.await?);
        }
        let mut refusals = Vec::new();
        for (index, confirmed) in confirming.into_iter().enumerate() {
            refusals.extend(refusal(index, &confirmed.await?));
        }
        Ok(refusals)
    }

    /// Publishes a message without waiting for a confirmation.
    pub(crate) async fn tell(&self, message: Outgoing) -> Result<(), LinkError> {
        let (exchange, key) = (name(&message.exchange)?, name(&message.routing_key)?);
        let options = BasicPublishOptions::default();
        let properties = message.properties.0;
        self.inner
            .basic_publish(exchange, key, options, &message.body, properties)
            .await?;
        Ok(())
    }
}

/// What became of a message that the server did not take.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No queue is there for the message with this number.
    Unrouted(usize),
    /// Its queue refused one.
    Nacked(String),
}

fn refusal(index: usize, confirmation: &Confirmation) -> Option<Refusal> {
    match confirmation {
        Confirmation::Ack(None) => None,
        Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Some(Refusal::Unrouted(index)),
        Confirmation::Nack(None) => Some(Refusal::Nacked(
            "the server refused a message, its queue is full or cannot store it".to_owned(),
        )),
        Confirmation::NotRequested => Some(Refusal::Nacked(
            "the server does not confirm on this channel".to_owned(),
        )),
    }
}

/// How a queue is consumed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Consume {
    pub(crate) no_ack: bool,
    /// Nobody else may consume at the same time.
    pub(crate) exclusive: bool,
}

/// The deliveries of one consumer.
#[derive(Debug)]
pub(crate) struct Stream(lapin::Consumer);

impl futures_util::Stream for Stream {
    type Item = Result<Incoming, LinkError>;

    /// Ends when the consumer was cancelled, by us or by the server.
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = Pin::new(&mut self.0).poll_next(context);
        polled.map(|next| {
            next.map(|delivery| {
                let delivery = delivery?;
                Ok(Incoming {
                    tag: delivery.delivery_tag,
                    redelivered: delivery.redelivered,
                    properties: Properties(delivery.properties),
                    body: delivery.data.into(),
                })
            })
        })
    }
}
