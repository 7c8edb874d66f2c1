//! Queues of the three orders beside a list of which the next item is looked for.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{LEASE, Place, Time, session, time};
use crate::SyncError;
use crate::cluster::state::{Answer, Kind, Op, Reply, Session, Who};

#[derive(Debug, Clone)]
enum Step {
    Put(u8),
    Get,
    /// Finishes one of all that were ever got.
    Finish(Index),
    GiveBack(Index),
    /// Looks whether all are finished.
    Join,
    Count,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => any::<u8>().prop_map(Step::Put),
        4 => Just(Step::Get),
        2 => any::<Index>().prop_map(Step::Finish),
        1 => any::<Index>().prop_map(Step::GiveBack),
        1 => Just(Step::Join),
        1 => Just(Step::Count),
    ]
}

/// An item, and how late it was put.
type Item = (u8, usize);

struct Model {
    kind: Kind,
    capacity: usize,
    items: Vec<Item>,
    taken: BTreeMap<Who, Item>,
    puts: usize,
    /// The greatest number that was given with an item.
    last: u64,
}

impl Model {
    fn put(&mut self, item: u8) {
        self.puts += 1;
        self.items.push((item, self.puts));
    }

    /// Takes the item that is next by its order.
    fn next(&mut self) -> Option<Item> {
        let places = 0..self.items.len();
        let place = match self.kind {
            Kind::LifoQueue => places.max_by_key(|place| self.items[*place].1),
            Kind::PriorityQueue => places.min_by_key(|place| self.items[*place]),
            _ => places.min_by_key(|place| self.items[*place].1),
        };
        place.map(|place| self.items.remove(place))
    }

    /// An item that was got is again where it was, and on top of a stack.
    fn give_back(&mut self, who: Who) -> Option<()> {
        let (item, at) = self.taken.remove(&who)?;
        match self.kind {
            Kind::LifoQueue => self.put(item),
            _ => self.items.push((item, at)),
        }
        Some(())
    }

    fn bury(&mut self, sessions: &[Session]) {
        for session in sessions {
            let dead = self.taken.keys().filter(|who| who.session == *session);
            for who in dead.copied().collect::<Vec<_>>() {
                self.give_back(who);
            }
        }
    }

    fn ask(&mut self, who: Who, op: &Op) -> Answer {
        let is_done = |done: bool, other| done.then_some(Reply::Done).ok_or(other);
        match op {
            Op::Put { item, .. } => {
                let fits = self.items.len() < self.capacity;
                if fits {
                    self.put(item[0]);
                }
                is_done(fits, SyncError::Busy)
            }
            Op::Get => {
                let next = self.next().ok_or(SyncError::Busy)?;
                self.taken.insert(who, next);
                self.last += 1;
                Ok(Reply::Item {
                    item: Bytes::from(vec![next.0]),
                    fence: self.last,
                })
            }
            Op::Finish { of } => {
                let finished = self.taken.remove(&Who { ticket: *of, ..who });
                is_done(finished.is_some(), SyncError::Lost)
            }
            Op::GiveBack { of } => {
                let given = self.give_back(Who { ticket: *of, ..who });
                is_done(given.is_some(), SyncError::Lost)
            }
            Op::Join => is_done(
                self.items.is_empty() && self.taken.is_empty(),
                SyncError::Busy,
            ),
            _ => Ok(Reply::Number(self.items.len() as u64)),
        }
    }
}

fn does_what_its_model_does(
    kind: Kind,
    capacity: usize,
    steps: Vec<(Session, Time, Step)>,
) -> Result<(), TestCaseError> {
    let mut place = Place::new(kind, capacity as u64);
    let mut model = Model {
        kind,
        capacity,
        items: Vec::new(),
        taken: BTreeMap::new(),
        puts: 0,
        last: place.object.fence,
    };
    let mut got: Vec<Who> = Vec::new();
    for (session, time, step) in steps {
        model.bury(&place.move_time(time));
        let mine: Vec<_> = got.iter().filter(|who| who.session == session).collect();
        let pick = |index: Index| (!mine.is_empty()).then(|| index.get(&mine).ticket);
        let op = match step {
            Step::Put(item) => put(kind, item),
            Step::Get => Op::Get,
            Step::Finish(index) => pick(index).map_or(Op::Count, |of| Op::Finish { of }),
            Step::GiveBack(index) => pick(index).map_or(Op::Count, |of| Op::GiveBack { of }),
            Step::Join => Op::Join,
            Step::Count => Op::Count,
        };
        let ticket = place.tickets + 1;
        let who = Who { session, ticket };
        if matches!(op, Op::Get) {
            got.push(who);
        }
        prop_assert_eq!(place.ask(session, op.clone())?, model.ask(who, &op));
    }
    // Whoever had one is gone: what was put and not finished is there, in its order.
    model.bury(&place.move_time(Time::Passes(2 * LEASE)));
    model.bury(&place.move_time(Time::Passes(2 * LEASE)));
    place.ask(9, Op::Count)?.unwrap();
    model.bury(&place.move_time(Time::Passes(2 * LEASE)));
    while let Some((item, _)) = model.next() {
        model.last += 1;
        let (item, fence) = (Bytes::from(vec![item]), model.last);
        prop_assert_eq!(place.ask(9, Op::Get)?, Ok(Reply::Item { item, fence }));
    }
    prop_assert_eq!(place.ask(9, Op::Get)?, Err(SyncError::Busy));
    Ok(())
}

fn put(kind: Kind, item: u8) -> Op {
    let item = Bytes::from(vec![item]);
    let rank = match kind {
        Kind::PriorityQueue => item.clone(),
        _ => Bytes::new(),
    };
    Op::Put { item, rank }
}

proptest! {
    #[test]
    fn a_queue_loses_no_item_and_keeps_its_order_whatever_the_clock_does(
        kind in prop::sample::select(vec![Kind::Queue, Kind::LifoQueue, Kind::PriorityQueue]),
        capacity in 1_usize..6,
        steps in prop::collection::vec((session(), time(), step()), 0..80),
    ) {
        does_what_its_model_does(kind, capacity, steps)?;
    }
}
