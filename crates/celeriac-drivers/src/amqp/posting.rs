//! Letters on their way to the server, and which of them it has confirmed.

use std::collections::HashSet;
use std::sync::Arc;

use celeriac_core::BrokerError;
use tokio::time::timeout;

use super::hub::{Hub, Letter, Line, lock};
use super::names::Entity;
use super::transport::{LinkError, Outgoing, Refusal, Unpublished};

/// The most messages that wait for their confirmations together.
const TOGETHER: usize = 1000;

/// The most bytes of bodies that do.
const TOGETHER_BYTES: usize = 8 * 1024 * 1024;

/// Why letters were not all confirmed, and the places of those that were.
struct Halted {
    error: BrokerError,
    confirmed: Vec<usize>,
}

impl From<BrokerError> for Halted {
    fn from(error: BrokerError) -> Self {
        Self {
            error,
            confirmed: Vec::new(),
        }
    }
}

impl Hub {
    /// Publishes letters in their order, and resolves when the server has confirmed them all.
    ///
    /// If the connection is lost half-way, those that were not confirmed are published on another one.
    pub(crate) async fn send(&self, mut letters: Vec<Letter>) -> Result<(), BrokerError> {
        loop {
            let Err(error) = self.post(&letters).await else {
                return Ok(());
            };
            let lost = matches!(error, BrokerError::Partly { .. }) && error.is_transient();
            if !lost {
                return Err(error.into_reason());
            }
            // Fewer each time.
            (_, letters) = error.part(letters);
        }
    }

    /// The same, once: the error says which letters were not confirmed.
    ///
    /// Those that no queue took are sent once more after declaring it again.
    pub(crate) async fn post(&self, letters: &[Letter]) -> Result<(), BrokerError> {
        let line = self.line().await?;
        let Err(halted) = self.post_on(&line, letters).await else {
            return Ok(());
        };
        if halted.error.is_transient() && !line.is_open() {
            self.forget(&line).await;
        }
        if halted.confirmed.is_empty() {
            return Err(halted.error);
        }
        let confirmed: HashSet<usize> = halted.confirmed.into_iter().collect();
        let open = (0..letters.len()).filter(|place| !confirmed.contains(place));
        Err(BrokerError::Partly {
            address: self.address(),
            unconfirmed: open.collect(),
            source: Box::new(halted.error),
        })
    }

    async fn post_on(&self, line: &Arc<Line>, letters: &[Letter]) -> Result<(), Halted> {
        let entities: HashSet<&Entity> = letters.iter().map(|letter| &letter.to).collect();
        for entity in entities {
            self.declare(line, entity).await?;
        }
        let mut before = 0;
        while let Some(rest) = letters.get(before..).filter(|rest| !rest.is_empty()) {
            let batch = &rest[..batch_len(rest)];
            let posted = self.post_batch(line, batch).await;
            posted.map_err(|halted| Halted {
                error: halted.error,
                confirmed: (0..before)
                    .chain(halted.confirmed.into_iter().map(|place| before + place))
                    .collect(),
            })?;
            before += batch.len();
        }
        Ok(())
    }

    async fn post_batch(&self, line: &Arc<Line>, batch: &[Letter]) -> Result<(), Halted> {
        let unrouted = self.publish(line, batch).await?;
        if unrouted.is_empty() {
            return Ok(());
        }
        let again: Vec<Letter> = unrouted.iter().map(|&place| batch[place].clone()).collect();
        let posted = self.publish_again(line, &again).await;
        posted.map_err(|halted| {
            let missing: HashSet<usize> = unrouted.iter().copied().collect();
            let taken = (0..batch.len()).filter(|place| !missing.contains(place));
            let later = halted.confirmed.iter().map(|&place| unrouted[place]);
            Halted {
                confirmed: taken.chain(later).collect(),
                error: halted.error,
            }
        })
    }

    /// Publishes what no queue took, after declaring again where it goes: somebody has deleted that, or
    /// what leads there.
    async fn publish_again(&self, line: &Arc<Line>, unrouted: &[Letter]) -> Result<(), Halted> {
        let places: HashSet<Entity> = unrouted.iter().map(|it| it.to.declared()).collect();
        for place in &places {
            lock(&line.declared).remove(place);
            self.declare(line, place).await?;
        }
        let lost = self.publish(line, unrouted).await?;
        if let Some(first) = lost.first() {
            let error = self.lost(&unrouted[*first].to);
            let lost: HashSet<usize> = lost.into_iter().collect();
            let confirmed = (0..unrouted.len()).filter(|place| !lost.contains(place));
            return Err(Halted {
                confirmed: confirmed.collect(),
                error,
            });
        }
        for place in &places {
            tracing::warn!(
                place = place.name(&self.settings),
                help = "find out who deletes queues or bindings; what others publish meanwhile is lost",
                "no queue took a message, what is defined was declared and bound again"
            );
        }
        Ok(())
    }

    /// No queue is there for a letter, though all was declared.
    fn lost(&self, to: &Entity) -> BrokerError {
        if matches!(to, Entity::Exchange(_)) {
            return self.unroutable(to);
        }
        let queue = to.name(&self.settings);
        let reason = format!("no queue `{queue}` takes a message");
        self.failed(LinkError::NotTaken(reason))
    }

    /// Publishes a batch and gives the places of those that no queue took.
    async fn publish(&self, line: &Arc<Line>, batch: &[Letter]) -> Result<Vec<usize>, Halted> {
        let wait = self.settings.publish_timeout;
        if timeout(wait, line.connection.unblocked()).await.is_err() {
            let address = self.address();
            let reason = "the server takes no messages, it is short of memory or disk".to_owned();
            return Err(BrokerError::Full { address, reason }.into());
        }
        let outgoing = batch.iter().map(|letter| {
            let (exchange, routing_key) = letter.to.address(&self.settings);
            Outgoing {
                exchange,
                routing_key,
                mandatory: letter.to.must_arrive(&self.settings),
                properties: letter.properties.clone(),
                body: letter.body.clone(),
            }
        });
        let refusals = match line.publishing.publish(outgoing.collect(), wait).await {
            Ok(refusals) => refusals,
            Err(Unpublished { error, confirmed }) => {
                if matches!(error, LinkError::TimedOut(_)) {
                    // What is queued in the client must not be sent after we said that it failed.
                    self.forget(line).await;
                }
                let error = self.failed(error);
                return Err(Halted { error, confirmed });
            }
        };
        let (mut unrouted, mut nacked, mut refused) = (Vec::new(), None, HashSet::new());
        for refusal in refusals {
            refused.insert(refusal.place());
            match refusal {
                Refusal::Unrouted(place) => unrouted.push(place),
                Refusal::Nacked(_, text) => nacked = Some(text),
            }
        }
        match nacked {
            None => Ok(unrouted),
            Some(text) => Err(Halted {
                error: self.failed(LinkError::NotTaken(text)),
                confirmed: (0..batch.len())
                    .filter(|place| !refused.contains(place))
                    .collect(),
            }),
        }
    }
}

/// How many of `letters` go together: at least one.
fn batch_len(letters: &[Letter]) -> usize {
    let mut size_bytes = 0;
    let fitting = letters.iter().take(TOGETHER).take_while(|letter| {
        size_bytes += letter.body.len();
        size_bytes <= TOGETHER_BYTES
    });
    fitting.count().max(1)
}
