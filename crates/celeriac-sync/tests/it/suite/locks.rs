//! Locks and semaphores.

macro_rules! locks {
    () => {
        mod locks {
            use std::sync::atomic::{AtomicUsize, Ordering};
            use std::thread;
            use std::time::{Duration, Instant};

            use celeriac_sync::SyncError;

            use super::made;
            use super::scope::{BoundedSemaphore, Lock, RLock, Semaphore};

            const SHORT: Duration = Duration::from_millis(20);
            const LONG: Duration = Duration::from_secs(20);

            #[test]
            fn a_lock_is_held_by_one_at_a_time() {
                let (lock, inside) = (made(Lock::new()), AtomicUsize::new(0));
                thread::scope(|scope| {
                    for _ in 0..4 {
                        scope.spawn(|| {
                            for _ in 0..1000 {
                                let _held = lock.lock().unwrap();
                                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                                thread::yield_now();
                                inside.fetch_sub(1, Ordering::SeqCst);
                            }
                        });
                    }
                });
                assert!(!lock.is_locked());
            }

            #[test]
            fn who_does_not_wait_or_not_for_long_is_told_why_it_has_nothing() {
                let lock = made(Lock::new());
                let held = lock.lock().unwrap();
                assert_eq!(lock.try_lock().unwrap_err(), SyncError::Busy);
                let start = Instant::now();
                assert_eq!(lock.lock_for(SHORT).unwrap_err(), SyncError::Timeout);
                assert!(start.elapsed() >= SHORT);
                drop(held);
                assert!(lock.lock_for(SHORT).is_ok());
            }

            #[test]
            fn a_clone_is_the_same_lock() {
                let lock = made(Lock::new());
                let _held = lock.lock().unwrap();
                assert!(lock.clone().try_lock().is_err());
            }

            #[test]
            fn threads_and_coroutines_wait_for_each_other() {
                let lock = made(Lock::new());
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                let held = lock.lock().unwrap();
                thread::scope(|scope| {
                    let waits = scope.spawn(|| {
                        runtime.block_on(async { drop(lock.lock_async().await.unwrap()) });
                    });
                    thread::sleep(SHORT);
                    assert!(!waits.is_finished());
                    drop(held);
                    waits.join().unwrap();
                });
                assert!(lock.try_lock().is_ok());
            }

            #[test]
            fn a_coroutine_that_stops_waiting_leaves_its_turn_to_the_next() {
                let lock = made(Lock::new());
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    for _ in 0..50 {
                        let held = lock.lock_async().await.unwrap();
                        let mut first = Box::pin(lock.lock_async());
                        let mut second = Box::pin(lock.lock_async());
                        assert!(futures_util::poll!(&mut first).is_pending());
                        assert!(futures_util::poll!(&mut second).is_pending());
                        drop(held);
                        // The first one has been let through, and goes without taking it.
                        drop(first);
                        let second = tokio::time::timeout(LONG, second).await;
                        drop(second.unwrap().unwrap());
                    }
                });
            }

            #[test]
            fn who_comes_after_a_holder_that_died_is_told_once() {
                let lock = made(Lock::new());
                let dies = || {
                    let _held = lock.lock().unwrap();
                    panic!("as expected");
                };
                thread::scope(|scope| assert!(scope.spawn(dies).join().is_err()));
                assert!(lock.lock().unwrap().recovered());
                assert!(!lock.lock().unwrap().recovered());
            }

            #[test]
            fn a_recursive_lock_is_taken_again_by_its_holder_and_by_nobody_else() {
                let lock = made(RLock::new());
                let guards: Vec<_> = (0..5).map(|_| lock.lock().unwrap()).collect();
                assert_eq!(lock.depth(), 5);
                let other = || {
                    assert_eq!(lock.depth(), 0);
                    lock.try_lock().err()
                };
                for guard in guards {
                    let refused = thread::scope(|scope| scope.spawn(other).join().unwrap());
                    assert_eq!(refused, Some(SyncError::Busy));
                    drop(guard);
                }
                let refused = thread::scope(|scope| scope.spawn(other).join().unwrap());
                assert_eq!(refused, None);
            }

            #[test]
            fn a_semaphore_is_held_by_so_many_at_a_time() {
                let (tables, inside) = (made(Semaphore::new(3)), AtomicUsize::new(0));
                let most = AtomicUsize::new(0);
                thread::scope(|scope| {
                    for _ in 0..10 {
                        scope.spawn(|| {
                            for _ in 0..200 {
                                let _permit = tables.acquire().unwrap();
                                let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                                most.fetch_max(now, Ordering::SeqCst);
                                thread::yield_now();
                                inside.fetch_sub(1, Ordering::SeqCst);
                            }
                        });
                    }
                });
                assert!(most.into_inner() <= 3);
                assert_eq!(tables.value(), 3);
            }

            #[test]
            fn permits_are_forgotten_released_and_counted() {
                let grows = made(Semaphore::new(1));
                grows.acquire().unwrap().forget();
                assert_eq!(grows.try_acquire().unwrap_err(), SyncError::Busy);
                assert_eq!(grows.acquire_for(SHORT).unwrap_err(), SyncError::Timeout);
                grows.release().unwrap();
                grows.release().unwrap();
                assert_eq!(grows.value(), 2);
                let stays = made(BoundedSemaphore::new(1));
                assert_eq!(stays.release(), Err(SyncError::NotTaken));
                stays.acquire().unwrap().forget();
                assert_eq!(stays.value(), 0);
                stays.release().unwrap();
                assert!(stays.try_acquire().is_ok());
            }

            #[test]
            fn the_permit_of_a_holder_that_died_comes_back() {
                let tables = made(Semaphore::new(1));
                let dies = || {
                    let _permit = tables.acquire().unwrap();
                    panic!("as expected");
                };
                thread::scope(|scope| assert!(scope.spawn(dies).join().is_err()));
                assert!(tables.try_acquire().is_ok());
            }
        }
    };
}
pub(crate) use locks;
