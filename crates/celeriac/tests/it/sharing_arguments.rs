//! What processes or machines share can be the argument of a task: who runs the task has the same object.

use std::time::Duration;

use celeriac::canvas::Sendable;
use celeriac::prelude::*;
use celeriac::sync::cluster::Cluster;
use celeriac::{LocalWorker, Result};
use celeriac_testkit::peers::redis_url;
use tokio::runtime::Runtime;

/// Longer than anything here takes unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many items two calls share.
const ITEMS: u64 = 300;

/// An app for tests that wait with their own thread, as blocking forms do.
struct Blocking {
    runtime: Runtime,
    app: App,
    worker: Option<LocalWorker>,
}

impl Blocking {
    /// Opens a place; with a worker on `pool` if that is a broker.
    fn open(place: &str, pool: Option<&str>) -> Self {
        let runtime = Runtime::new().unwrap();
        let (app, worker) = runtime.block_on(async {
            let app = App::on(place).await.unwrap();
            let worker = match pool {
                Some(pool) => Some(app.start_worker(pool).await.unwrap()),
                None => None,
            };
            (app, worker)
        });
        Self {
            runtime,
            app,
            worker,
        }
    }

    fn send<C: Sendable>(&self, call: C) -> C::Handle {
        self.runtime.block_on(self.app.send(call)).unwrap()
    }

    fn stop(self) -> Result<()> {
        let Some(worker) = self.worker else {
            return Ok(());
        };
        self.runtime.block_on(worker.stop()).map(drop)
    }
}

/// Writes a module for a scope: its types as arguments, tasks that take them, and what their sender sees.
/// What is done there with `$done` fails in one scope and cannot in the other.
macro_rules! arguments {
    ($scope:ident, $done:expr, $new:ident, $bounded:ident, $unbounded:ident, $pipe:ident
        $(, $place:ident: $type:ty)?) => {
        mod $scope {
            use celeriac::sync::SyncError;
            use celeriac::sync::$scope::*;
            use serde::{Deserialize, Serialize};

            use super::{Blocking, ITEMS, PATIENCE};

            /// One of each type.
            #[derive(Serialize, Deserialize)]
            struct Each {
                lock: Lock,
                rlock: RLock,
                semaphore: Semaphore,
                bounded: BoundedSemaphore,
                event: Event,
                condition: Condition,
                barrier: Barrier,
                value: Value<u64>,
                array: Array<u32>,
                dict: Dict<String, u32>,
                list: List<String>,
                queue: Queue<u32>,
                newest_first: LifoQueue<u32>,
                least_first: PriorityQueue<u32>,
                pipe: Pipe<String>,
            }

            impl Each {
                /// With the other end of its pipe.
                fn new($($place: $type)?) -> Result<(Self, Pipe<String>), SyncError> {
                    let (pipe, other) = $pipe($($place)?)?;
                    let each = Self {
                        lock: Lock::$new($($place)?)?,
                        rlock: RLock::$new($($place)?)?,
                        semaphore: Semaphore::$new($($place,)? 1)?,
                        bounded: BoundedSemaphore::$new($($place,)? 1)?,
                        event: Event::$new($($place)?)?,
                        condition: Condition::$new($($place)?)?,
                        barrier: Barrier::$new($($place,)? 2)?,
                        value: Value::$new($($place,)? 0)?,
                        array: Array::$new($($place,)? [0, 0])?,
                        dict: Dict::$new($($place)?)?,
                        list: List::$new($($place)?)?,
                        queue: Queue::$unbounded($($place)?)?,
                        newest_first: LifoQueue::$unbounded($($place)?)?,
                        least_first: PriorityQueue::$unbounded($($place)?)?,
                        pipe,
                    };
                    Ok((each, other))
                }

                fn copy(&self) -> Self {
                    Self {
                        lock: self.lock.clone(),
                        rlock: self.rlock.clone(),
                        semaphore: self.semaphore.clone(),
                        bounded: self.bounded.clone(),
                        event: self.event.clone(),
                        condition: self.condition.clone(),
                        barrier: self.barrier.clone(),
                        value: self.value.clone(),
                        array: self.array.clone(),
                        dict: self.dict.clone(),
                        list: self.list.clone(),
                        queue: self.queue.clone(),
                        newest_first: self.newest_first.clone(),
                        least_first: self.least_first.clone(),
                        pipe: self.pipe.clone(),
                    }
                }
            }

            /// Tells its sender something by each, and whether both locks are held by that.
            #[celeriac::task]
            fn touch(each: Each) -> Result<bool, SyncError> {
                let busy = each.lock.try_lock().is_err() && each.rlock.try_lock().is_err();
                each.semaphore.try_acquire()?.forget();
                each.bounded.try_acquire()?.forget();
                $done(each.event.set())?;
                each.barrier.wait_for(PATIENCE)?;
                each.array.set(1, 7)?;
                each.dict.set("three".to_owned(), 3)?;
                each.list.push("word".to_owned())?;
                for item in [2, 1] {
                    each.queue.put(item)?;
                    each.newest_first.put(item)?;
                    each.least_first.put(item)?;
                }
                let word = each.pipe.recv_for(PATIENCE)?;
                each.pipe.send(format!("{word}!"))?;
                let mut value = each.value.lock_for(PATIENCE)?;
                *value += 1;
                drop(value);
                $done(each.condition.notify_all())?;
                Ok(busy)
            }

            /// Adds up what it gets until the queue is closed. Without the lock, sums would be lost.
            #[celeriac::task]
            fn sum_up(queue: Queue<u64>, lock: Lock, total: Value<u64>) -> Result<u64, SyncError> {
                let mut count = 0;
                while let Ok(item) = queue.get_for(PATIENCE) {
                    let held = lock.lock_for(PATIENCE)?;
                    let before = total.get()?;
                    total.set(before + *item)?;
                    drop(held);
                    item.task_done();
                    count += 1;
                }
                Ok(count)
            }

            /// A call has the same object, whatever its type.
            pub(super) fn each_is_the_same(app: &Blocking $(, $place: $type)?) {
                let (each, other) = Each::new($($place)?).unwrap();
                let held = (each.lock.lock().unwrap(), each.rlock.lock().unwrap());
                let mut call = app.send(touch::call(each.copy()));
                each.event.wait_for(PATIENCE).unwrap();
                each.barrier.wait_for(PATIENCE).unwrap();
                drop(held);
                let mut value = each.value.lock_for(PATIENCE).unwrap();
                other.send("word".to_owned()).unwrap();
                while *value == 0 {
                    let (next, notified) = each.condition.wait_for(value, PATIENCE).unwrap();
                    assert!(notified);
                    value = next;
                }
                drop(value);
                assert_eq!(other.recv_for(PATIENCE).unwrap(), "word!");
                assert!(call.wait().unwrap());
                assert_eq!(each.semaphore.try_acquire().unwrap_err(), SyncError::Busy);
                assert_eq!(each.bounded.try_acquire().unwrap_err(), SyncError::Busy);
                assert_eq!(each.array.get(1), Ok(7));
                assert_eq!(each.dict.get("three"), Ok(Some(3)));
                assert_eq!(each.list.items(), Ok(vec!["word".to_owned()]));
                assert_eq!(*each.queue.try_get().unwrap(), 2);
                assert_eq!(*each.newest_first.try_get().unwrap(), 1);
                assert_eq!(*each.least_first.try_get().unwrap(), 1);
            }

            /// Two calls get what their sender puts, each item once, and one at a time has the lock.
            pub(super) fn sums_are_exact(app: &Blocking $(, $place: $type)?) {
                let queue = Queue::$bounded($($place,)? 16).unwrap();
                let lock = Lock::$new($($place)?).unwrap();
                let total = Value::$new($($place,)? 0).unwrap();
                let call = || sum_up::call(queue.clone(), lock.clone(), total.clone());
                let mut calls = [app.send(call()), app.send(call())];
                for item in 1..=ITEMS {
                    queue.put_for(item, PATIENCE).unwrap();
                }
                $done(queue.close()).unwrap();
                let counts: u64 = calls.iter_mut().map(|call| call.wait().unwrap()).sum();
                assert_eq!(counts, ITEMS);
                assert_eq!(total.get(), Ok(ITEMS * (ITEMS + 1) / 2));
                assert_eq!(queue.try_join(), Ok(()));
            }
        }
    };
}

