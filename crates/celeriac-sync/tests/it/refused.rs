//! What is not as it should be is told, and nobody else is disturbed.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;

use celeriac_sync::SyncError;
use celeriac_sync::process::{
    Array, Dict, LifoQueue, List, Lock, Pipe, PriorityQueue, Queue, pipe,
};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::processes::Other;

/// Where the words of a type begin in its segment, in bytes.
const BODY: u64 = 2048;

/// The address of what is shared, as others see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Address {
    pid: u32,
    descriptor: i32,
    id: u64,
}

fn address(shared: &impl Serialize) -> Address {
    serde_json::from_value(serde_json::to_value(shared).unwrap()).unwrap()
}

/// Its memory, as any process of this user could open it.
fn memory(address: &Address) -> File {
    let path = format!("/proc/{}/fd/{}", address.pid, address.descriptor);
    File::options().read(true).write(true).open(path).unwrap()
}

fn refusal<T: DeserializeOwned>(address: &Address) -> String {
    let opened = serde_json::from_value::<T>(serde_json::to_value(address).unwrap());
    opened.err().expect("it is refused").to_string()
}

#[test]
fn another_type_of_items_is_refused() {
    let queue = address(&Queue::<u32>::bounded(1).unwrap());
    let kept = Queue::<u32>::bounded(1).unwrap();
    let other = address(&kept);
    assert!(refusal::<Queue<u32>>(&queue).contains("has ended it"));
    assert!(refusal::<Queue<String>>(&other).contains("another type"));
    assert!(refusal::<LifoQueue<u32>>(&other).contains("another type"));
    let dict = Dict::<u8, u8>::new().unwrap();
    assert!(refusal::<Dict<u8, u16>>(&address(&dict)).contains("another type"));
    let list = List::<u8>::new().unwrap();
    assert!(refusal::<List<i8>>(&address(&list)).contains("another type"));
    let (end, _there): (Pipe<u8>, _) = pipe().unwrap();
    let ends = serde_json::to_value(&end).unwrap();
    assert!(serde_json::from_value::<Pipe<u16>>(ends.clone()).is_err());
    assert!(serde_json::from_value::<Pipe<u8>>(ends).is_ok());
}

#[test]
fn memory_of_another_version_is_refused_and_so_is_what_was_cut_off() {
    let queue = Queue::<u32>::bounded(1).unwrap();
    let whole = memory(&address(&queue));
    let mut head = vec![0; 8192];
    whole.read_exact_at(&mut head, 0).unwrap();
    let copy = |bytes: &[u8], id: u64| {
        let file = memfd_create("copy", MemfdFlags::ALLOW_SEALING).unwrap();
        let file = File::from(file);
        file.write_all_at(bytes, 0).unwrap();
        file.write_all_at(&id.to_ne_bytes(), 16).unwrap();
        fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
        let (pid, descriptor) = (std::process::id(), file.as_raw_fd());
        (
            file,
            Address {
                pid,
                descriptor,
                id,
            },
        )
    };
    let (_file, cut) = copy(&head, 77);
    assert!(refusal::<Queue<u32>>(&cut).contains("laid out"));
    let (_file, shorter) = copy(&head[..100], 78);
    assert!(refusal::<Queue<u32>>(&shorter).contains("laid out"));
    // Version 2.
    head[6..8].copy_from_slice(&[0, 2]);
    let (_file, newer) = copy(&head, 79);
    assert!(refusal::<Queue<u32>>(&newer).contains("laid out"));
    // It is not disturbed.
    queue.put(1).unwrap();
    assert_eq!(*queue.get().unwrap(), 1);
}

/// What says that it takes so many bytes.
#[derive(Debug)]
struct Claims(usize);

impl Serialize for Claims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&vec![0; self.0])
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom(format_args!(
            "nobody reads {}",
            std::any::type_name_of_val(&deserializer)
        )))
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let queue = Queue::bounded(1).unwrap();
    let refused = queue.put(Claims(1 << 30)).unwrap_err();
    assert_eq!(refused.why, SyncError::TooLarge { most: 1 << 30 });
    assert_eq!(refused.item.0, 1 << 30);
    let most = Queue::<u8>::bounded(1 << 23).unwrap_err();
    assert!(matches!(most, SyncError::TooMany { .. }));
    let dict = Dict::<String, u8>::new().unwrap();
    let (key, too_large) = ("k".repeat(1 << 20), SyncError::TooLarge { most: 1 << 15 });
    assert_eq!(dict.set(key.clone(), 1), Err(too_large));
    assert_eq!(dict.get(key.as_str()), Err(too_large));
    assert_eq!(dict.update(key.clone(), |_| ()), Err(too_large));
    let mut all = dict.lock().unwrap();
    all.insert(key, 1);
    assert_eq!(all.put_back(), Err(too_large));
    assert_eq!(dict.is_empty(), Ok(true));
    // Nothing is in its way.
    let key = "k".repeat(32_000);
    dict.set(key.clone(), 1).unwrap();
    assert_eq!(dict.get(&key), Ok(Some(1)));
}

