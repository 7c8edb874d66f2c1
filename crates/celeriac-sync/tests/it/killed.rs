//! Processes are killed and stopped at whatever moment, and a ledger is kept.
//!
//! Nothing is lost, and nothing comes twice but what a process had got that was killed.

use std::thread;
use std::time::{Duration, Instant};

use celeriac_sync::process::{
    Array, Dict, Event, List, Lock, PriorityQueue, Queue, Semaphore, pipe,
};
use celeriac_sync::{SyncError, process};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::processes::{LONG, Other, say, shared};

/// What goes through the queues: some small, some not, and none could be half of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Parcel {
    from: u32,
    number: u32,
    content: String,
}

impl Parcel {
    fn new(from: u32, number: u32) -> Self {
        let word = format!("{from}/{number} ");
        let times = match number % 16 {
            0 => 10_000,
            1 | 2 => 50,
            _ => 2,
        };
        Self {
            from,
            number,
            content: word.repeat(times),
        }
    }

    fn is_whole(&self) -> bool {
        *self == Self::new(self.from, self.number)
    }
}

/// An amount, of which a half could be told from the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    amount: i64,
    written: String,
}

impl Account {
    fn new(amount: i64) -> Self {
        let written = format!("{amount}, ").repeat(20);
        Self { amount, written }
    }

    fn give(&mut self, more: i64) {
        *self = Self::new(self.amount + more);
    }

    fn is_whole(&self) -> bool {
        *self == Self::new(self.amount)
    }
}

/// Other moments each time, spread evenly.
struct Moments(u32);

impl Moments {
    fn next(&mut self, most: Duration) -> Duration {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        most * (self.0 >> 20) / (1 << 12)
    }
}

/// What the other process does.
pub(crate) fn plays(role: &str) {
    match role {
        "puts parcels until it is killed" => {
            let (queue, from): (Queue<Parcel>, u32) = shared();
            say("there");
            for number in 0.. {
                queue.put(Parcel::new(from, number)).unwrap();
            }
        }
        "takes what is least until it is killed" => {
            let (queue, lock, counts): (PriorityQueue<Parcel>, Lock, Array<u32>) = shared();
            say("there");
            for item in queue.iter() {
                count(&item, &lock, &counts);
            }
        }
        "takes parcels until it is killed" => {
            let (queue, lock, counts): (Queue<Parcel>, Lock, Array<u32>) = shared();
            say("there");
            for item in queue.iter() {
                count(&item, &lock, &counts);
            }
        }
        "gets one and keeps it" => {
            let queue: Queue<Parcel> = shared();
            let item = queue.get().unwrap();
            say(&item.number.to_string());
            thread::park();
        }
        "moves between accounts until it is killed" => {
            let (accounts, log): (Dict<String, Account>, List<Account>) = shared();
            say("there");
            for turn in 0.. {
                let mut all = accounts.lock().unwrap();
                for (name, more) in [(turn % 5, -1), ((turn * 7 + 1) % 5, 1)] {
                    all.get_mut(&name.to_string()).unwrap().give(more);
                }
                all.put_back().unwrap();
                let add = |account: &mut Option<Account>| account.as_mut().unwrap().give(2);
                accounts.update("even".to_owned(), add).unwrap();
                log.insert(0, Account::new(i64::from(turn))).unwrap();
                if turn % 3 != 0 {
                    log.pop().unwrap();
                }
            }
        }
        "takes permits until it is killed" => {
            let (semaphore, most): (Semaphore, usize) = shared();
            say("there");
            loop {
                let _one = semaphore.acquire().unwrap();
                let _other = semaphore.try_acquire();
                assert!(semaphore.value() < most);
            }
        }
        "has an end of a pipe" => {
            let (there, go): (process::Pipe<String>, Event) = shared();
            say("there");
            go.wait().unwrap();
            let word = there.recv().unwrap();
            there.send(word + "!").unwrap();
            thread::park();
        }
        other => panic!("there is no role {other:?}"),
    }
}

fn count(item: &Parcel, lock: &Lock, counts: &Array<u32>) {
    assert!(item.is_whole());
    let place = item.number as usize;
    let _held = lock.lock().unwrap();
    let before = counts.get(place).unwrap();
    counts.set(place, before + 1).unwrap();
}

/// Kills two takers at a time while there is something to take, `rounds` times, and stops others for a
/// while; then takes the rest. All was counted, and no more often than takers were killed.
macro_rules! takers_are_killed {
    ($queue:expr, $role:literal, $rounds:expr, $items:expr) => {
        let (queue, lock) = ($queue, Lock::new().unwrap());
        let counts = Array::new(vec![0_u32; $items as usize]).unwrap();
        let shared = (&queue, &lock, &counts);
        let mut moments = Moments($items);
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..$items {
                    queue.put(Parcel::new(0, number)).unwrap();
                }
            });
            let mut stays = Other::start($role, &shared);
            assert_eq!(stays.said(), "there");
            for _ in 0..$rounds {
                let mut others = [0, 1].map(|_| Other::start($role, &shared));
                for other in &mut others {
                    other.said();
                }
                stays.signal(Signal::STOP);
                thread::sleep(moments.next(Duration::from_millis(5)));
                others[0].signal(Signal::STOP);
                others.iter_mut().for_each(Other::kill);
                stays.signal(Signal::CONT);
            }
            while let Ok(item) = queue.get_for(Duration::from_millis(500)) {
                count(&item, &lock, &counts);
            }
            queue.join_for(LONG).unwrap();
            queue.close();
            stays.ends_well();
        });
        let counts = counts.lock().unwrap();
        assert_eq!(counts.iter().position(|count| *count == 0), None, "lost");
        let twice: u32 = counts.iter().map(|count| count - 1).sum();
        assert!(twice <= 2 * $rounds, "{twice} came twice");
    };
}

