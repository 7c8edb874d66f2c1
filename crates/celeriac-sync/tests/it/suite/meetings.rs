//! Events, conditions and barriers.

macro_rules! meetings {
    () => {
        mod meetings {
            use std::thread;
            use std::time::Duration;

            use celeriac_sync::SyncError;

            use super::made;
            use super::scope::{Barrier, Condition, Event, Value};

            const SHORT: Duration = Duration::from_millis(20);
            const LONG: Duration = Duration::from_secs(20);

            #[test]
            fn an_event_lets_all_go_on_until_it_is_cleared() {
                let go = made(Event::new());
                assert_eq!(go.try_wait(), Err(SyncError::Busy));
                assert_eq!(go.wait_for(SHORT), Err(SyncError::Timeout));
                thread::scope(|scope| {
                    let waiting: Vec<_> =
                        (0..4).map(|_| scope.spawn(|| go.wait_for(LONG))).collect();
                    thread::sleep(SHORT);
                    go.set();
                    for waits in waiting {
                        assert_eq!(waits.join().unwrap(), Ok(()));
                    }
                });
                assert!(go.is_set() && go.wait().is_ok());
                go.clear();
                assert_eq!(go.try_wait(), Err(SyncError::Busy));
            }

            #[test]
            fn withdrawals_wait_for_deposits_and_the_balance_is_never_negative() {
                let (balance, deposited) = (made(Value::new(0_i64)), made(Condition::new()));
                thread::scope(|scope| {
                    for _ in 0..10 {
                        scope.spawn(|| {
                            for _ in 0..20 {
                                let mut balance = deposited
                                    .wait_while_for(
                                        balance.lock().unwrap(),
                                        |balance| **balance < 15,
                                        LONG,
                                    )
                                    .unwrap();
                                *balance -= 15;
                                assert!(*balance >= 0);
                            }
                        });
                    }
                    for _ in 0..5 {
                        scope.spawn(|| {
                            for _ in 0..100 {
                                *balance.lock().unwrap() += 6;
                                deposited.notify_all();
                            }
                        });
                    }
                });
                assert_eq!(balance.get(), Ok(0));
            }

            #[test]
            fn a_condition_is_waited_for_in_time_and_by_coroutines() {
                let (ready, told) = (made(Value::new(0)), made(Condition::new()));
                let (guard, came) = told.wait_for(ready.lock().unwrap(), SHORT).unwrap();
                assert!(!came);
                drop(guard);
                let late = told.wait_while_for(ready.lock().unwrap(), |ready| **ready == 0, SHORT);
                assert_eq!(late.unwrap_err(), SyncError::Timeout);
                assert!(ready.try_lock().is_ok());
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                thread::scope(|scope| {
                    let waits = scope.spawn(|| {
                        runtime.block_on(async {
                            let guard = ready.lock_async().await.unwrap();
                            let guard = told.wait_while_async(guard, |ready| **ready == 0).await;
                            *guard.unwrap() == 1
                        })
                    });
                    *ready.lock().unwrap() = 1;
                    told.notify_one();
                    assert!(waits.join().unwrap());
                });
            }

            #[test]
            fn a_barrier_lets_all_pass_together_each_in_its_own_place() {
                let barrier = made(Barrier::new(4));
                thread::scope(|scope| {
                    let rounds = || {
                        let mut places = Vec::new();
                        for _ in 0..200 {
                            places.push(barrier.wait_for(LONG).unwrap());
                        }
                        places
                    };
                    let parties: Vec<_> = (0..4).map(|_| scope.spawn(rounds)).collect();
                    let places: Vec<_> = parties.into_iter().map(|it| it.join().unwrap()).collect();
                    for round in 0..200 {
                        let mut here: Vec<_> = places.iter().map(|it| it[round]).collect();
                        here.sort_unstable();
                        assert_eq!(here, [0, 1, 2, 3]);
                    }
                });
            }

            #[test]
            fn who_gives_up_breaks_the_barrier_for_all_until_it_is_reset() {
                let barrier = made(Barrier::new(3));
                assert_eq!(barrier.try_wait(), Err(SyncError::Busy));
                thread::scope(|scope| {
                    let waits = scope.spawn(|| barrier.wait());
                    while barrier.waiting() == 0 {
                        thread::yield_now();
                    }
                    assert_eq!(barrier.wait_for(SHORT), Err(SyncError::Timeout));
                    assert_eq!(waits.join().unwrap(), Err(SyncError::Broken));
                });
                assert!(barrier.is_broken());
                assert_eq!(barrier.wait(), Err(SyncError::Broken));
                barrier.reset();
                assert!(!barrier.is_broken());
                thread::scope(|scope| {
                    let waits = scope.spawn(|| barrier.wait());
                    while barrier.waiting() == 0 {
                        thread::yield_now();
                    }
                    barrier.reset();
                    assert_eq!(waits.join().unwrap(), Err(SyncError::Broken));
                    let waits = scope.spawn(|| barrier.wait());
                    while barrier.waiting() == 0 {
                        thread::yield_now();
                    }
                    barrier.abort();
                    assert_eq!(waits.join().unwrap(), Err(SyncError::Broken));
                });
            }

            #[test]
            fn a_coroutine_that_stops_waiting_at_a_barrier_is_not_waited_for() {
                let barrier = made(Barrier::new(2));
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let mut waits = Box::pin(barrier.wait_async());
                    assert!(futures_util::poll!(&mut waits).is_pending());
                    drop(waits);
                    assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
                    let both = futures_util::join!(barrier.wait_async(), barrier.wait_async());
                    assert_eq!(both, (Ok(0), Ok(1)));
                });
            }
        }
    };
}
pub(crate) use meetings;
