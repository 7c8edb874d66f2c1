//! A channel: declarations, publishing, consuming, acknowledging.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use celeriac_core::ExchangeKey;
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::confirms::Confirms;
use super::connection::Handle;
use super::frame::put_short;
use super::lane::Arrival;
use super::method::{self, Id, id};
use super::pump::Shared;
use super::{LinkError, Properties, table};

/// How long the server may take for one answer.
const ANSWER: Duration = Duration::from_secs(20);

/// A channel of a connection. Clones share it; the last one to go closes it.
#[derive(Debug, Clone)]
pub(crate) struct Channel(Arc<Ours>);

/// What the clones of a channel share.
#[derive(Debug)]
struct Ours {
    connection: Arc<Handle>,
    number: u16,
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.connection.0.switchboard().leave(self.number);
        self.connection.0.send();
    }
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

/// A message that was delivered.
#[derive(Debug, Clone)]
pub(crate) struct Incoming {
    pub(crate) tag: u64,
    pub(crate) redelivered: bool,
    /// The exchange that it came through, if that has a name.
    pub(crate) exchange: Option<Box<ExchangeKey>>,
    pub(crate) properties: Properties,
    pub(crate) body: Bytes,
}

pub(super) fn check(names: &[&str]) -> Result<(), LinkError> {
    match names.iter().find(|name| name.len() > 255) {
        Some(name) => Err(LinkError::Unsayable(format!(
            "a name has more than 255 bytes: {name}"
        ))),
        None => Ok(()),
    }
}

fn table_of(map: &Map<String, Value>) -> Result<Vec<u8>, LinkError> {
    let mut table = Vec::new();
    table::put_sized(&mut table, |out| table::put_entries(out, map))
        .map_err(LinkError::Unsayable)?;
    Ok(table)
}

/// Flags in their order, the first in the lowest bit.
pub(super) fn bits(flags: &[bool]) -> u8 {
    let numbered = flags.iter().enumerate();
    numbered.fold(0, |bits, (place, flag)| bits | u8::from(*flag) << place)
}

impl Channel {
    pub(super) fn shared(&self) -> &Shared {
        &self.0.connection.0
    }

    pub(super) fn number(&self) -> u16 {
        self.0.number
    }

    pub(super) async fn open(connection: Arc<Handle>) -> Result<Self, LinkError> {
        let number = connection.0.switchboard().add_lane()?;
        let channel = Self(Arc::new(Ours { connection, number }));
        let opening = channel.ask("channel.open", id::CHANNEL_OPEN, |out| out.push(0));
        opening.await?;
        Ok(channel)
    }

    /// Asks the server something, whose arguments `write` adds after the two bytes of older versions
    /// that most questions begin with.
    async fn ask(
        &self,
        what: &'static str,
        question: Id,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<[u32; 2], LinkError> {
        let shared = self.shared();
        let told = {
            let mut switchboard = shared.switchboard();
            let most_bytes = switchboard.frame_bytes;
            let (lane, outbox) = switchboard.lane(self.number())?;
            let out = &mut outbox.bytes;
            let start = out.len();
            method::put(out, self.number(), question, write);
            if out.len() - start > most_bytes {
                out.truncate(start);
                let text = "names and arguments are larger than the server takes";
                return Err(LinkError::Unsayable(text.to_owned()));
            }
            lane.ask(question)
        };
        shared.send();
        let answered = timeout(ANSWER, told).await;
        let told = answered.map_err(|_| LinkError::TimedOut(what))?;
        told.unwrap_or_else(|_| Err(LinkError::Lost("the connection has ended".to_owned())))
    }

    /// Whether it still stands, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        let shared = self.shared();
        shared.switchboard().lane(self.number()).is_ok()
    }

    /// Whether nothing speaks against its standing: it is open, and this program has not stood still for
    /// so long that the server may have given it up unheard.
    pub(crate) fn is_trusted(&self) -> bool {
        self.is_open() && !self.shared().stood_still()
    }

    /// Asks the server whether it still stands, if that is in doubt.
    pub(crate) async fn make_sure(&self) -> Result<(), LinkError> {
        if self.shared().stood_still() {
            // Of a subscription that is not there the end is confirmed too.
            self.cancel("nobody").await?;
            self.shared().answered();
        }
        Ok(())
    }

