//! A consumer: claims, decodes, settles, and gives back.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use celeriac_core::broker::Subscription;
use celeriac_core::{
    BoxFuture, BrokerError, Consumer, DeadReason, Delivery, Queue, QueueName, Settled, Settlement,
    TaskId, Verdict,
};
use tokio::sync::{Mutex, watch};

use super::claim::{Catch, Claim, Claimed};
use super::failure::Failure;
use super::keeper::Lease;
use super::lease::Registration;
use super::messages::NewMessages;
use super::settle::Ending;
use super::statements;
use super::store::Inner;
use super::transaction::wall_ms;
use super::writer::{Answer, Keep};
use crate::destination::plain;
use crate::headers;
use crate::queues::Queues;

/// A consumer of some queues of one database.
pub(super) struct SqliteConsumer {
    inner: Arc<Inner>,
    subscription: Subscription,
    lease: Arc<Lease>,
    key: i64,
    /// Whose turn it is.
    turn: AtomicUsize,
    /// Whether the last claim left messages that a settlement will let through.
    held_back: Arc<AtomicBool>,
    receiving: Mutex<Receiving>,
    revocations: Mutex<Revocations>,
}

/// What the one waiting call to `receive` needs. All of it outlives a call that is dropped.
struct Receiving {
    news: watch::Receiver<()>,
    asked: Option<Answer<(i64, Catch)>>,
    /// The number under which what follows was claimed.
    holder: i64,
    decoded: VecDeque<Delivery>,
    malformed: Vec<(i64, String)>,
}

/// What the one waiting call to `revoked` needs.
struct Revocations {
    news: watch::Receiver<()>,
    cursor: i64,
}

impl SqliteConsumer {
    /// Registers a consumer.
    pub(super) async fn register(
        inner: Arc<Inner>,
        subscription: Subscription,
    ) -> Result<Self, BrokerError> {
        let registration = Registration {
            name: subscription.consumer.clone(),
            queues: Queues::new(subscription.queues.clone()).into(),
            lease: subscription.lease,
            started_ms: wall_ms(),
        };
        let messages = inner.signals.messages.subscribe();
        let revoked = inner.signals.revoked.subscribe();
        let (own, registered) = (inner.own.clone(), registration.clone());
        let holder = inner
            .writes
            .run(Keep::Loosely, 0, move |transaction| {
                transaction.sweep_gone(&own)?;
                transaction.register(&registered, &own)
            })
            .await?;
        let lease = Arc::new(Lease::new(registration, holder));
        inner.leases.add(holder, lease.clone());
        Ok(Self {
            inner,
            subscription,
            lease,
            key: holder,
            turn: AtomicUsize::new(0),
            held_back: Arc::default(),
            receiving: Mutex::new(Receiving {
                news: messages,
                asked: None,
                holder,
                decoded: VecDeque::new(),
                malformed: Vec::new(),
            }),
            // Its own number marks where the news begins.
            revocations: Mutex::new(Revocations {
                news: revoked,
                cursor: holder,
            }),
        })
    }

    fn closed(&self) -> BrokerError {
        BrokerError::Closed {
            address: self.inner.place.path().display().to_string(),
        }
    }

    fn check_open(&self) -> Result<(), BrokerError> {
        if self.lease.is_closed() {
            return Err(self.closed());
        }
        Ok(())
    }

