//! Locks and semaphores, and the data under a lock.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::codec::fits;
use super::{Answer, Ask, Kind, Op, Plan, Reply, Session, Who};
use crate::SyncError;

/// Held by so many.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Holds {
    /// How many permits there are.
    permits: u64,
    /// How many there can be.
    most: u64,
    /// Who holds one, with its number.
    taken: BTreeMap<Who, u64>,
    /// Whether the holder before left it half done.
    dirty: bool,
    /// `None` if it was not given its first content.
    data: Option<Data>,
}

/// What is under a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cluster) enum Data {
    Items(Vec<Bytes>),
    Entries(BTreeMap<Bytes, Bytes>),
}

impl Holds {
    pub(super) fn new(plan: &Plan) -> Self {
        let (permits, most) = match plan.kind {
            Kind::Semaphore => (plan.size, u64::MAX),
            Kind::BoundedSemaphore => (plan.size, plan.size),
            _ => (1, 1),
        };
        let data = match plan.kind {
            Kind::Dict => Some(Data::Entries(BTreeMap::new())),
            Kind::List => Some(Data::Items(Vec::new())),
            _ => None,
        };
        Self {
            permits,
            most,
            taken: BTreeMap::new(),
            dirty: false,
            data,
        }
    }

    fn free(&self) -> u64 {
        self.permits.saturating_sub(self.taken.len() as u64)
    }

    pub(super) fn attempt(&mut self, who: Who, op: &Op, fence: &mut u64) -> Option<Answer> {
        let done = Ok(Reply::Done);
        Some(match op {
            Op::Acquire { ask } => {
                if self.free() == 0 {
                    return None;
                }
                self.acquire(who, ask.as_ref(), fence)
            }
            Op::Release { of, dirty, ask } => {
                self.release(of_session(who, *of), *dirty, ask.as_ref())
            }
            Op::Forget { of } => match self.taken.remove(&of_session(who, *of)) {
                Some(_) => {
                    self.permits -= 1;
                    done
                }
                None => Err(SyncError::Lost),
            },
            Op::Permit if self.permits >= self.most => Err(SyncError::NotTaken),
            Op::Permit => {
                self.permits += 1;
                done
            }
            Op::Use(Ask::Begin(data)) => {
                self.data.get_or_insert_with(|| data.clone());
                done
            }
            Op::Use(_) if !self.taken.is_empty() => return None,
            Op::Use(ask) => self.ask(ask),
            Op::Count => Ok(Reply::Number(self.free())),
            _ => Err(SyncError::OtherType),
        })
    }

    fn acquire(&mut self, who: Who, ask: Option<&Ask>, fence: &mut u64) -> Answer {
        let reply = ask.map(|ask| self.ask(ask)).transpose()?;
        *fence += 1;
        self.taken.insert(who, *fence);
        Ok(Reply::Held {
            fence: *fence,
            recovered: std::mem::take(&mut self.dirty),
            reply: reply.map(Box::new),
        })
    }

    fn release(&mut self, who: Who, dirty: bool, ask: Option<&Ask>) -> Answer {
        if !self.taken.contains_key(&who) {
            return Err(SyncError::Lost);
        }
        let answer = ask.map_or(Ok(Reply::Done), |ask| self.ask(ask));
        self.taken.remove(&who);
        self.dirty |= dirty;
        answer
    }

    fn ask(&mut self, ask: &Ask) -> Answer {
        self.data.as_mut().ok_or(SyncError::Gone)?.ask(ask)
    }

    pub(super) fn undo(&mut self, who: Who) {
        self.taken.remove(&who);
    }

    pub(super) fn bury(&mut self, session: Session) {
        let before = self.taken.len();
        self.taken.retain(|who, _| who.session != session);
        self.dirty |= self.taken.len() != before;
    }
}

/// The call of `ticket` of the session that asks.
pub(super) fn of_session(who: Who, ticket: u64) -> Who {
    Who { ticket, ..who }
}

impl Data {
    /// That it can be sent at once.
    pub(in crate::cluster) fn fits(&self) -> Result<(), SyncError> {
        fits(match self {
            Self::Items(items) => items.iter().map(Bytes::len).sum(),
            Self::Entries(entries) => entries
                .iter()
                .map(|(key, value)| key.len() + value.len())
                .sum(),
        })
    }

    fn len(&self) -> usize {
        match self {
            Self::Items(items) => items.len(),
            Self::Entries(entries) => entries.len(),
        }
    }

    fn ask(&mut self, ask: &Ask) -> Answer {
        match (ask, &mut *self) {
            (Ask::Begin(_), _) => Ok(Reply::Done),
            (Ask::All, data) => Ok(Reply::Data(data.clone())),
            (Ask::Len, data) => Ok(Reply::Number(data.len() as u64)),
            (Ask::Replace(new), data) => {
                *data = new.clone();
                Ok(Reply::Done)
            }
            (Ask::Clear, Self::Entries(entries)) => {
                entries.clear();
                Ok(Reply::Done)
            }
            (Ask::Get(key), Self::Entries(entries)) => Ok(Reply::Bytes(entries.get(key).cloned())),
            (Ask::Set(key, value), Self::Entries(entries)) => Ok(Reply::Bytes(match value {
                Some(value) => entries.insert(key.clone(), value.clone()),
                None => entries.remove(key),
            })),
            (ask, Self::Items(items)) => ask_items(ask, items),
            _ => Err(SyncError::OtherType),
        }
    }
}

fn ask_items(ask: &Ask, items: &mut Vec<Bytes>) -> Answer {
    let len = items.len();
    let place = |index: u64, end: usize| {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let outside = SyncError::OutOfRange { index, len };
        if index < end { Ok(index) } else { Err(outside) }
    };
    let found = match ask {
        Ask::At(index) => items.get(place(*index, len)?).cloned(),
        Ask::Put(index, item) => {
            let place = place(*index, len)?;
            Some(std::mem::replace(&mut items[place], item.clone()))
        }
        Ask::Push(item) => {
            items.push(item.clone());
            None
        }
        Ask::Pop => items.pop(),
        Ask::Insert(index, item) => {
            items.insert(place(*index, len + 1)?, item.clone());
            None
        }
        Ask::Remove(index) => Some(items.remove(place(*index, len)?)),
        _ => return Err(SyncError::OtherType),
    };
    Ok(Reply::Bytes(found))
}
