//! What is found by its name.

use celeriac_sync::SyncError;
use celeriac_sync::process::{Dict, Lock, Queue, named, shm};

use crate::processes::{LONG, Other, say, shared, wait};

fn name(what: &str) -> String {
    format!("{what}-{}", std::process::id())
}

fn users(name: &str) -> Option<usize> {
    let all = shm::list().unwrap();
    let found = all.iter().find(|one| one.name == name)?;
    Some(found.users.len())
}

pub(crate) fn has_what_is_named() {
    let name: String = shared();
    let jobs: Queue<String> = named(&name, || Queue::bounded(5)).unwrap();
    jobs.put("from there".to_owned()).unwrap();
    say("there");
    wait();
}

#[test]
fn processes_find_the_same_by_its_name_and_it_ends_with_the_last_one() {
    let name = name("jobs");
    let mut first = Other::start("has what is named", &name);
    assert_eq!(first.said(), "there");
    let mut second = Other::start("has what is named", &name);
    assert_eq!(second.said(), "there");
    // It does not need the one that has made it.
    first.kill();
    let jobs: Queue<String> = named(&name, || panic!("it is there")).unwrap();
    second.kill();
    assert_eq!((jobs.len(), jobs.capacity()), (2, Some(5)));
    assert_eq!(jobs.get_for(LONG).unwrap().as_str(), "from there");
    assert_eq!(users(&name), Some(1));
    drop(jobs);
    // Now nobody has it, and what is left are the names of the killed.
    assert_eq!(users(&name), Some(0));
    assert!(shm::clean().unwrap().contains(&name));
    assert_eq!(users(&name), None);
    let jobs: Queue<String> = named(&name, || Queue::bounded(7)).unwrap();
    assert_eq!((jobs.len(), jobs.capacity()), (0, Some(7)));
    drop(jobs);
    assert_eq!(users(&name), None);
}

#[test]
fn a_name_of_another_type_is_refused_and_so_is_what_is_none() {
    let name = name("till");
    let lock = named(&name, Lock::new).unwrap();
    let refused = named(&name, || Queue::<u8>::bounded(1)).unwrap_err();
    assert_eq!(refused, SyncError::OtherType);
    let refused = named(&name, Dict::<u8, u8>::new).unwrap_err();
    assert_eq!(refused, SyncError::OtherType);
    assert!(!shm::clean().unwrap().contains(&name));
    let same = named(&name, Lock::new).unwrap();
    let held = lock.lock().unwrap();
    assert_eq!(same.try_lock().unwrap_err(), SyncError::Busy);
    drop(held);
    for none in ["", "../till", ".hidden", "a/b", "a b", &"n".repeat(101)] {
        assert_eq!(named(none, Lock::new).unwrap_err(), SyncError::BadName);
    }
}
