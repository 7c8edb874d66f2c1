//! Dictionaries and lists beside those of std, while some hold them and die.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Place, Time, session, time};
use crate::SyncError;
use crate::cluster::state::{Answer, Ask, Data, Kind, Op, Reply, Session, Ticket};

#[derive(Debug, Clone)]
enum Step {
    Ask(Ask),
    /// Takes the lock.
    Lock,
    /// Puts back something else and gives the lock back, if it has it.
    PutBack(Vec<u8>),
}

fn bytes(byte: u8) -> Bytes {
    Bytes::from(vec![byte])
}

/// What is asked of the data, or done under its lock.
fn step(ask: impl Strategy<Value = Ask>) -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => ask.prop_map(Step::Ask),
        1 => Just(Step::Lock),
        1 => prop::collection::vec(0_u8..6, 0..4).prop_map(Step::PutBack),
    ]
}

fn ask_dict() -> impl Strategy<Value = Ask> {
    let key = || (0_u8..6).prop_map(bytes);
    prop_oneof![
        3 => key().prop_map(Ask::Get),
        4 => (key(), any::<u8>()).prop_map(|(key, value)| Ask::Set(key, Some(bytes(value)))),
        2 => key().prop_map(|key| Ask::Set(key, None)),
        1 => Just(Ask::Len),
        1 => Just(Ask::Clear),
        1 => Just(Ask::All),
    ]
}

fn ask_list() -> impl Strategy<Value = Ask> {
    let (index, item) = (|| 0_u64..6, || any::<u8>().prop_map(bytes));
    prop_oneof![
        4 => item().prop_map(Ask::Push),
        1 => Just(Ask::Pop),
        2 => index().prop_map(Ask::At),
        2 => (index(), item()).prop_map(|(index, item)| Ask::Put(index, item)),
        2 => (index(), item()).prop_map(|(index, item)| Ask::Insert(index, item)),
        1 => index().prop_map(Ask::Remove),
        1 => Just(Ask::Len),
        1 => Just(Ask::All),
    ]
}

/// Data of std that can be asked the same.
trait Model: Default + Clone {
    const KIND: Kind;

    fn data(&self) -> Data;
    fn of(content: &[u8]) -> Self;
    fn ask(&mut self, ask: &Ask) -> Answer;
}

impl Model for BTreeMap<Bytes, Bytes> {
    const KIND: Kind = Kind::Dict;

    fn data(&self) -> Data {
        Data::Entries(self.clone())
    }

    fn of(content: &[u8]) -> Self {
        let entry = |key: &u8| (bytes(*key), bytes(key + 1));
        content.iter().map(entry).collect()
    }

    fn ask(&mut self, ask: &Ask) -> Answer {
        Ok(match ask {
            Ask::Get(key) => Reply::Bytes(self.get(key).cloned()),
            Ask::Set(key, Some(value)) => Reply::Bytes(self.insert(key.clone(), value.clone())),
            Ask::Set(key, None) => Reply::Bytes(self.remove(key)),
            Ask::Len => Reply::Number(self.len() as u64),
            Ask::All => Reply::Data(self.data()),
            _ => {
                self.clear();
                Reply::Done
            }
        })
    }
}

impl Model for Vec<Bytes> {
    const KIND: Kind = Kind::List;

    fn data(&self) -> Data {
        Data::Items(self.clone())
    }

    fn of(content: &[u8]) -> Self {
        content.iter().copied().map(bytes).collect()
    }

    fn ask(&mut self, ask: &Ask) -> Answer {
        let len = self.len();
        let place = |index: &u64, end: usize| {
            let index = usize::try_from(*index).unwrap();
            let outside = SyncError::OutOfRange { index, len };
            (index < end).then_some(index).ok_or(outside)
        };
        let found = match ask {
            Ask::Push(item) => {
                self.push(item.clone());
                None
            }
            Ask::Pop => self.pop(),
            Ask::At(index) => self.get(place(index, len)?).cloned(),
            Ask::Put(index, item) => {
                let place = place(index, len)?;
                Some(std::mem::replace(&mut self[place], item.clone()))
            }
            Ask::Insert(index, item) => {
                self.insert(place(index, len + 1)?, item.clone());
                None
            }
            Ask::Remove(index) => Some(self.remove(place(index, len)?)),
            Ask::Len => return Ok(Reply::Number(len as u64)),
            _ => return Ok(Reply::Data(self.data())),
        };
        Ok(Reply::Bytes(found))
    }
}

fn does_what_std_does<M: Model>(steps: Vec<(Session, Time, Step)>) -> Result<(), TestCaseError> {
    let mut place = Place::new(M::KIND, 0);
    let mut model = M::default();
    // Who has the lock, by which call; and by which call each has tried last.
    let mut holder: Option<(Session, Ticket)> = None;
    let mut tried: BTreeMap<Session, Ticket> = BTreeMap::new();
    let (mut fence, mut recovered) = (place.object.fence, false);
    for (session, time, step) in steps {
        let lapsed = place.move_time(time);
        if holder.is_some_and(|(session, _)| lapsed.contains(&session)) {
            (holder, recovered) = (None, true);
        }
        let (op, expected) = match step {
            Step::Ask(ask) => {
                let expected = match holder {
                    Some(_) => Err(SyncError::Busy),
                    None => model.ask(&ask),
                };
                (Op::Use(ask), expected)
            }
            Step::Lock => {
                let ticket = place.tickets + 1;
                tried.insert(session, ticket);
                let ask = Some(Ask::All);
                if holder.is_some() {
                    (Op::Acquire { ask }, Err(SyncError::Busy))
                } else {
                    holder = Some((session, ticket));
                    fence += 1;
                    let reply = Some(Box::new(Reply::Data(model.data())));
                    let recovered = std::mem::take(&mut recovered);
                    let held = Reply::Held {
                        fence,
                        recovered,
                        reply,
                    };
                    (Op::Acquire { ask }, Ok(held))
                }
            }
            Step::PutBack(content) => {
                // A call that was never made has got nothing.
                let of = tried.get(&session).copied().unwrap_or_default();
                let content = M::of(&content);
                let (dirty, ask) = (false, Some(Ask::Replace(content.data())));
                // Who has lost it changes nothing.
                let expected = if holder == Some((session, of)) {
                    (holder, model) = (None, content);
                    Ok(Reply::Done)
                } else {
                    Err(SyncError::Lost)
                };
                (Op::Release { of, dirty, ask }, expected)
            }
        };
        prop_assert_eq!(place.ask(session, op)?, expected);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_dictionary_does_what_that_of_std_does(
        steps in prop::collection::vec((session(), time(), step(ask_dict())), 0..100),
    ) {
        does_what_std_does::<BTreeMap<Bytes, Bytes>>(steps)?;
    }

    #[test]
    fn a_list_does_what_that_of_std_does(
        steps in prop::collection::vec((session(), time(), step(ask_list())), 0..100),
    ) {
        does_what_std_does::<Vec<Bytes>>(steps)?;
    }
}
