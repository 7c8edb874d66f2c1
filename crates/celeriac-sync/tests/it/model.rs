//! Queues and semaphores beside a model that has no threads.

use std::collections::HashMap;

use celeriac_sync::thread::BoundedSemaphore;
use celeriac_sync::{process, thread};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Put(u8),
    Get,
    /// Gives back the item that was got last.
    GiveBack,
    Finish,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<u8>().prop_map(Step::Put),
        3 => Just(Step::Get),
        1 => Just(Step::GiveBack),
        1 => Just(Step::Finish),
        1 => Just(Step::Close),
    ]
}

/// Which of the items that are there comes next.
type Next = fn(&[String]) -> Option<usize>;

const FIRST: Next = |items| (!items.is_empty()).then_some(0);
const LAST: Next = |items| items.len().checked_sub(1);
const LEAST: Next = |items| {
    let least = items.iter().enumerate().min_by_key(|(_, item)| *item);
    least.map(|(place, _)| place)
};

/// An item of a size of its own: with its slot, and in the arena, in shared memory.
fn item(number: u8) -> String {
    String::from(char::from(number)).repeat(usize::from(number) * 20)
}

/// Does the steps with a queue of a scope, and with a list of which `next` names the next item.
macro_rules! does_what_its_model_does {
    ($queue:expr, $capacity:expr, $steps:expr, $next:expr) => {
        let queue = $queue;
        let next: Next = $next;
        let (mut model, mut got, mut closed) = (Vec::new(), Vec::new(), false);
        for step in $steps {
            match step {
                Step::Put(number) => {
                    let fits = !closed && model.len() < $capacity;
                    prop_assert_eq!(queue.try_put(item(number)).is_ok(), fits);
                    if fits {
                        model.push(item(number));
                    }
                }
                Step::Get => {
                    let item = queue.try_get().ok();
                    let expected = next(&model).map(|place| model.remove(place));
                    prop_assert_eq!(item.as_deref(), expected.as_ref());
                    got.extend(item);
                }
                Step::GiveBack => {
                    if let Some(kept) = got.pop() {
                        // It comes next: in front of a queue, on top of a stack.
                        let front = next(&[item(0), item(1)]) == Some(0);
                        model.insert(if front { 0 } else { model.len() }, kept.clone());
                        kept.give_back();
                    }
                }
                Step::Finish => drop(got.pop()),
                Step::Close => {
                    queue.close();
                    closed = true;
                }
            }
            prop_assert_eq!(queue.len(), model.len());
            prop_assert_eq!(queue.try_join().is_ok(), model.is_empty() && got.is_empty());
        }
    };
}

proptest! {
    #[test]
    fn a_queue_does_what_its_model_does(
        capacity in 1_usize..5,
        steps in prop::collection::vec(step(), 0..60),
    ) {
        does_what_its_model_does!(thread::Queue::bounded(capacity), capacity, steps.clone(), FIRST);
        let queue = process::Queue::bounded(capacity).unwrap();
        does_what_its_model_does!(queue, capacity, steps, FIRST);
    }

    #[test]
    fn a_stack_does_what_its_model_does(
        capacity in 1_usize..5,
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let stack = thread::LifoQueue::bounded(capacity);
        does_what_its_model_does!(stack, capacity, steps.clone(), LAST);
        let stack = process::LifoQueue::bounded(capacity).unwrap();
        does_what_its_model_does!(stack, capacity, steps, LAST);
    }

    #[test]
    fn a_priority_queue_does_what_its_model_does(
        capacity in 1_usize..20,
        steps in prop::collection::vec(step(), 0..100),
    ) {
        let queue = thread::PriorityQueue::bounded(capacity);
        does_what_its_model_does!(queue, capacity, steps.clone(), LEAST);
        let queue = process::PriorityQueue::bounded(capacity).unwrap();
        does_what_its_model_does!(queue, capacity, steps, LEAST);
    }

    #[test]
    fn a_bounded_semaphore_counts_as_its_model_does(
        permits in 0_usize..4,
        steps in prop::collection::vec(0_u8..3, 0..40),
    ) {
        let semaphore = BoundedSemaphore::new(permits);
        let (mut held, mut forgotten) = (Vec::new(), 0);
        for step in steps {
            match step {
                0 => held.extend(semaphore.try_acquire().ok()),
                1 => {
                    if let Some(permit) = held.pop() {
                        permit.forget();
                        forgotten += 1;
                    }
                }
                _ => {
                    let full = held.len() + forgotten == 0;
                    // A permit that is released by hand stands for one that was forgotten.
                    if full || forgotten > 0 {
                        prop_assert_eq!(semaphore.release().is_err(), full);
                        forgotten -= usize::from(!full);
                    }
                }
            }
            prop_assert_eq!(semaphore.value() + held.len() + forgotten, permits);
        }
    }

    #[test]
    fn a_dictionary_does_what_its_model_does(
        steps in prop::collection::vec((0_u8..6, 0_u8..40, any::<u8>()), 0..150),
    ) {
        let dict = process::Dict::<u8, String>::new().unwrap();
        let mut model = HashMap::new();
        for (step, key, value) in steps {
            match step {
                0..3 => prop_assert_eq!(dict.set(key, item(value)), Ok(model.insert(key, item(value)))),
                3 => prop_assert_eq!(dict.remove(&key), Ok(model.remove(&key))),
                4 => {
                    let change = |entry: &mut Option<String>| {
                        *entry = entry.take().is_none().then(|| item(value));
                    };
                    dict.update(key, change).unwrap();
                    let mut entry = model.remove(&key);
                    change(&mut entry);
                    entry.map(|entry| model.insert(key, entry));
                }
                _ => {
                    let mut all = dict.lock().unwrap();
                    all.retain(|key, _| *key % 3 != 0);
                    all.insert(key, item(value));
                    all.put_back().unwrap();
                    model.retain(|key, _| *key % 3 != 0);
                    model.insert(key, item(value));
                }
            }
            prop_assert_eq!(dict.get(&key), Ok(model.get(&key).cloned()));
            prop_assert_eq!(dict.len(), Ok(model.len()));
        }
        prop_assert_eq!(&*dict.lock().unwrap(), &model);
    }

    #[test]
    fn a_list_does_what_its_model_does(
        steps in prop::collection::vec((0_u8..7, 0_usize..30, any::<u8>()), 0..120),
    ) {
        let list = process::List::new().unwrap();
        let mut model = Vec::new();
        for (step, index, value) in steps {
            let (there, len) = (index < model.len(), model.len());
            match step {
                0..2 => {
                    list.push(item(value)).unwrap();
                    model.push(item(value));
                }
                2 => prop_assert_eq!(list.pop(), Ok(model.pop())),
                3 => {
                    prop_assert_eq!(list.insert(index, item(value)).is_ok(), index <= len);
                    if index <= len {
                        model.insert(index, item(value));
                    }
                }
                4 => prop_assert_eq!(list.remove(index).ok(), there.then(|| model.remove(index))),
                5 => {
                    let before = there.then(|| std::mem::replace(&mut model[index], item(value)));
                    prop_assert_eq!(list.set(index, item(value)).ok(), before);
                }
                _ => {
                    list.lock().unwrap().reverse();
                    model.reverse();
                }
            }
            prop_assert_eq!(list.get(index).ok(), model.get(index).cloned());
            prop_assert_eq!(list.len(), Ok(model.len()));
        }
        prop_assert_eq!(list.items(), Ok(model));
    }
}
