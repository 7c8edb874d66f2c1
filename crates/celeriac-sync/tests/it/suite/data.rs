//! Values and arrays.

macro_rules! data {
    () => {
        mod data {
            use std::thread;

            use celeriac_sync::SyncError;

            use super::made;
            use super::scope::{Array, Value};

            #[test]
            fn no_change_is_lost() {
                let (total, counts) = (made(Value::new(0)), made(Array::new([0; 4])));
                thread::scope(|scope| {
                    for index in 0..4 {
                        let (total, counts) = (&total, &counts);
                        scope.spawn(move || {
                            for _ in 0..500 {
                                total.update(|total| *total += 1).unwrap();
                                counts.lock().unwrap()[index] += 1;
                            }
                        });
                    }
                });
                assert_eq!(total.get(), Ok(2000));
                assert_eq!(*counts.lock().unwrap(), [500; 4]);
            }

            #[test]
            fn a_value_is_got_set_and_recovered() {
                let value = made(Value::new(1));
                assert_eq!(value.set(2), Ok(1));
                let held = value.lock().unwrap();
                assert_eq!(value.try_lock().unwrap_err(), SyncError::Busy);
                drop(held);
                let dies = || {
                    let _held = value.lock().unwrap();
                    panic!("as expected");
                };
                thread::scope(|scope| assert!(scope.spawn(dies).join().is_err()));
                let held = value.lock().unwrap();
                assert!(held.recovered());
                assert_eq!(*held, 2);
            }

            #[test]
            fn items_of_an_array_are_got_and_set_and_a_place_that_is_not_there_is_named() {
                let array = made(Array::new([1_u16, 2]));
                assert_eq!((array.set(1, 3), array.get(1)), (Ok(2), Ok(3)));
                assert_eq!((array.len(), array.is_empty()), (Ok(2), Ok(false)));
                let outside = SyncError::OutOfRange { index: 2, len: 2 };
                assert_eq!(
                    (array.get(2), array.set(2, 0)),
                    (Err(outside), Err(outside))
                );
            }
        }
    };
}
pub(crate) use data;
