//! What a consumer has fetched: what waits for the worker, and what the worker holds.
//!
//! # Invariants
//!
//! - A delivery is in one of ready, later and handed over, or it is settled.
//! - What a lost channel delivered is nobody's: its settlement finds the lease lost.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use celeriac_core::{Delivery, Message, QueueName, RevokedCalls, TaskId};
use jiff::Timestamp;

use super::acks::Unsettled;
use super::lanes::{Lane, Lanes};
use super::numbers::Numbers;
use super::transport::Properties;

/// A message that was delivered to us and not yet to the worker.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) tag: u64,
    pub(crate) queue: usize,
    pub(crate) deliveries: u32,
    pub(crate) message: Message,
    pub(crate) raw: Raw,
}

/// A message as it came, to be published again.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    pub(crate) properties: Properties,
    pub(crate) body: Bytes,
}

/// A message that the worker holds.
#[derive(Debug, Clone)]
pub(crate) struct Handed {
    pub(crate) tag: u64,
    pub(crate) queue: usize,
    pub(crate) deliveries: u32,
    pub(crate) id: TaskId,
    pub(crate) raw: Raw,
    /// When the server handed it to us.
    pub(crate) since: Instant,
}

/// Whether a message was delivered before, and never settled.
fn is_suspect(deliveries: u32) -> bool {
    deliveries > 1
}

/// How much is held of one queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) ready: usize,
    pub(crate) later: usize,
    pub(crate) handed: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shelf {
    pub(crate) lanes: Lanes,
    later: BTreeMap<(Timestamp, u64), Item>,
    handed: HashMap<i64, Handed>,
    /// What is inflated before it is put here: its queue and its number.
    bulky: Vec<(usize, u64)>,
    /// What the worker still holds of what a lost channel delivered.
    adrift: HashMap<TaskId, i64>,
    unsettled: Unsettled,
    pub(crate) revocations: RevokedCalls,
    /// How many suspects the worker may hold, and how many it does.
    suspects: usize,
    suspects_held: usize,
    turn: usize,
    last_tag: i64,
    numbers: Numbers,
}

/// Windows up to this size are as asked for; larger ones are rounded up, so that they seldom change.
const EXACT: usize = 16;

/// A window that is too small again so soon after it was fitted is one of short tasks.
const SOON: Duration = Duration::from_secs(1);

/// The window for a credit.
fn window(credit: usize) -> usize {
    if credit <= EXACT {
        return credit;
    }
    credit
        .checked_next_power_of_two()
        .unwrap_or(usize::MAX)
        .min(usize::from(u16::MAX))
}

impl Shelf {
    /// A shelf for these queues, of which the worker holds so many suspects at most.
    pub(crate) fn new(queues: &[QueueName], suspects: usize) -> Self {
        Self {
            lanes: Lanes::new(queues),
            later: BTreeMap::new(),
            handed: HashMap::new(),
            bulky: Vec::new(),
            adrift: HashMap::new(),
            unsettled: Unsettled::default(),
            revocations: RevokedCalls::default(),
            suspects,
            suspects_held: 0,
            turn: 0,
            last_tag: 0,
            numbers: Numbers::default(),
        }
    }

    /// Takes out what would be handed over if its queue were still taken from.
    pub(crate) fn clear_cancelled(&mut self) -> Vec<Item> {
        let lanes = &mut self.lanes;
        let mut items = lanes.clear_cancelled();
        if lanes.any_cancelled() {
            let cancelled = |item: &Item| lanes[item.queue].is_cancelled;
            let later = self.later.iter().filter(|(_, item)| cancelled(item));
            let keys: Vec<_> = later.map(|(key, _)| *key).collect();
            items.extend(keys.iter().filter_map(|key| self.later.remove(key)));
        }
        items.sort_unstable_by_key(|item| item.tag);
        items
    }