arguments!(process, Ok::<(), SyncError>, new, bounded, unbounded, pipe);
arguments!(
    cluster,
    std::convert::identity,
    new_in,
    bounded_in,
    unbounded_in,
    pipe_in,
    place: &Cluster
);

/// Both behaviours, for calls in children of a pool or of a worker.
fn processes_share(app: Blocking) {
    process::each_is_the_same(&app);
    process::sums_are_exact(&app);
    app.stop().unwrap();
}

/// The same of what is at a place.
fn machines_share(app: Blocking, place: &str) {
    let place = Cluster::connect(place).unwrap();
    cluster::each_is_the_same(&app, &place);
    cluster::sums_are_exact(&app, &place);
    app.stop().unwrap();
}

/// The address of something in a folder.
fn in_folder(folder: &tempfile::TempDir, file: &str) -> String {
    format!("sqlite:{}", folder.path().join(file).display())
}

#[test]
fn children_of_a_pool_have_what_processes_share() {
    processes_share(Blocking::open("processes=2", None));
}

#[test]
fn children_of_a_worker_have_what_processes_share() {
    let folder = tempfile::tempdir().unwrap();
    let broker = in_folder(&folder, "jobs.db");
    processes_share(Blocking::open(&broker, Some("processes=2")));
}

#[test]
fn children_of_a_pool_have_what_machines_share() {
    let folder = tempfile::tempdir().unwrap();
    let place = in_folder(&folder, "shared.db");
    machines_share(Blocking::open("processes=2", None), &place);
}

#[test]
fn children_of_a_worker_have_what_machines_share_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let broker = in_folder(&folder, "jobs.db");
    let place = in_folder(&folder, "shared.db");
    machines_share(Blocking::open(&broker, Some("processes=2")), &place);
}

#[test]
fn children_of_a_worker_have_what_machines_share_in_redis() {
    let folder = tempfile::tempdir().unwrap();
    let broker = in_folder(&folder, "jobs.db");
    machines_share(Blocking::open(&broker, Some("processes=2")), &redis_url());
}

#[test]
fn threads_of_a_worker_have_what_is_in_the_memory_of_their_process() {
    let folder = tempfile::tempdir().unwrap();
    let broker = in_folder(&folder, "jobs.db");
    let app = Blocking::open(&broker, Some("threads=2"));
    machines_share(app, "memory:arguments");
}
