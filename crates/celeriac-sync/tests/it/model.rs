//! Queues and semaphores beside a model that has no threads.

use std::collections::VecDeque;

use celeriac_sync::thread::{BoundedSemaphore, Queue};
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

proptest! {
    #[test]
    fn a_queue_does_what_its_model_does(
        capacity in 1_usize..5,
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let queue = Queue::bounded(capacity);
        let (mut model, mut got, mut closed) = (VecDeque::new(), Vec::new(), false);
        for step in steps {
            match step {
                Step::Put(item) => {
                    let fits = !closed && model.len() < capacity;
                    prop_assert_eq!(queue.try_put(item).is_ok(), fits);
                    if fits {
                        model.push_back(item);
                    }
                }
                Step::Get => {
                    let item = queue.try_get().ok();
                    prop_assert_eq!(item.as_deref().copied(), model.pop_front());
                    got.extend(item);
                }
                Step::GiveBack => {
                    if let Some(item) = got.pop() {
                        model.push_front(*item);
                        item.give_back();
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
}