    /// Asks the writer to claim.
    async fn ask(&self, credit: usize) -> Result<Answer<(i64, Catch)>, BrokerError> {
        let mut queues = self.lease.registration.queues.all();
        if !queues.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % queues.len();
            queues.rotate_left(turn);
        }
        let claim = Claim {
            queues,
            credit,
            most_deliveries: self.subscription.most_deliveries(),
            suspects: self.subscription.suspects.get(),
            body_limit_bytes: self.inner.options.body_limit_bytes,
        };
        let (lease, own) = (self.lease.clone(), self.inner.own.clone());
        let held_back = self.held_back.clone();
        let room = self.inner.writes.room().await?;
        Ok(room.send(Keep::Loosely, 0, move |transaction| {
            if lease.is_closed() {
                return Ok((0, Catch::default()));
            }
            let holder = lease.ensure(transaction, &own)?;
            let caught = transaction.claim(holder, &claim)?;
            // Said here, where claims and settlements come one after the other.
            held_back.store(caught.held_back, Ordering::Release);
            Ok((holder, caught))
        }))
    }

    /// Makes what did not decode dead.
    async fn quarantine(&self, malformed: &[(i64, String)]) -> Result<(), BrokerError> {
        let endings = malformed
            .iter()
            .map(|(tag, reason)| Ending {
                tag: *tag,
                verdict: Verdict::Dead(DeadReason::Malformed, reason.clone()),
                result: None,
                follow_ups: NewMessages::default(),
            })
            .collect();
        self.carry_out(endings, 0).await?;
        Ok(())
    }

    /// Tells others which queues it takes from now.
    async fn list_queues(&self) -> Result<(), BrokerError> {
        let lease = self.lease.clone();
        let listing = self.inner.writes.run(Keep::Loosely, 0, move |transaction| {
            transaction.take_from(lease.holder(), &lease.registration)
        });
        listing.await
    }

    /// Gives back what was claimed from queues that it takes nothing from any more.
    async fn give_back_cancelled(&self, receiving: &mut Receiving) -> Result<(), BrokerError> {
        let queues = &self.lease.registration.queues;
        let cancelled = |delivery: &&Delivery| !queues.has(&delivery.queue);
        let tags: Vec<i64> = receiving
            .decoded
            .iter()
            .filter(cancelled)
            .map(|it| it.tag)
            .collect();
        if tags.is_empty() {
            return Ok(());
        }
        let ending = |tag: &i64| Ending {
            tag: *tag,
            verdict: Verdict::Requeue {
                eta: None,
                counted: false,
            },
            result: None,
            follow_ups: NewMessages::default(),
        };
        self.carry_out(tags.iter().map(ending).collect(), 0).await?;
        receiving.decoded.retain(|it| !tags.contains(&it.tag));
        Ok(())
    }

    async fn carry_out(
        &self,
        endings: Vec<Ending>,
        size_bytes: usize,
    ) -> Result<Vec<Settled>, BrokerError> {
        let lease = self.lease.clone();
        self.inner
            .writes
            .run(Keep::Durably, size_bytes, move |transaction| {
                transaction.settle(lease.holder(), &endings)
            })
            .await
    }
}

impl Receiving {
    /// Takes up what was claimed under the number `holder`.
    fn arrived(&mut self, holder: i64, claimed: Vec<Claimed>) {
        if self.holder != holder && !claimed.is_empty() {
            // What was claimed under the old number is somebody else's by now.
            self.decoded.clear();
            self.malformed.clear();
            self.holder = holder;
        }
        for message in claimed {
            let tag = message.number;
            match decode(message) {
                Ok(delivery) => self.decoded.push_back(delivery),
                Err(reason) => self.malformed.push((tag, reason)),
            }
        }
    }
}

fn decode(claimed: Claimed) -> Result<Delivery, String> {
    let body = claimed
        .body
        .ok_or_else(|| "its body is over the limit".to_owned())?;
    let message = headers::decode(
        &claimed.headers,
        &claimed.content_type,
        body,
        claimed.priority,
    )?;
    Ok(Delivery {
        tag: claimed.number,
        queue: claimed.queue,
        deliveries: claimed.deliveries,
        revoked: claimed.revoked,
        message,
    })
}