    /// The queues whose window does not fit a worker that could take `credit` more, with the window
    /// each should have.
    ///
    /// What an older subscription delivered is not counted in a new window, so that long tasks are not
    /// hoarded: the window grows with each that ends. Where they end so soon that it would be fitted
    /// again and again, it has room for what the present subscription delivered too.
    pub(crate) fn misfits(&self, credit: usize) -> Vec<(usize, usize)> {
        let mut used = vec![0; self.lanes.len()];
        let handed = self.handed.values().map(|it| (it.queue, it.tag));
        let later = self.later.values().map(|it| (it.queue, it.tag));
        let bulky = self.bulky.iter().copied();
        for (queue, tag) in handed.chain(later).chain(bulky) {
            used[queue] += usize::from(tag >= self.lanes[queue].since);
        }
        let misfit = |(index, lane): (usize, &Lane)| {
            let need = used[index] + credit;
            let too_small = need > lane.window;
            let too_large = lane.window > EXACT && need < lane.window / 4;
            let is_short = too_small && lane.begun.elapsed() < SOON;
            let enough = if is_short { need } else { credit };
            (too_small || too_large).then(|| (index, window(enough)))
        };
        self.lanes.taken_from().filter_map(misfit).collect()
    }

    /// A new subscription of a queue begins, with this window; 0 if there is none.
    pub(crate) fn subscribed(&mut self, queue: usize, window: usize) {
        self.lanes[queue].since = self.numbers.last() + 1;
        self.lanes[queue].window = window;
        self.lanes[queue].begun = Instant::now();
    }

    /// The name of a queue by its number.
    pub(crate) fn queue(&self, index: usize) -> &QueueName {
        &self.lanes[index].name
    }

    /// Takes note of a delivery that must be settled.
    pub(crate) fn arrived(&mut self, tag: u64) {
        self.numbers.arrived(tag);
        self.unsettled.add(tag);
    }

    /// The deliveries that have not arrived though all did that were to: a subscription that had
    /// been ended got them. They are unsettled from now on.
    pub(crate) fn gone_astray(&mut self) -> Vec<u64> {
        self.numbers.gone_astray()
    }

    /// Takes note of a delivery that is to be inflated first.
    pub(crate) fn put_bulky(&mut self, queue: usize, tag: u64) {
        self.bulky.push((queue, tag));
    }

    /// It is inflated.
    pub(crate) fn take_bulky(&mut self, tag: u64) {
        self.bulky.retain(|(_, other)| *other != tag);
    }

    /// Puts a message where it waits for the worker.
    pub(crate) fn put(&mut self, item: Item, due: Option<Timestamp>) {
        match due {
            Some(due) if !self.revocations.contains(&item.message.headers.id) => {
                self.later.insert((due, item.tag), item);
            }
            _ => self.put_ready(item),
        }
    }

    fn put_ready(&mut self, item: Item) {
        let rank = Reverse(item.message.priority);
        let lane = &mut self.lanes[item.queue];
        lane.ready.entry(rank).or_default().push_back(item);
    }

    /// Makes ready what is due at `now`, and what was revoked meanwhile.
    pub(crate) fn promote(&mut self, now: Timestamp) {
        while let Some(first) = self.later.first_entry()
            && first.key().0 <= now
        {
            let item = first.remove();
            self.put_ready(item);
        }
    }

    /// Makes ready at once what is revoked.
    pub(crate) fn hasten_revoked(&mut self) {
        let revoked = |item: &Item| self.revocations.contains(&item.message.headers.id);
        let hastened: Vec<_> = self
            .later
            .iter()
            .filter(|(_, item)| revoked(item))
            .map(|(key, _)| *key)
            .collect();
        for key in hastened {
            if let Some(item) = self.later.remove(&key) {
                self.put_ready(item);
            }
        }
    }