#[test]
fn what_cannot_be_read_is_told_and_gone() {
    let queue = Queue::bounded(2).unwrap();
    queue.put(Claims(5)).unwrap();
    assert_eq!(queue.try_get().unwrap_err(), SyncError::Encoding);
    assert_eq!(queue.try_get().unwrap_err(), SyncError::Busy);
    assert_eq!(queue.try_join(), Ok(()));
}

/// What a process does that may not have much memory.
pub(crate) fn has_little_memory() {
    let limit = |resource, bytes| {
        let maximum = getrlimit(resource).maximum;
        let current = bytes;
        setrlimit(resource, Rlimit { current, maximum }).unwrap();
    };
    limit(Resource::Fsize, Some(1 << 20));
    assert_eq!(Queue::<u8>::unbounded().unwrap_err(), SyncError::NoMemory);
    assert_eq!(Dict::<u8, u8>::new().unwrap_err(), SyncError::NoMemory);
    let large = Array::new(vec![0_u8; 1 << 21]).unwrap_err();
    assert_eq!(large, SyncError::NoMemory);
    assert!(Lock::new().is_ok());
    limit(Resource::Fsize, getrlimit(Resource::Fsize).maximum);
    limit(Resource::As, Some(2 << 30));
    assert_eq!(List::<u8>::new().unwrap_err(), SyncError::NoMemory);
    limit(Resource::As, getrlimit(Resource::As).maximum);
    assert!(List::<u8>::new().is_ok());
}

#[test]
fn memory_that_a_process_may_not_have_is_told_and_does_not_end_it() {
    Other::start("has little memory", &()).ends_well();
}

/// Numbers without a pattern, the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % below
    }
}

/// Spoils some words of what is shared, none of which is a lock, and uses it.
fn spoil(shared: &impl Serialize, locks: &[u64], words: u64, numbers: &mut Numbers) {
    let memory = memory(&address(shared));
    for _ in 0..3 {
        let word = numbers.next(words);
        if locks.contains(&word) {
            continue;
        }
        let value = match numbers.next(3) {
            0 => u64::from(u32::MAX),
            1 => numbers.next(1 << 10),
            _ => numbers.next(1 << 32),
        };
        let value = u32::try_from(value).unwrap().to_ne_bytes();
        memory.write_all_at(&value, BODY + word * 4).unwrap();
    }
}

#[test]
fn nonsense_that_another_process_writes_is_no_more_than_nonsense() {
    let mut numbers = Numbers(11);
    for _ in 0..10 {
        let queue = Queue::<String>::bounded(4).unwrap();
        let heap = PriorityQueue::<String>::bounded(4).unwrap();
        let (dict, list) = (
            Dict::<u64, String>::new().unwrap(),
            List::<String>::new().unwrap(),
        );
        for turn in 0..6 {
            let text = "text ".repeat(1 + 30 * turn);
            // What comes of it is nobody's business, but it ends.
            let _ = queue.try_put(text.clone());
            let _ = heap.try_put(text.clone());
            let _ = dict.set(numbers.next(5), text.clone());
            let _ = list.push(text);
            spoil(&queue, &[0, 16], 400, &mut numbers);
            spoil(&heap, &[0, 16], 400, &mut numbers);
            spoil(&dict, &[0], 40, &mut numbers);
            spoil(&list, &[0], 40, &mut numbers);
            let _ = (queue.len(), heap.len(), dict.len(), list.len());
            if let Ok(item) = queue.try_get() {
                item.give_back();
            }
            let _ = (queue.try_get().is_ok(), heap.try_get().is_ok());
            let _ = (dict.items(), list.pop(), list.items());
            let _ = (dict.remove(&numbers.next(5)), queue.try_join());
        }
    }
}
