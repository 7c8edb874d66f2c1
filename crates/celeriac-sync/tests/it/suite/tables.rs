//! Dictionaries and lists.

macro_rules! tables {
    () => {
        mod tables {
            use std::thread;

            use celeriac_sync::SyncError;

            use super::made;
            use super::scope::{Dict, List};

            #[test]
            fn no_change_of_a_dictionary_is_lost() {
                let each = made(Dict::new());
                thread::scope(|scope| {
                    for index in 0..4 {
                        let each = &each;
                        scope.spawn(move || {
                            for _ in 0..500 {
                                each.update(index % 2, |it| *it.get_or_insert(0) += 1)
                                    .unwrap();
                            }
                        });
                    }
                });
                assert_eq!(
                    (each.get(&0), each.get(&1)),
                    (Ok(Some(1000)), Ok(Some(1000)))
                );
            }

            #[test]
            fn a_list_names_places_that_are_not_there() {
                let list = made(List::new());
                list.push(1).unwrap();
                list.insert(0, 0).unwrap();
                let outside = SyncError::OutOfRange { index: 2, len: 2 };
                assert_eq!((list.get(2), list.remove(2)), (Err(outside), Err(outside)));
                assert_eq!(
                    list.insert(3, 0),
                    Err(SyncError::OutOfRange { index: 3, len: 2 })
                );
                assert_eq!(
                    (list.remove(0), list.pop(), list.pop()),
                    (Ok(0), Ok(Some(1)), Ok(None))
                );
            }

            #[test]
            fn a_dictionary_holds_what_ten_workers_put_there() {
                let doubles = made(Dict::new());
                thread::scope(|scope| {
                    for number in 0..10 {
                        let doubles = &doubles;
                        scope.spawn(move || doubles.set(number, 2 * number).unwrap());
                    }
                });
                let mut items = doubles.items().unwrap();
                items.sort_unstable();
                assert_eq!(items, (0..10).map(|it| (it, 2 * it)).collect::<Vec<_>>());
                assert_eq!(doubles.remove(&3), Ok(Some(6)));
                assert_eq!(
                    (doubles.contains_key(&3), doubles.len()),
                    (Ok(false), Ok(9))
                );
                doubles.clear().unwrap();
                assert_eq!(doubles.is_empty(), Ok(true));
            }
        }
    };
}
pub(crate) use tables;
