//! The peers of what threads share: the standard library.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::{Mutex, mpsc};
use std::thread;

use crate::repetitions::Report;
use crate::sharing::{LOCKS, ROOM, THREAD_ITEMS};

/// Runs what `measure` names, if the standard library has something to set against it.
pub(crate) fn run(measure: &str) -> Option<Report> {
    let report = match measure {
        "thread-lock" => locks(),
        "thread-queue" => items(),
        _ => return None,
    };
    match report {
        Ok(report) => Some(report),
    }
}

fn locks() -> Result<Report, Infallible> {
    let lock = Mutex::new(());
    Report::of(LOCKS, || {
        for _ in 0..LOCKS {
            drop(black_box(&lock).lock());
        }
        Ok(())
    })
}

fn items() -> Result<Report, Infallible> {
    Report::of(THREAD_ITEMS, || {
        let (sender, receiver) = mpsc::sync_channel(ROOM);
        thread::scope(|scope| {
            scope.spawn(move || {
                for item in 0..THREAD_ITEMS {
                    sender.send(item).expect("the receiver is there");
                }
            });
            assert_eq!(receiver.iter().count(), THREAD_ITEMS as usize);
        });
        Ok(())
    })
}
