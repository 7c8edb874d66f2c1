//! The queues of a consumer, by their numbers, and what is fetched of each.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use celeriac_core::QueueName;

use super::shelf::Item;

/// What is fetched of one queue.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(super) name: QueueName,
    /// Whether nothing is taken from it any more.
    pub(super) is_cancelled: bool,
    pub(super) ready: BTreeMap<Reverse<u8>, VecDeque<Item>>,
    /// The first number that the present subscription of it may have delivered.
    pub(super) since: u64,
    /// How many unsettled deliveries the server allows it; 0 if there is no subscription.
    pub(super) window: usize,
    /// When the present subscription of it began.
    pub(super) begun: Instant,
}

/// All of them. A number stays that of its queue, even if nothing is taken from it any more: what was
/// delivered of it is settled by that number.
#[derive(Debug)]
pub(crate) struct Lanes(Vec<Lane>);

impl Lane {
    fn new(name: QueueName) -> Self {
        Self {
            name,
            is_cancelled: false,
            ready: BTreeMap::new(),
            since: 0,
            window: 0,
            begun: Instant::now(),
        }
    }
}

impl Lanes {
    pub(super) fn new(queues: &[QueueName]) -> Self {
        Self(queues.iter().cloned().map(Lane::new).collect())
    }

    /// Takes from a queue from now on; whether it did not before.
    pub(crate) fn add(&mut self, name: QueueName) -> bool {
        let known = self.iter_mut().find(|lane| lane.name == name);
        if let Some(lane) = known {
            return std::mem::take(&mut lane.is_cancelled);
        }
        self.0.push(Lane::new(name));
        true
    }

    /// Hands over nothing more of a queue; whether it did before.
    pub(crate) fn cancel(&mut self, name: &QueueName) -> bool {
        let lane = self
            .iter_mut()
            .find(|it| it.name == *name && !it.is_cancelled);
        lane.map(|lane| lane.is_cancelled = true).is_some()
    }

    /// Those that are taken from, with their numbers.
    pub(super) fn taken_from(&self) -> impl Iterator<Item = (usize, &Lane)> {
        let lanes = self.iter().enumerate();
        lanes.filter(|(_, lane)| !lane.is_cancelled)
    }

    /// The names of those that are taken from.
    pub(crate) fn names(&self) -> Vec<QueueName> {
        let lanes = self.taken_from();
        lanes.map(|(_, lane)| lane.name.clone()).collect()
    }

    /// Whether all that are taken from are subscribed to.
    pub(crate) fn are_subscribed(&self) -> bool {
        self.taken_from().all(|(_, lane)| lane.window > 0)
    }

    /// The numbers of those that are subscribed to and not taken from.
    pub(crate) fn to_unsubscribe(&self) -> Vec<usize> {
        let lanes = self.iter().enumerate();
        let lanes = lanes.filter(|(_, lane)| lane.is_cancelled && lane.window > 0);
        lanes.map(|(number, _)| number).collect()
    }

    /// Whether there is one that is not taken from any more.
    pub(super) fn any_cancelled(&self) -> bool {
        self.iter().any(|lane| lane.is_cancelled)
    }

    /// Takes out what is ready of those that are not taken from.
    pub(super) fn clear_cancelled(&mut self) -> Vec<Item> {
        let lanes = self.iter_mut().filter(|lane| lane.is_cancelled);
        let ready = lanes.flat_map(|lane| std::mem::take(&mut lane.ready).into_values());
        ready.flatten().collect()
    }
}

impl Deref for Lanes {
    type Target = [Lane];

    fn deref(&self) -> &[Lane] {
        &self.0
    }
}

impl DerefMut for Lanes {
    fn deref_mut(&mut self) -> &mut [Lane] {
        &mut self.0
    }
}
