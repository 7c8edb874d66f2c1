//! Queues and pipes.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::holds::of_session;
use super::{Answer, Kind, Op, Plan, Reply, Session, Who};
use crate::SyncError;

/// Items in an order, and those that were got and are not finished.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Shelf {
    newest_first: bool,
    capacity: u64,
    items: BTreeMap<Place, Bytes>,
    taken: BTreeMap<Who, (Place, Bytes)>,
    last: u64,
    closed: bool,
    /// Who is at which end of a pipe.
    ends: BTreeMap<Who, u8>,
}

/// Where an item stands: the least is got first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Place {
    rank: Bytes,
    number: u64,
}

impl Shelf {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            newest_first: plan.kind == Kind::LifoQueue,
            capacity: plan.size,
            items: BTreeMap::new(),
            taken: BTreeMap::new(),
            last: 0,
            closed: false,
            ends: BTreeMap::new(),
        }
    }

    pub(super) fn attempt(&mut self, who: Who, op: &Op, fence: &mut u64) -> Option<Answer> {
        Some(match op {
            Op::Put { .. } | Op::Attach { .. } if self.closed => Err(SyncError::Closed),
            Op::Put { .. } if self.items.len() as u64 >= self.capacity => return None,
            Op::Put { item, rank } => {
                let place = self.place(rank.clone());
                self.items.insert(place, item.clone());
                Ok(Reply::Done)
            }
            Op::Get => match self.get(who, fence) {
                Some(reply) => Ok(reply),
                None if self.closed => Err(SyncError::Closed),
                None => return None,
            },
            Op::Finish { of } => match self.taken.remove(&of_session(who, *of)) {
                Some(_) => Ok(Reply::Done),
                None => Err(SyncError::Lost),
            },
            Op::GiveBack { of } => self.give_back(of_session(who, *of)),
            Op::Join if self.items.is_empty() && self.taken.is_empty() => Ok(Reply::Done),
            Op::Join => return None,
            Op::Close => {
                self.closed = true;
                Ok(Reply::Done)
            }
            Op::Attach { side } => {
                *fence += 1;
                self.ends.insert(who, *side);
                Ok(Reply::Held {
                    fence: *fence,
                    recovered: false,
                    reply: None,
                })
            }
            Op::Release { of, .. } => {
                self.leave(|end| *end == of_session(who, *of));
                Ok(Reply::Done)
            }
            Op::Count => Ok(Reply::Number(self.items.len() as u64)),
            _ => Err(SyncError::OtherType),
        })
    }

    fn place(&mut self, rank: Bytes) -> Place {
        self.last += 1;
        let number = self.last;
        Place { rank, number }
    }

    fn get(&mut self, who: Who, fence: &mut u64) -> Option<Reply> {
        let (place, item) = if self.newest_first {
            self.items.pop_last()?
        } else {
            self.items.pop_first()?
        };
        *fence += 1;
        self.taken.insert(who, (place, item.clone()));
        Some(Reply::Item {
            item,
            fence: *fence,
        })
    }

    fn give_back(&mut self, who: Who) -> Answer {
        let Some((mut place, item)) = self.taken.remove(&who) else {
            return Err(SyncError::Lost);
        };
        if self.newest_first {
            place = self.place(place.rank);
        }
        self.items.insert(place, item);
        Ok(Reply::Done)
    }

    /// Takes some away from their ends; an end at which nobody is any more closes the pipe.
    fn leave(&mut self, leaves: impl Fn(&Who) -> bool) {
        let left: Vec<u8> = self
            .ends
            .iter()
            .filter(|(who, _)| leaves(who))
            .map(|it| *it.1)
            .collect();
        self.ends.retain(|who, _| !leaves(who));
        for side in left {
            self.closed |= self.ends.values().all(|other| *other != side);
        }
    }

    pub(super) fn undo(&mut self, who: Who) {
        // What was given back or finished already is not there to be undone.
        let _ = self.give_back(who);
        self.leave(|end| *end == who);
    }

    pub(super) fn bury(&mut self, session: Session) {
        let taken: Vec<_> = self
            .taken
            .keys()
            .filter(|who| who.session == session)
            .copied()
            .collect();
        for who in taken {
            let _ = self.give_back(who);
        }
        self.leave(|end| end.session == session);
    }
}