#[test]
fn no_item_is_lost_over_a_hundred_kills_of_those_who_get() {
    let queue = Queue::bounded(50).unwrap();
    takers_are_killed!(queue, "takes parcels until it is killed", 50, 60_000);
}

#[test]
fn no_item_of_a_heap_is_lost_whatever_moment_those_who_get_are_killed_in() {
    let queue = PriorityQueue::bounded(50).unwrap();
    takers_are_killed!(queue, "takes what is least until it is killed", 10, 6000);
}

#[test]
fn what_comes_of_a_killed_process_is_all_it_put_in_its_order() {
    let queue = Queue::<Parcel>::bounded(20).unwrap();
    let mut moments = Moments(1);
    for round in 0..50 {
        let role = "puts parcels until it is killed";
        let mut others = [0, 1].map(|from| Other::start(role, &(&queue, 2 * round + from)));
        for other in &mut others {
            other.said();
        }
        let mut next = [0, 0];
        let mut check = |item: &Parcel| {
            assert!(item.is_whole());
            let place = item.from.checked_sub(2 * round).unwrap() as usize;
            assert_eq!(item.number, next[place], "of {}", item.from);
            next[place] += 1;
        };
        let until = Instant::now() + moments.next(Duration::from_millis(5));
        while Instant::now() < until {
            if let Ok(item) = queue.get_for(LONG) {
                check(&item);
            }
        }
        others.iter_mut().for_each(Other::kill);
        while let Ok(item) = queue.get_for(Duration::from_millis(60)) {
            check(&item);
        }
        assert_eq!(queue.try_join(), Ok(()));
    }
}

#[test]
fn what_a_killed_process_had_got_is_the_next_to_be_got() {
    let queue = Queue::bounded(10).unwrap();
    for number in 0..4 {
        queue.put(Parcel::new(0, number)).unwrap();
    }
    let mut other = Other::start("gets one and keeps it", &queue);
    assert_eq!(other.said(), "0");
    assert_eq!((queue.len(), queue.try_join()), (3, Err(SyncError::Busy)));
    other.kill();
    // Whoever gets something sees to it now and then, also if it never waits.
    thread::sleep(Duration::from_millis(120));
    let first = queue.get_for(LONG).unwrap().into_inner();
    let rest: Vec<_> = (0..3)
        .map(|_| queue.get_for(LONG).unwrap().number)
        .collect();
    let mut all = vec![first.number];
    all.extend(rest);
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3]);
    assert_eq!(queue.try_join(), Ok(()));
}

#[test]
fn permits_are_conserved_over_a_hundred_kills() {
    let semaphore = Semaphore::new(3).unwrap();
    let mut moments = Moments(7);
    for _ in 0..50 {
        let role = "takes permits until it is killed";
        let mut others = [0, 1].map(|_| Other::start(role, &(&semaphore, 3)));
        for other in &mut others {
            other.said();
        }
        thread::sleep(moments.next(Duration::from_millis(3)));
        others.iter_mut().for_each(Other::kill);
        let all: Vec<_> = (0..3)
            .map(|_| semaphore.acquire_for(LONG).unwrap())
            .collect();
        assert_eq!(semaphore.try_acquire().unwrap_err(), SyncError::Busy);
        drop(all);
        assert_eq!(semaphore.value(), 3);
    }
}

#[test]
fn a_pipe_ends_with_the_last_process_that_has_its_other_end() {
    let (here, there) = pipe().unwrap();
    let go = Event::new().unwrap();
    let mut other = Other::start("has an end of a pipe", &(&there, &go));
    assert_eq!(other.said(), "there");
    // The other process has it still.
    drop(there);
    here.send("word".to_owned()).unwrap();
    go.set();
    assert_eq!(here.recv_for(LONG).unwrap(), "word!");
    assert_eq!(here.try_recv(), Err(SyncError::Busy));
    thread::scope(|scope| {
        let waits = scope.spawn(|| here.recv_for(LONG));
        other.kill();
        assert_eq!(waits.join().unwrap(), Err(SyncError::Closed));
    });
    let refused = here.send("more".to_owned()).unwrap_err();
    assert_eq!(refused.why, SyncError::Closed);
}

#[test]
fn a_change_of_a_table_is_whole_whatever_moment_its_process_is_killed_in() {
    let accounts = Dict::<String, Account>::new().unwrap();
    let log = List::<Account>::new().unwrap();
    for name in 0..5 {
        accounts.set(name.to_string(), Account::new(100)).unwrap();
    }
    accounts.set("even".to_owned(), Account::new(0)).unwrap();
    let mut moments = Moments(3);
    for _ in 0..50 {
        let role = "moves between accounts until it is killed";
        let mut others = [0, 1].map(|_| Other::start(role, &(&accounts, &log)));
        for other in &mut others {
            other.said();
        }
        thread::sleep(moments.next(Duration::from_millis(5)));
        others.iter_mut().for_each(Other::kill);
        let all = accounts.lock_for(LONG).unwrap();
        assert!(all.values().all(Account::is_whole));
        let sum: i64 = (0..5).map(|name: i32| all[&name.to_string()].amount).sum();
        assert_eq!((sum, all["even"].amount % 2), (500, 0));
        drop(all);
        assert!(log.items().unwrap().iter().all(Account::is_whole));
        // What the killed had prepared is not in the way.
        log.push(Account::new(-1)).unwrap();
        accounts.set("new".to_owned(), Account::new(1)).unwrap();
        assert_eq!(accounts.remove("new"), Ok(Some(Account::new(1))));
    }
}
