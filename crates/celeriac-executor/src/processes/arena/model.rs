//! The board between a parent and a child that run at the same time, in every order there is.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU64};
use loom::thread;
use std::sync::atomic::Ordering;

use super::board::{Board, words};
use super::names::{CallName, Claim, Notice, Running};
use super::word::Memory;
use super::{Shape, ring_index};

const SHAPE: Shape = Shape { lanes: 1, seats: 1 };

/// The words, as loom watches them.
struct Watched(Vec<AtomicU64>);

impl Memory for Watched {
    type Word = AtomicU64;

    fn word(&self, index: usize) -> &AtomicU64 {
        &self.0[index]
    }
}

type Both = Arc<Board<Watched>>;

fn board() -> Both {
    let words = (0..words(SHAPE)).map(|_| AtomicU64::new(0)).collect();
    let board = Board::new(Watched(words), SHAPE.lanes);
    board.set_open_at(None);
    Arc::new(board)
}

/// Runs the child on a thread beside the parent; what both came to.
fn beside<C: 'static, P>(
    board: &Both,
    child: impl FnOnce(&Both) -> C + 'static,
    parent: impl FnOnce(&Both) -> P,
) -> (C, P) {
    let shared = board.clone();
    let child = thread::spawn(move || child(&shared));
    let parent = parent(board);
    (child.join().unwrap(), parent)
}

fn call(serial: u32, index: u32) -> CallName {
    CallName { serial, index }
}

#[test]
fn a_chunk_is_begun_with_or_taken_back_whatever_notices_come() {
    loom::model(|| {
        let board = board();
        board.offer(0, 1);
        let (claimed, taken) = beside(
            &board,
            |board| board.claim(0, 1),
            |board| {
                board.notify(0, Notice::Soft);
                board.take_back(0, 1)
            },
        );
        assert!(claimed != taken);
        let claim = if claimed { Claim::Started } else { Claim::Gone };
        assert_eq!(board.claim_of(0, 1), claim);
        assert_eq!(board.notice(0, 1), Some(Notice::Soft));
    });
}

#[test]
fn a_late_claim_does_not_touch_the_chunk_that_came_after() {
    loom::model(|| {
        let board = board();
        board.offer(0, 1);
        let (claimed, taken) = beside(
            &board,
            |board| board.claim(0, 1),
            |board| {
                let taken = board.take_back(0, 1);
                if taken {
                    board.offer(0, 2);
                }
                taken
            },
        );
        assert!(claimed != taken);
        if taken {
            assert_eq!(board.claim_of(0, 2), Claim::Queued);
            assert!(board.claim(0, 2));
        }
    });
}

#[test]
fn a_notice_is_read_with_its_chunk_and_only_grows() {
    loom::model(|| {
        let board = board();
        board.offer(0, 1);
        let (read, ()) = beside(
            &board,
            |board| {
                assert!(board.claim(0, 1));
                [board.notice(0, 1), board.notice(0, 1)]
            },
            |board| {
                board.notify(0, Notice::Soft);
                board.notify(0, Notice::Cancel);
            },
        );
        assert!(read[0] <= read[1], "{read:?}");
        assert_eq!(board.notice(0, 1), Some(Notice::Cancel));
        assert_eq!(board.claim_of(0, 1), Claim::Started);
    });
}

/// When call `index` begins.
fn begins(index: u32) -> u64 {
    u64::from(index + 1) * 100
}

fn run(board: &Both, index: u32) {
    board.begin(0, call(1, index), Some(begins(index)));
}

#[test]
fn no_call_is_thought_to_have_begun_before_it_did() {
    loom::model(|| {
        let ((), seen) = beside(
            &board(),
            |board| {
                run(board, 0);
                run(board, 1);
                board.rest(0);
            },
            |board| board.lanes().collect::<Vec<_>>(),
        );
        for Running { call, since, .. } in seen {
            assert!(since >= begins(call.index), "{call:?} {since}");
        }
    });
}

#[test]
fn a_chunk_that_is_begun_with_has_its_running_call_named() {
    loom::model(|| {
        let board = board();
        board.offer(0, 1);
        beside(
            &board,
            |board| {
                run(board, 0);
                assert!(board.claim(0, 1));
            },
            |board| {
                if board.claim_of(0, 1) == Claim::Started {
                    assert!(board.lanes().any(|running| running.call == call(1, 0)));
                }
            },
        );
    });
}

#[test]
fn the_call_that_is_overdue_hears_it_and_the_one_behind_it_does_not() {
    loom::model(|| {
        let rung = Arc::new(AtomicBool::new(false));
        let (bell, board) = (rung.clone(), board());
        run(&board, 0);
        beside(
            &board,
            move |board| {
                let told = rung.load(Ordering::Acquire);
                let first = board.is_overdue(0, call(1, 0));
                assert!(first || !told, "the signal came before the word");
                run(board, 1);
                assert!(!board.is_overdue(0, call(1, 1)));
            },
            move |board| {
                // It judges a call by the time it read, late as that may be by now.
                let judged: Vec<_> = board.lanes().filter(|it| it.since <= begins(0)).collect();
                for running in judged {
                    assert!(board.overdue(running.lane, running.call));
                    assert!(!board.overdue(running.lane, running.call));
                    bell.store(true, Ordering::Release);
                }
            },
        );
    });
}

#[test]
fn what_is_produced_is_in_the_ring() {
    loom::model(|| {
        let ring = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let (written, read) = (ring.clone(), ring);
        beside(
            &board(),
            move |board| {
                for at in 0..2 {
                    written[ring_index(at)].store(at + 7, Ordering::Relaxed);
                    board.set_produced(at + 1);
                }
            },
            move |board| {
                for at in 0..board.produced() {
                    assert_eq!(read[ring_index(at)].load(Ordering::Relaxed), at + 7);
                }
            },
        );
    });
}