    /// Has the server confirm what is published here.
    pub(super) async fn confirm(&self) -> Result<(), LinkError> {
        self.ask("confirm.select", id::SELECT, |out| out.push(0))
            .await?;
        let mut switchboard = self.shared().switchboard();
        let (lane, _) = switchboard.lane(self.number())?;
        lane.confirms = Some(Confirms::default());
        Ok(())
    }

    /// Declares a queue.
    pub(crate) async fn declare_queue(
        &self,
        queue: &str,
        flags: QueueFlags,
        arguments: &Map<String, Value>,
    ) -> Result<Counts, LinkError> {
        let flags = [false, flags.durable, flags.exclusive, flags.auto_delete];
        self.declare(queue, bits(&flags), arguments).await
    }

    /// Asks after a queue that must be there.
    pub(crate) async fn look_at(&self, queue: &str) -> Result<Counts, LinkError> {
        self.declare(queue, bits(&[true]), &Map::new()).await
    }

    async fn declare(
        &self,
        queue: &str,
        flags: u8,
        arguments: &Map<String, Value>,
    ) -> Result<Counts, LinkError> {
        check(&[queue])?;
        let table = table_of(arguments)?;
        let asking = self.ask("queue.declare", id::QUEUE_DECLARE, |out| {
            out.extend([0, 0]);
            put_short(out, queue);
            out.push(flags);
            out.extend(table);
        });
        let [ready, consumers] = asking.await?;
        Ok(Counts {
            ready: ready.into(),
            consumers: consumers.into(),
        })
    }

    /// Declares an exchange of the kind `direct`, `topic` or `fanout`.
    pub(crate) async fn declare_exchange(
        &self,
        exchange: &str,
        kind: &str,
        durable: bool,
    ) -> Result<(), LinkError> {
        self.name_exchange(exchange, kind, &[false, durable]).await
    }

    /// Asks after an exchange that must be there.
    pub(crate) async fn look_at_exchange(&self, exchange: &str) -> Result<(), LinkError> {
        // Of what kind it is does not matter then.
        self.name_exchange(exchange, "direct", &[true]).await
    }

    async fn name_exchange(
        &self,
        exchange: &str,
        kind: &str,
        flags: &[bool],
    ) -> Result<(), LinkError> {
        check(&[exchange, kind])?;
        let asking = self.ask("exchange.declare", id::EXCHANGE_DECLARE, |out| {
            out.extend([0, 0]);
            put_short(out, exchange);
            put_short(out, kind);
            out.push(bits(flags));
            out.extend([0; 4]);
        });
        asking.await.map(drop)
    }

    /// Binds a queue to an exchange.
    pub(crate) async fn bind_queue(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
    ) -> Result<(), LinkError> {
        self.bind("queue.bind", id::QUEUE_BIND, [queue, exchange, routing_key])
            .await
    }

    /// Binds an exchange to another one, from which it gets what fits the key.
    pub(crate) async fn bind_exchange(
        &self,
        to: &str,
        from: &str,
        routing_key: &str,
    ) -> Result<(), LinkError> {
        self.bind("exchange.bind", id::EXCHANGE_BIND, [to, from, routing_key])
            .await
    }

    async fn bind(&self, what: &'static str, id: Id, names: [&str; 3]) -> Result<(), LinkError> {
        check(&names)?;
        let asking = self.ask(what, id, |out| {
            out.extend([0, 0]);
            for name in names {
                put_short(out, name);
            }
            // An answer is wanted, and there are no arguments.
            out.extend([0; 5]);
        });
        asking.await.map(drop)
    }

    /// Drops what is ready in a queue, and says how many messages that were.
    pub(crate) async fn purge(&self, queue: &str) -> Result<u64, LinkError> {
        let purging = self.ask_of("queue.purge", id::QUEUE_PURGE, queue);
        let [count, _] = purging.await?;
        Ok(count.into())
    }

    /// Deletes a queue with what is in it.
    pub(crate) async fn delete_queue(&self, queue: &str) -> Result<(), LinkError> {
        let deleting = self.ask_of("queue.delete", id::QUEUE_DELETE, queue);
        deleting.await.map(drop)
    }

