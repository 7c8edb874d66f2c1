//! How a consumer carries out what was decided of the messages it holds.

use std::sync::Arc;

use celeriac_core::{BrokerError, Settled, Settlement};

use super::consumer::RedisConsumer;
use super::settle::{self, Ending};

/// Endings that are carried out alike, with the place and number of each.
#[derive(Default)]
struct Group {
    endings: Vec<Ending>,
    places: Vec<(usize, i64)>,
}

impl Group {
    /// Whether all of it is held under this name.
    fn is_of(&self, owner: &Arc<str>) -> bool {
        self.endings.first().is_none_or(|it| it.owner == *owner)
    }
}

impl RedisConsumer {
    /// Carries out settlements of deliveries that are held here.
    pub(super) async fn carry_out(
        &self,
        settlements: Vec<Settlement>,
    ) -> Result<Vec<Settled>, BrokerError> {
        let limit = self.desk.subscription.most_deliveries().get();
        let mut settled = vec![Settled::LeaseLost; settlements.len()];
        let (mut acks, mut others) = (Group::default(), Group::default());
        for (place, settlement) in settlements.into_iter().enumerate() {
            let tag = settlement.tag;
            let Some(mut held) = self.desk.hold().get(tag).cloned() else {
                continue;
            };
            held.deliveries = held.deliveries.min(limit);
            let ending = Ending::encode(settlement, &held, &self.inner).await?;
            let group = if ending.is_plain() && acks.is_of(&ending.owner) {
                &mut acks
            } else {
                &mut others
            };
            group.endings.push(ending);
            group.places.push((place, tag));
        }
        let queues = others.endings.iter().flat_map(|ending| &ending.follow_ups);
        self.inner
            .know_queues(queues.filter_map(|message| message.queue.as_ref()))
            .await?;
        let waits = others.endings.iter().any(Ending::waits);
        let both = (
            self.acknowledge(&acks.endings),
            self.settle_whole(&mut others.endings),
        );
        let (acked, done) = tokio::try_join!(both.0, both.1)?;
        if waits {
            self.desk.has_parked();
        }
        let places = acks.places.into_iter().chain(others.places);
        for ((place, tag), done) in places.zip(acked.into_iter().chain(done)) {
            if done {
                settled[place] = Settled::Done;
            }
            self.desk.hold().let_go(tag);
        }
        self.desk.let_through();
        Ok(settled)
    }

    /// Acknowledges what nothing else follows from, all of one owner: whether each was ours.
    async fn acknowledge(&self, endings: &[Ending]) -> Result<Vec<bool>, BrokerError> {
        let mut done = Vec::with_capacity(endings.len());
        for batch in endings.chunks(settle::ACKED_AT_ONCE) {
            let call = settle::acknowledge(batch, &self.inner.keys);
            let acked = self.inner.run::<Vec<u8>>(call).await?;
            done.extend(acked.into_iter().map(|was_ours| was_ours == 1));
        }
        Ok(done)
    }

    /// Carries out endings, each with all that follows from it: whether each was ours.
    async fn settle_whole(&self, endings: &mut [Ending]) -> Result<Vec<bool>, BrokerError> {
        let mut done = Vec::with_capacity(endings.len());
        let mut rest = endings;
        while !rest.is_empty() {
            let (batch, others) = rest.split_at_mut(settle::batch_len(rest));
            let carried_out = settle::carry_out(&self.inner, batch).await;
            done.extend(self.inner.told(carried_out)?);
            rest = others;
        }
        Ok(done)
    }
}
