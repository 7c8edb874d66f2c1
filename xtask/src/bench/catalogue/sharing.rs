//! What threads, processes and machines share.

use crate::bench::measure::{Bound, Figure, Language, Measure, Peer};

pub(super) const MEASURES: &[Measure] = &[
    shared(
        "process-lock",
        "a lock between processes, taken by one",
        "locks",
        Some(25_000_000.0),
        &[of_multiprocessing("multiprocessing.Lock", None)],
    ),
    shared(
        "process-lock-2",
        "the same taken by 2 processes at once",
        "locks",
        None,
        &[of_multiprocessing("multiprocessing.Lock", Some(10.0))],
    ),
    shared(
        "process-queue",
        "items of 64 bytes through a queue, from 1 process to 1",
        "items",
        Some(1_000_000.0),
        &[of_multiprocessing("multiprocessing.Queue", Some(10.0))],
    ),
    shared(
        "process-queue-2",
        "the same from 2 processes to 2",
        "items",
        Some(1_000_000.0),
        &[of_multiprocessing("multiprocessing.Queue", Some(10.0))],
    ),
    shared(
        "process-queue-large",
        "items of 1 MB through a queue between processes",
        "MB",
        None,
        &[of_multiprocessing("multiprocessing.Queue", Some(5.0))],
    ),
    shared(
        "process-value",
        "a value between processes incremented under its lock",
        "increments",
        Some(10_000_000.0),
        &[of_multiprocessing("multiprocessing.Value", None)],
    ),
    shared(
        "process-dict",
        "get and set of small values of a dictionary between processes",
        "calls",
        Some(500_000.0),
        &[of_multiprocessing("Manager().dict()", Some(20.0))],
    ),
    Measure {
        name: "process-takeover",
        title: "the next holder has a lock whose holder was killed",
        figure: Figure::Milliseconds,
        target: Some(Bound::AtMost(1.0)),
        servers: false,
        peers: &[],
    },
    shared(
        "thread-lock",
        "a lock of threads, taken by one",
        "locks",
        None,
        &[
            of_parts("an atomic and an event, by hand"),
            of_std("std::sync::Mutex"),
        ],
    ),
    shared(
        "thread-queue",
        "numbers through a queue from thread to thread",
        "items",
        None,
        &[
            of_parts("a Mutex of a VecDeque and two events, by hand"),
            of_std("std::sync::mpsc::sync_channel"),
        ],
    ),
    shared(
        "manager-queue",
        "numbers put into a queue of a manager on this machine and got, 512 under way",
        "items",
        Some(100_000.0),
        &[of_multiprocessing(
            "queue.Queue of a multiprocessing.managers",
            Some(10.0),
        )],
    ),
    Measure {
        name: "cluster-lock",
        title: "a lock at a Redis of this machine, taken by one",
        figure: Figure::Milliseconds,
        target: Some(Bound::AtMost(0.3)),
        servers: true,
        peers: &[],
    },
];

/// What processes share in Python, and whom it is compared with there.
const fn shared(
    name: &'static str,
    title: &'static str,
    figure: &'static str,
    target: Option<f64>,
    peers: &'static [Peer],
) -> Measure {
    Measure {
        name,
        title,
        figure: Figure::PerSecond(figure),
        target: match target {
            Some(target) => Some(Bound::AtLeast(target)),
            None => None,
        },
        servers: false,
        peers,
    }
}

const fn of_multiprocessing(title: &'static str, ratio: Option<f64>) -> Peer {
    Peer {
        title,
        language: Language::Python,
        side: "multiprocessing",
        ratio,
    }
}

/// What ours is built on, put together for just this.
const fn of_parts(title: &'static str) -> Peer {
    Peer {
        title,
        language: Language::Rust,
        side: "parts",
        ratio: Some(0.91),
    }
}

/// Only beside ours: it is not what ours is built on, and can less.
const fn of_std(title: &'static str) -> Peer {
    Peer {
        title,
        language: Language::Rust,
        side: "std",
        ratio: None,
    }
}