    /// When the next message falls due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.later.first_key_value().map(|(key, _)| key.0)
    }

    /// Hands over at most `credit` messages: larger priorities first, queues in turn.
    pub(crate) fn take(&mut self, credit: usize) -> Vec<Delivery> {
        let mut taken = Vec::new();
        while taken.len() < credit
            && let Some((index, rank)) = self.best()
        {
            let Some(mut ready) = self.lanes[index].ready.first_entry() else {
                break;
            };
            let next = ready.get().front();
            let is_suspect = next.is_some_and(|it| is_suspect(it.deliveries));
            if is_suspect && self.suspects_held >= self.suspects {
                break;
            }
            debug_assert_eq!(*ready.key(), rank);
            let item = ready.get_mut().pop_front();
            if ready.get().is_empty() {
                ready.remove();
            }
            self.turn = index + 1;
            taken.extend(item.map(|item| self.hand_over(item)));
        }
        taken
    }

    /// The queue whose next message is the most urgent.
    fn best(&self) -> Option<(usize, Reverse<u8>)> {
        let count = self.lanes.len();
        (0..count)
            .map(|step| (self.turn + step) % count)
            .filter_map(|index| {
                let lane = &self.lanes[index];
                let (rank, _) = lane.ready.first_key_value()?;
                (!lane.is_cancelled).then_some((index, *rank))
            })
            // The first of equals is the one whose turn it is.
            .min_by_key(|(_, rank)| *rank)
    }

    fn hand_over(&mut self, item: Item) -> Delivery {
        let id = item.message.headers.id.clone();
        // One that comes back while the worker still runs it is the same delivery to the worker.
        let tag = self.adrift.remove(&id).unwrap_or_else(|| {
            self.last_tag += 1;
            self.last_tag
        });
        let delivery = Delivery {
            tag,
            queue: self.lanes[item.queue].name.clone(),
            deliveries: item.deliveries,
            revoked: self.revocations.contains(&id),
            message: item.message,
        };
        let handed = Handed {
            tag: item.tag,
            queue: item.queue,
            deliveries: item.deliveries,
            id,
            raw: item.raw,
            since: Instant::now(),
        };
        self.suspects_held += usize::from(is_suspect(handed.deliveries));
        if let Some(before) = self.handed.insert(tag, handed) {
            self.suspects_held -= usize::from(is_suspect(before.deliveries));
        }
        delivery
    }

    /// What the worker holds under this number, if it is still its own.
    pub(crate) fn handed(&self, tag: i64) -> Option<&Handed> {
        self.handed.get(&tag)
    }

    /// The numbers of what the worker holds.
    pub(crate) fn handed_tags(&self) -> Vec<i64> {
        self.handed.keys().copied().collect()
    }

    /// Takes out what the worker has settled.
    pub(crate) fn settled(&mut self, tag: i64) -> Option<Handed> {
        let settled = self.handed.remove(&tag)?;
        self.suspects_held -= usize::from(is_suspect(settled.deliveries));
        Some(settled)
    }

    /// The worker is done with what a lost channel delivered; says which call that is.
    pub(crate) fn let_go(&mut self, tag: i64) {
        if let Some((id, _)) = self.adrift.iter().find(|(_, lost)| **lost == tag) {
            let id = id.clone();
            self.adrift.remove(&id);
        }
    }

    /// Gives what the worker holds another number of the server's.
    pub(crate) fn renumber(&mut self, tag: i64, new: u64) -> Option<u64> {
        let handed = self.handed.get_mut(&tag)?;
        handed.since = Instant::now();
        Some(std::mem::replace(&mut handed.tag, new))
    }

    /// The acknowledgements for these deliveries. See [`Unsettled::settle`].
    pub(crate) fn acks(&mut self, tags: impl IntoIterator<Item = u64>) -> Vec<(u64, bool)> {
        self.unsettled.settle(tags, self.numbers.all())
    }

    /// The channel is gone, and all it delivered with it.
    pub(crate) fn lose(&mut self) {
        self.unsettled.clear();
        self.later.clear();
        self.bulky.clear();
        self.numbers = Numbers::default();
        for lane in self.lanes.iter_mut() {
            lane.ready.clear();
            lane.since = 0;
            lane.window = 0;
        }
        self.suspects_held = 0;
        let lost = std::mem::take(&mut self.handed);
        self.adrift
            .extend(lost.into_iter().map(|(tag, it)| (it.id, tag)));
    }

    /// Empties it: the number, the queue, the count so far and the bytes of each message, in the
    /// order in which they came.
    pub(crate) fn clear_out(&mut self) -> Vec<(u64, usize, u32, Raw)> {
        let mut all = Vec::new();
        let waiting = |item: Item| (item.tag, item.queue, item.deliveries, item.raw);
        all.extend(std::mem::take(&mut self.later).into_values().map(waiting));
        for lane in self.lanes.iter_mut() {
            let ready = std::mem::take(&mut lane.ready).into_values().flatten();
            all.extend(ready.map(waiting));
        }
        self.suspects_held = 0;
        let handed = std::mem::take(&mut self.handed).into_values();
        all.extend(handed.map(|it| (it.tag, it.queue, it.deliveries, it.raw)));
        all.sort_unstable_by_key(|(tag, ..)| *tag);
        all
    }

    /// How much is held of each queue that is taken from, or was.
    pub(crate) fn loads(&self) -> Vec<(QueueName, Load)> {
        let mut loads = vec![Load::default(); self.lanes.len()];
        for (load, lane) in loads.iter_mut().zip(self.lanes.iter()) {
            load.ready = lane.ready.values().map(VecDeque::len).sum();
        }
        for item in self.later.values() {
            loads[item.queue].later += 1;
        }
        for handed in self.handed.values() {
            loads[handed.queue].handed += 1;
        }
        let lanes = self.lanes.iter().zip(loads);
        let told = lanes.filter(|(lane, load)| !lane.is_cancelled || *load != Load::default());
        told.map(|(lane, load)| (lane.name.clone(), load)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec;
    use super::super::names::Entity;
    use super::*;

    fn shelf(queues: usize) -> Shelf {
        let names: Vec<_> = (0..queues)
            .map(|number| QueueName::new(&number.to_string()).unwrap())
            .collect();
        let mut shelf = Shelf::new(&names, 1);
        (0..queues).for_each(|queue| shelf.subscribed(queue, 10));
        shelf
    }

    fn put(shelf: &mut Shelf, tag: u64, queue: usize, priority: u8, deliveries: u32) {
        let message = celeriac_testkit::message(TaskId::new(), "t", 1, priority);
        let letter = codec::encode(Entity::Dead, &message).unwrap();
        let raw = Raw {
            properties: letter.properties,
            body: letter.body,
        };
        shelf.arrived(tag);
        let item = Item {
            tag,
            queue,
            deliveries,
            message,
            raw,
        };
        shelf.put(item, None);
    }

    fn queues(taken: &[Delivery]) -> Vec<&str> {
        taken.iter().map(|it| it.queue.as_str()).collect()
    }

    #[test]
    fn urgent_ones_come_first_and_queues_take_turns() {
        let mut shelf = shelf(2);
        for (tag, queue, priority) in [(1, 0, 0), (2, 0, 0), (3, 1, 0), (4, 1, 9)] {
            put(&mut shelf, tag, queue, priority, 1);
        }
        let taken = shelf.take(9);
        assert_eq!(queues(&taken), ["1", "0", "1", "0"]);
        assert_eq!(taken[0].message.priority, 9);
    }

    #[test]
    fn a_suspect_waits_for_the_one_before_it() {
        let mut shelf = shelf(1);
        put(&mut shelf, 1, 0, 0, 2);
        put(&mut shelf, 2, 0, 0, 2);
        let first = shelf.take(9);
        assert_eq!(first.len(), 1);
        assert!(shelf.take(9).is_empty());
        assert!(shelf.settled(first[0].tag).is_some());
        assert_eq!(shelf.take(9).len(), 1);
    }

    #[test]
    fn what_comes_back_while_it_runs_is_the_same_delivery() {
        let mut shelf = shelf(1);
        put(&mut shelf, 1, 0, 0, 1);
        let first = shelf.take(1).remove(0);
        shelf.lose();
        assert!(shelf.handed(first.tag).is_none());
        shelf.subscribed(0, 10);
        let letter = codec::encode(Entity::Dead, &first.message).unwrap();
        let raw = Raw {
            properties: letter.properties,
            body: letter.body,
        };
        let item = Item {
            tag: 1,
            queue: 0,
            deliveries: 2,
            message: first.message.clone(),
            raw,
        };
        shelf.put(item, None);
        assert_eq!(shelf.take(1)[0].tag, first.tag);
    }

    #[test]
    fn a_window_fits_what_is_held_and_could_be_taken() {
        let mut shelf = shelf(1);
        assert_eq!(shelf.misfits(10), []);
        assert_eq!(shelf.misfits(11), [(0, 11)]);
        put(&mut shelf, 1, 0, 0, 1);
        shelf.take(1);
        assert_eq!(shelf.misfits(10), [(0, 11)]);
        shelf.lanes[0].begun -= SOON;
        assert_eq!(shelf.misfits(10), [(0, 10)]);
        assert_eq!(shelf.misfits(900), [(0, 1024)]);
        shelf.put_bulky(0, 2);
        assert_eq!(shelf.misfits(9), [(0, 9)]);
        shelf.take_bulky(2);
        assert_eq!(shelf.misfits(9), []);
        shelf.subscribed(0, 1024);
        assert_eq!(shelf.misfits(5), [(0, 5)]);
    }
}