impl Consumer for SqliteConsumer {
    fn receive(&self, credit: NonZeroUsize) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        Box::pin(async move {
            let credit = credit.get();
            let mut receiving = self.receiving.lock().await;
            let receiving = &mut *receiving;
            loop {
                self.check_open()?;
                if !receiving.malformed.is_empty() {
                    self.quarantine(&receiving.malformed).await?;
                    receiving.malformed.clear();
                }
                self.give_back_cancelled(receiving).await?;
                if !receiving.decoded.is_empty() {
                    let count = credit.min(receiving.decoded.len());
                    return Ok(receiving.decoded.drain(..count).collect());
                }
                if receiving.asked.is_none() {
                    receiving.news.mark_unchanged();
                    receiving.asked = Some(self.ask(credit).await?);
                }
                if let Some(asked) = &mut receiving.asked {
                    let answer = asked.get(&self.inner.place).await;
                    receiving.asked = None;
                    let (holder, caught) = answer?;
                    let claimed = caught.claimed;
                    if claimed.is_empty() {
                        self.check_open()?;
                        let news = receiving.news.changed().await;
                        news.map_err(|_| self.closed())?;
                    }
                    receiving.arrived(holder, claimed);
                }
            }
        })
    }

    fn settle(
        &self,
        settlements: Vec<Settlement>,
    ) -> BoxFuture<'_, Result<Vec<Settled>, BrokerError>> {
        Box::pin(async move {
            self.check_open()?;
            let limit_bytes = self.inner.options.body_limit_bytes;
            let mut size_bytes = 0;
            let mut endings = Vec::with_capacity(settlements.len());
            for settlement in settlements {
                let address = || self.inner.place.path().display().to_string();
                let follow_ups = NewMessages::encode(settlement.follow_ups, limit_bytes, address)?;
                size_bytes += follow_ups.size_bytes();
                let value = settlement.result.as_ref().and_then(|it| it.value.as_ref());
                size_bytes += value.map_or(0, |value| value.bytes.len());
                endings.push(Ending {
                    tag: settlement.tag,
                    verdict: settlement.verdict,
                    result: settlement.result,
                    follow_ups,
                });
            }
            let settled = self.carry_out(endings, size_bytes).await?;
            if self.held_back.swap(false, Ordering::AcqRel) {
                self.inner.signals.messages.send_replace(());
            }
            Ok(settled)
        })
    }

    fn revoked(&self) -> BoxFuture<'_, Result<Vec<TaskId>, BrokerError>> {
        Box::pin(async move {
            let mut revocations = self.revocations.lock().await;
            loop {
                self.check_open()?;
                revocations.news.mark_unchanged();
                let cursor = revocations.cursor;
                let news = self.inner.reads.run(move |connection| {
                    let mut statement = connection.prepare_cached(statements::NEWS_OF_REVOKED)?;
                    let rows = statement.query_map([cursor], |row| {
                        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
                    })?;
                    let rows: Result<Vec<_>, rusqlite::Error> = rows.collect();
                    Ok::<_, Failure>(rows?)
                });
                let news = news.await?;
                if let Some((last, _)) = news.last() {
                    revocations.cursor = *last;
                    return Ok(news.into_iter().map(|(_, id)| id.into()).collect());
                }
                let changed = revocations.news.changed().await;
                changed.map_err(|_| self.closed())?;
            }
        })
    }

    fn add_queue(&self, queue: Queue) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            self.check_open()?;
            let name = plain(&queue, || self.inner.place.path().display().to_string())?;
            self.lease.registration.queues.add(name.clone());
            let listed = self.list_queues().await;
            if listed.is_err() {
                self.lease.registration.queues.cancel(&name);
            }
            // A claim that found nothing did not look there.
            self.inner.signals.messages.send_replace(());
            listed
        })
    }

    fn cancel_queue<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            if !self.lease.registration.queues.cancel(queue) {
                return Ok(());
            }
            self.list_queues().await?;
            // Whoever receives gives back what was claimed.
            self.inner.signals.messages.send_replace(());
            Ok(())
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            if self.lease.close() {
                return Ok(());
            }
            self.inner.leases.remove(self.key);
            let lease = self.lease.clone();
            let closed = self
                .inner
                .writes
                .run(Keep::Durably, 0, move |transaction| {
                    transaction.unregister(lease.holder(), false)
                })
                .await;
            // Those that wait must see it.
            self.inner.signals.messages.send_replace(());
            self.inner.signals.revoked.send_replace(());
            closed
        })
    }
}

impl Drop for SqliteConsumer {
    fn drop(&mut self) {
        if self.lease.close() {
            return;
        }
        self.inner.leases.remove(self.key);
        let lease = self.lease.clone();
        // Nobody says what was started and what was not, so all of it counts. If there is no room
        // the lease lapses.
        let _ = self
            .inner
            .writes
            .try_run(Keep::Loosely, move |transaction| {
                transaction.unregister(lease.holder(), true)
            });
    }
}

impl fmt::Debug for SqliteConsumer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "SqliteConsumer({} of {})",
            self.subscription.consumer,
            self.inner.place.path().display()
        )
    }
}