    /// Deletes an exchange.
    pub(crate) async fn delete_exchange(&self, exchange: &str) -> Result<(), LinkError> {
        let deleting = self.ask_of("exchange.delete", id::EXCHANGE_DELETE, exchange);
        deleting.await.map(drop)
    }

    /// Asks for something that takes a name and no flags.
    async fn ask_of(&self, what: &'static str, id: Id, name: &str) -> Result<[u32; 2], LinkError> {
        check(&[name])?;
        let asking = self.ask(what, id, |out| {
            out.extend([0, 0]);
            put_short(out, name);
            out.push(0);
        });
        asking.await
    }

    /// Consumes from a queue. At most `prefetch` deliveries are unacknowledged at a time; 0 means
    /// any number.
    pub(crate) async fn consume(
        &self,
        queue: &str,
        tag: &str,
        prefetch: u16,
        options: Consume,
        arguments: &Map<String, Value>,
    ) -> Result<Stream, LinkError> {
        check(&[queue, tag])?;
        let table = table_of(arguments)?;
        let begun = Instant::now();
        let limiting = self.ask("basic.qos", id::QOS, |out| {
            out.extend([0; 4]);
            out.extend(prefetch.to_be_bytes());
            out.push(0);
        });
        limiting.await?;
        self.shared().turned(begun.elapsed());
        let deliveries = {
            let mut switchboard = self.shared().switchboard();
            let (lane, _) = switchboard.lane(self.number())?;
            lane.listen(tag)
        };
        let consuming = self.ask("basic.consume", id::CONSUME, |out| {
            out.extend([0, 0]);
            put_short(out, queue);
            put_short(out, tag);
            out.push(bits(&[false, options.no_ack, options.exclusive]));
            out.extend(table);
        });
        consuming.await?;
        Ok(Stream(deliveries))
    }

    /// Stops consuming. What was delivered before stays unacknowledged.
    pub(crate) async fn cancel(&self, tag: &str) -> Result<(), LinkError> {
        check(&[tag])?;
        let cancelling = self.ask("basic.cancel", id::CANCEL, |out| {
            put_short(out, tag);
            out.push(0);
        });
        cancelling.await.map(drop)
    }

    /// Says something that has no answer.
    fn say(&self, write: impl FnOnce(&mut Vec<u8>, u16)) -> Result<(), LinkError> {
        let shared = self.shared();
        let mut switchboard = shared.switchboard();
        let (_, outbox) = switchboard.lane(self.number())?;
        write(&mut outbox.bytes, self.number());
        drop(switchboard);
        shared.send();
        Ok(())
    }

    /// Acknowledges deliveries, each with all before it if so marked. What is acknowledged first is
    /// sent first.
    pub(crate) fn acknowledge(&self, acks: &[(u64, bool)]) -> Result<(), LinkError> {
        if acks.is_empty() {
            return Ok(());
        }
        self.say(|out, channel| {
            for (tag, multiple) in acks {
                method::put_ack(out, channel, *tag, *multiple);
            }
        })
    }

    /// Waits until all that was said before on this connection is sent, or never will be.
    pub(crate) async fn sent(&self) {
        self.shared().sent().await;
    }

    /// How long the server took to answer when it was last asked to deliver.
    pub(crate) fn turn(&self) -> Duration {
        self.shared().turn()
    }

    /// Gives a delivery back to its queue.
    pub(crate) fn give_back(&self, tag: u64) -> Result<(), LinkError> {
        self.say(|out, channel| method::put_nack(out, channel, tag, false))
    }

    /// Gives all unsettled deliveries of this channel back to their queues.
    pub(crate) fn give_back_all(&self) -> Result<(), LinkError> {
        // The number 0 stands for all of them.
        self.say(|out, channel| method::put_nack(out, channel, 0, true))
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
pub(crate) struct Stream(mpsc::UnboundedReceiver<Arrival>);

impl futures_util::Stream for Stream {
    type Item = Result<Incoming, LinkError>;

    /// Ends when the consumer was cancelled, by us or by the server.
    ///
    /// What has arrived is ready: who takes all there is must not be told that there is no more
    /// because tokio wants it to let others run.
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let receiving = poll_fn(|context| self.0.poll_recv(context));
        pin!(tokio::task::unconstrained(receiving)).poll(context)
    }
}
