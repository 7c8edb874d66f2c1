//! What a session does with each delivery: to the shelf, or somewhere else.

use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{Brief, DeadReason};
use celeriac_wire::compression::DEFAULT_INFLATED_LIMIT_BYTES;
use jiff::Timestamp;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::Instant;

use super::answers;
use super::codec::{self, Way};
use super::dead::Burial;
use super::hub::Letter;
use super::intake::Intake;
use super::names::{Entity, broadcast_of};
use super::session::Session;
use super::shelf::{Item, Raw};
use super::sort::{Rules, Sorted, sort};
use super::transport::{Incoming, LinkError};
use crate::inflating::AT_ONCE_BYTES;

/// The wait before what could not be set aside is tried again.
const AGAIN: Duration = Duration::from_millis(300);

/// A delivery that goes somewhere else than to the worker.
#[derive(Debug)]
pub(super) struct Aside {
    tag: u64,
    letter: Letter,
    result: Option<Letter>,
}

/// A delivery whose body takes long to inflate.
#[derive(Debug)]
pub(super) struct Bulky {
    intake: Arc<Intake>,
    queue: usize,
    incoming: Incoming,
    rules: Rules,
}

impl Bulky {
    /// Has another thread sort it.
    pub(super) fn start(&self) -> JoinHandle<Sorted> {
        let (intake, incoming) = (self.intake.clone(), self.incoming.clone());
        let rules = Rules {
            inflated_limit_bytes: DEFAULT_INFLATED_LIMIT_BYTES,
            ..self.rules
        };
        spawn_blocking(move || {
            sort(&incoming, rules, Timestamp::now(), |it| {
                intake.is_revoked(it)
            })
        })
    }

    /// The number, the queue, the count with this delivery and the bytes of the message.
    pub(super) fn given_back(self) -> (u64, usize, u32, Raw) {
        let incoming = self.incoming;
        let count = Way::of(&incoming.properties).before(incoming.redelivered) + 1;
        let raw = Raw {
            properties: incoming.properties,
            body: incoming.body,
        };
        (incoming.tag, self.queue, count, raw)
    }
}

impl Session {
    /// Puts a delivery on the shelf, or aside.
    pub(super) fn sort(&mut self, queue: usize, incoming: Incoming) {
        let intake = &self.intake;
        let name = {
            let mut shelf = intake.shelf();
            shelf.arrived(incoming.tag);
            shelf.queue(queue).clone()
        };
        let rules = Rules {
            body_limit_bytes: intake.body_limit_bytes,
            inflated_limit_bytes: AT_ONCE_BYTES,
            most_deliveries: intake.subscription.most_deliveries(),
            // What is broadcast waits here, as the queues of delays outlive it.
            waits_here: broadcast_of(&name).is_some(),
        };
        match sort(&incoming, rules, Timestamp::now(), |it| {
            intake.is_revoked(it)
        }) {
            Sorted::Large => {
                intake.shelf().put_bulky(queue, incoming.tag);
                let intake = intake.clone();
                self.inflating.add(Bulky {
                    intake,
                    queue,
                    incoming,
                    rules,
                });
            }
            sorted => self.sorted(queue, incoming, sorted),
        }
    }

    /// Takes up a delivery that was inflated.
    pub(super) async fn inflated(
        &mut self,
        bulky: Bulky,
        sorted: Result<Sorted, JoinError>,
    ) -> Result<(), LinkError> {
        let incoming = bulky.incoming;
        self.intake.shelf().take_bulky(incoming.tag);
        let sorted = sorted.unwrap_or_else(|panic| {
            let count = Way::of(&incoming.properties).before(incoming.redelivered) + 1;
            Sorted::Dead(DeadReason::Malformed, panic.to_string(), count, None)
        });
        self.sorted(bulky.queue, incoming, sorted);
        self.give_back_cancelled();
        self.intake.news.send_replace(());
        if self.again.is_none() {
            self.set_aside().await;
        }
        Ok(())
    }

    fn sorted(&mut self, queue: usize, incoming: Incoming, sorted: Sorted) {
        let name = self.intake.shelf().queue(queue).clone();
        let tag = incoming.tag;
        let raw = Raw {
            properties: incoming.properties,
            body: incoming.body,
        };
        match sorted {
            Sorted::For(message, deliveries, due, is_revoked) => {
                let mut shelf = self.intake.shelf();
                if is_revoked {
                    let id = message.headers.id.clone();
                    shelf.revocations.add(id, Instant::now().into_std());
                }
                let item = Item {
                    tag,
                    queue,
                    deliveries,
                    message,
                    raw,
                };
                shelf.put(item, due);
            }
            Sorted::Wait(level, count) => {
                self.publish_again(tag, Entity::Delayed(name, level), raw, count);
            }
            Sorted::Count(count) => {
                self.publish_again(tag, Entity::Tasks(name), raw, count);
            }
            Sorted::Dead(reason, detail, deliveries, failure) => {
                let result = failure
                    .and_then(|failure| answers::letter(&failure, raw.properties.reply_to()?));
                tracing::warn!(
                    queue = %name,
                    reason = reason.as_str(),
                    detail = %Brief(&detail),
                    "a message is dead"
                );
                let burial = Burial::new(name, reason, detail, deliveries);
                self.asides.push(Aside {
                    tag,
                    letter: burial.letter(&raw),
                    result,
                });
            }
            // Nothing is, where there is no limit to what is inflated.
            Sorted::Large => {}
        }
    }

    /// Has what came from queues that are not taken from any more published there again, uncounted.
    pub(super) fn give_back_cancelled(&mut self) {
        let items = self.intake.shelf().clear_cancelled();
        for item in items {
            let name = self.intake.shelf().queue(item.queue).clone();
            let count = item.deliveries.saturating_sub(1);
            self.publish_again(item.tag, Entity::Tasks(name), item.raw, count);
        }
    }

    /// Has a message published elsewhere, delivered `count` times so far.
    fn publish_again(&mut self, tag: u64, to: Entity, raw: Raw, count: u32) {
        // What was decoded has a form in AMQP, and a count more does not change that.
        if let Ok(properties) = codec::with_count(&raw.properties, count) {
            let letter = Letter {
                to,
                properties,
                body: raw.body,
            };
            self.asides.push(Aside {
                tag,
                letter,
                result: None,
            });
        }
    }

    /// Publishes where they go what is set aside, and then acknowledges it.
    pub(super) async fn set_aside(&mut self) {
        self.again = None;
        if self.asides.is_empty() {
            return;
        }
        let letters = self.asides.iter().flat_map(|aside| {
            let result = aside.result.iter().cloned();
            result.chain([aside.letter.clone()])
        });
        match self.intake.hub.send(letters.collect()).await {
            Ok(()) => {
                self.is_stuck = false;
                let tags: Vec<_> = self.asides.drain(..).map(|aside| aside.tag).collect();
                self.intake.acknowledge(tags);
            }
            Err(error) => {
                // Told once, for it is tried every moment.
                if !std::mem::replace(&mut self.is_stuck, true) {
                    tracing::warn!(%error, help = error.help(), "cannot set messages aside, will try again");
                }
                self.again = Some(Instant::now() + AGAIN);
            }
        }
    }
}
