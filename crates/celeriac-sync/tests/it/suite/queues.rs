//! Queues and pipes.

macro_rules! queues {
    () => {
        mod queues {
            use std::sync::atomic::{AtomicUsize, Ordering};
            use std::thread;
            use std::time::Duration;

            use celeriac_sync::SyncError;

            use super::made;
            use super::scope::{LifoQueue, PriorityQueue, Queue, pipe};

            const SHORT: Duration = Duration::from_millis(20);
            const LONG: Duration = Duration::from_secs(20);

            #[test]
            fn each_item_is_got_once_whoever_puts_and_gets() {
                let queue = made(Queue::bounded(7));
                let (count, sum) = (AtomicUsize::new(0), AtomicUsize::new(0));
                thread::scope(|scope| {
                    for _ in 0..3 {
                        scope.spawn(|| {
                            for item in queue.iter() {
                                count.fetch_add(1, Ordering::Relaxed);
                                sum.fetch_add(*item, Ordering::Relaxed);
                            }
                        });
                    }
                    let puts: Vec<_> = (0..3)
                        .map(|_| {
                            scope.spawn(|| (1..=1000).for_each(|item| queue.put(item).unwrap()))
                        })
                        .collect();
                    for put in puts {
                        put.join().unwrap();
                    }
                    queue.close();
                });
                assert_eq!((count.into_inner(), sum.into_inner()), (3000, 1_501_500));
                assert_eq!(queue.join_for(LONG), Ok(()));
            }

            #[test]
            fn three_orders() {
                let (first, last, least) = (
                    made(Queue::unbounded()),
                    made(LifoQueue::unbounded()),
                    made(PriorityQueue::unbounded()),
                );
                for item in [2, 3, 1] {
                    first.put(item).unwrap();
                    last.put(item).unwrap();
                    least.put(item).unwrap();
                }
                let all =
                    |get: &dyn Fn() -> Option<i32>| std::iter::from_fn(get).collect::<Vec<_>>();
                assert_eq!(all(&|| first.try_get().ok().map(|it| *it)), [2, 3, 1]);
                assert_eq!(all(&|| last.try_get().ok().map(|it| *it)), [1, 3, 2]);
                assert_eq!(all(&|| least.try_get().ok().map(|it| *it)), [1, 2, 3]);
            }

            #[test]
            fn a_full_queue_gives_the_item_back_and_an_empty_one_says_so() {
                let queue = made(Queue::bounded(1));
                queue.put("a".to_owned()).unwrap();
                assert_eq!((queue.len(), queue.capacity()), (1, Some(1)));
                let refused = queue.try_put("b".to_owned()).unwrap_err();
                assert_eq!((refused.item.as_str(), refused.why), ("b", SyncError::Busy));
                let refused = queue.put_for("b".to_owned(), SHORT).unwrap_err();
                assert_eq!(
                    (refused.item.as_str(), refused.why),
                    ("b", SyncError::Timeout)
                );
                assert_eq!(*queue.get().unwrap(), "a");
                assert_eq!(queue.try_get().unwrap_err(), SyncError::Busy);
                assert_eq!(queue.get_for(SHORT).unwrap_err(), SyncError::Timeout);
            }

            #[test]
            fn a_closed_queue_takes_nothing_and_gives_what_it_has() {
                let queue = made(Queue::bounded(1));
                queue.put(1).unwrap();
                thread::scope(|scope| {
                    let waits = scope.spawn(|| queue.put(2));
                    thread::sleep(SHORT);
                    queue.close();
                    assert_eq!(waits.join().unwrap().unwrap_err().why, SyncError::Closed);
                });
                assert_eq!(*queue.get().unwrap(), 1);
                assert_eq!(queue.get().unwrap_err(), SyncError::Closed);
                assert_eq!(queue.put(3).unwrap_err().why, SyncError::Closed);
            }

            #[test]
            fn join_waits_for_what_was_got_to_be_finished() {
                let queue = made(Queue::unbounded());
                queue.put(1).unwrap();
                let item = queue.get().unwrap();
                assert_eq!(queue.try_join(), Err(SyncError::Busy));
                assert_eq!(queue.join_for(SHORT), Err(SyncError::Timeout));
                thread::scope(|scope| {
                    let joins = scope.spawn(|| queue.join_for(LONG));
                    item.task_done();
                    assert_eq!(joins.join().unwrap(), Ok(()));
                });
            }

            #[test]
            fn an_item_that_was_not_finished_is_the_next_to_be_got() {
                let queue = made(Queue::unbounded());
                for item in 1..=3 {
                    queue.put(item).unwrap();
                }
                let dies = || {
                    let _item = queue.get().unwrap();
                    panic!("as expected");
                };
                thread::scope(|scope| assert!(scope.spawn(dies).join().is_err()));
                queue.get().unwrap().give_back();
                let items: Vec<_> = (0..3).map(|_| queue.get().unwrap().into_inner()).collect();
                assert_eq!(items, [1, 2, 3]);
                assert_eq!(queue.try_join(), Ok(()));
            }

            #[test]
            fn coroutines_put_and_get_and_may_stop_waiting() {
                let queue = made(Queue::bounded(1));
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    queue.put_async(1).await.unwrap();
                    let mut put = Box::pin(queue.put_async(2));
                    assert!(futures_util::poll!(&mut put).is_pending());
                    drop(put);
                    assert_eq!(*queue.get_async().await.unwrap(), 1);
                    let mut first = Box::pin(queue.get_async());
                    assert!(futures_util::poll!(&mut first).is_pending());
                    let second = queue.get_async();
                    let puts = async {
                        queue.put_async(3).await.unwrap();
                        drop(first);
                    };
                    let (got, ()) = futures_util::join!(second, puts);
                    assert_eq!(*got.unwrap(), 3);
                });
            }

            #[test]
            fn a_pipe_has_two_ends_and_closing_one_ends_the_other() {
                let (here, there) = made(pipe());
                thread::scope(|scope| {
                    scope.spawn(move || {
                        while let Ok(word) = there.recv() {
                            there.send(format!("{word}!")).unwrap();
                        }
                    });
                    for word in ["a", "b"] {
                        here.send(word.to_owned()).unwrap();
                        assert_eq!(here.recv_for(LONG).unwrap(), format!("{word}!"));
                    }
                    assert_eq!(here.try_recv(), Err(SyncError::Busy));
                    drop(here);
                });
                let (here, there) = made(pipe());
                there.send(1).unwrap();
                drop(there);
                assert_eq!(here.recv(), Ok(1));
                assert_eq!(here.recv(), Err(SyncError::Closed));
                assert_eq!(here.send(2).unwrap_err().why, SyncError::Closed);
            }
        }
    };
}
pub(crate) use queues;
