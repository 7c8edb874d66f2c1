//! What there is when memory runs out, and that nothing else is used than was asked for.
//!
//! The memory of segments has no file system that could be full: the system refuses it where it counts what
//! it promises (`vm.overcommit_memory` is 2), which a test cannot have. So here [`take`] refuses it, for the
//! segments of one thread.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;

use super::{
    Array, Barrier, BoundedSemaphore, Condition, Dict, Event, LifoQueue, List, Lock, PriorityQueue,
    Queue, RLock, Semaphore, Value, pipe,
};
use crate::SyncError;

const PAGE: u64 = 4096;

/// The pages of a file that were asked for.
type Asked = (File, BTreeSet<u64>);

thread_local! {
    /// How many more bytes there are.
    static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
    static ASKED: RefCell<HashMap<u64, Asked>> = RefCell::default();
}

/// The pages that a range of bytes touches.
fn touched(start: u64, len: u64) -> Range<u64> {
    start / PAGE..(start + len).div_ceil(PAGE)
}

/// Is told that memory is asked for, and refuses it if there is none left.
pub(super) fn take(file: &File, start: u64, len: u64) -> io::Result<()> {
    let left = LEFT.get().checked_sub(len);
    LEFT.set(left.ok_or(io::ErrorKind::StorageFull)?);
    ASKED.with_borrow_mut(|asked| {
        let known = asked.entry(file.metadata()?.ino());
        let (_, pages) = known.or_insert((file.try_clone()?, BTreeSet::new()));
        pages.extend(touched(start, len));
        Ok(())
    })
}

/// Is told that memory is given back.
pub(super) fn give_back(file: &File, start: u64, len: u64) {
    let whole = start.div_ceil(PAGE)..(start + len) / PAGE;
    ASKED.with_borrow_mut(|asked| {
        let known = file
            .metadata()
            .ok()
            .and_then(|file| asked.get_mut(&file.ino()));
        if let Some((_, pages)) = known {
            pages.retain(|page| !whole.contains(page));
        }
    });
}

/// That no segment of this thread has a page which nobody has asked for: one that was only used.
fn all_was_asked_for() {
    ASKED.with_borrow(|asked| {
        assert!(!asked.is_empty());
        for (file, pages) in asked.values() {
            let has = file.metadata().unwrap().blocks() * 512 / PAGE;
            assert_eq!(has, pages.len() as u64);
        }
    });
}

/// So much memory is left for what follows.
fn leave(bytes: u64) {
    LEFT.set(bytes);
}

fn item(number: u32) -> String {
    number.to_string().repeat(number as usize % 300)
}

#[test]
fn nothing_is_used_that_was_not_asked_for() {
    let (queue, stack, heap) = (
        Queue::unbounded().unwrap(),
        LifoQueue::unbounded().unwrap(),
        PriorityQueue::unbounded().unwrap(),
    );
    let (dict, list) = (Dict::new().unwrap(), List::new().unwrap());
    let (here, there) = pipe().unwrap();
    for number in 0..2000 {
        queue.put(item(number)).unwrap();
        stack.put(item(number)).unwrap();
        heap.put(item(number)).unwrap();
        dict.set(number, item(number)).unwrap();
        list.push(item(number)).unwrap();
        if number % 2 == 0 {
            here.send(item(number)).unwrap();
        }
    }
    all_was_asked_for();
    // More than what is kept for the next items.
    queue.put("x".repeat(40 << 20)).unwrap();
    for _ in 0..2001 {
        queue.get().unwrap().task_done();
    }
    queue.put(item(1)).unwrap();
    assert_eq!(there.recv().unwrap(), item(0));
    let array = Array::new(vec![7_u64; 100_000]).unwrap();
    array.set(99_999, 8).unwrap();
    Value::new([1_u64; 16]).unwrap().set([2; 16]).unwrap();
    drop(Lock::new().unwrap().lock().unwrap());
    drop(RLock::new().unwrap().lock().unwrap());
    drop(Semaphore::new(3).unwrap().acquire().unwrap());
    drop(BoundedSemaphore::new(3).unwrap().acquire().unwrap());
    Event::new().unwrap().set();
    Condition::new().unwrap().notify_all();
    Barrier::new(1).unwrap().wait().unwrap();
    all_was_asked_for();
}

#[test]
fn what_there_is_no_memory_for_is_not_made() {
    // Whatever is missing: all of it, or what a type asks for after its beginning.
    for left in [0, 1, 4 * PAGE] {
        leave(left);
        let refused = Some(SyncError::NoMemory);
        assert_eq!(Array::new(vec![0_u64; 10_000]).err(), refused);
        assert_eq!(Queue::<u64>::unbounded().err(), refused);
        assert_eq!(PriorityQueue::<u64>::unbounded().err(), refused);
        if left < PAGE {
            assert_eq!(Lock::new().err(), refused);
            assert_eq!(Value::new(1_u64).err(), refused);
            assert_eq!(Dict::<u8, u8>::new().err(), refused);
            assert_eq!(List::<u8>::new().err(), refused);
            assert_eq!(pipe::<u8>().err(), refused);
        }
    }
    leave(u64::MAX);
    assert!(Lock::new().is_ok() && pipe::<u8>().is_ok());
}

#[test]
fn a_queue_that_cannot_grow_keeps_what_it_has_and_others_go_on() {
    let queue = Queue::unbounded().unwrap();
    queue.put(item(299)).unwrap();
    for step in 0..8 {
        leave(step * 16 * PAGE);
        let mut put = vec![item(299)];
        let refused = loop {
            let next = item(u32::try_from(put.len()).unwrap());
            match queue.put(next.clone()) {
                Ok(()) => put.push(next),
                Err(refused) => {
                    assert_eq!(refused.item, next);
                    break refused.why;
                }
            }
        };
        assert_eq!(refused, SyncError::NoMemory);
        // Where memory is not short the same queue takes more, and gives all in its order.
        let other = queue.clone();
        let more = std::thread::spawn(move || other.put(item(7)));
        more.join().unwrap().unwrap();
        put.push(item(7));
        for item in put {
            assert_eq!(*queue.get().unwrap(), item);
        }
        assert_eq!(queue.try_join(), Ok(()));
        queue.put(item(299)).unwrap();
    }
}

#[test]
fn tables_that_cannot_grow_keep_what_they_have() {
    let (dict, list) = (Dict::new().unwrap(), List::new().unwrap());
    let mut known = 0;
    for step in 0..8 {
        leave(step * 32 * PAGE);
        let refused = loop {
            if let Err(why) = dict.set(known, item(known)) {
                break why;
            }
            if let Err(why) = list.push(item(known)) {
                dict.remove(&known).unwrap();
                break why;
            }
            known += 1;
        };
        assert_eq!(refused, SyncError::NoMemory);
        all_was_asked_for();
        assert_eq!(dict.len(), Ok(known as usize));
        assert_eq!(list.items(), Ok((0..known).map(item).collect()));
        assert!((0..known).all(|key| dict.get(&key) == Ok(Some(item(key)))));
    }
    leave(u64::MAX);
    dict.set(known, item(known)).unwrap();
    list.push(item(known)).unwrap();
}
