//! What pools do: tasks on threads and processes of this program.

use crate::bench::measure::{Bound, Figure, Language, Measure, Peer};

pub(super) const MEASURES: &[Measure] = &[
    Measure {
        name: "primes",
        title: "65 trial divisions on threads",
        figure: Figure::PerSecond("tasks"),
        target: None,
        servers: false,
        peers: &[rayon("rayon parallel iterator", Some(0.95))],
    },
    Measure {
        name: "sum",
        title: "1 + … + 100,000,000 in 8 chunks on threads",
        figure: Figure::PerSecond("sums"),
        target: None,
        servers: false,
        peers: &[rayon("rayon parallel iterator", Some(0.95))],
    },
    Measure {
        name: "empty-threads",
        title: "empty tasks on threads, automatic chunks, results collected",
        figure: Figure::PerSecond("tasks"),
        target: None,
        servers: false,
        peers: &[rayon("rayon spawn and a channel", Some(0.7))],
    },
    Measure {
        name: "empty-threads-1",
        title: "the same in chunks of one",
        figure: Figure::PerSecond("tasks"),
        target: None,
        servers: false,
        peers: &[rayon("rayon spawn and a channel", Some(0.7))],
    },
    Measure {
        name: "empty-processes",
        title: "empty tasks on processes, automatic chunks",
        figure: Figure::PerSecond("tasks"),
        target: Some(Bound::AtLeast(5_000_000.0)),
        servers: false,
        peers: &[
            futures("ProcessPoolExecutor, chunks of 100", Some(5.0)),
            multiprocessing("Pool.imap_unordered, chunks of 100", Some(1.0)),
        ],
    },
    Measure {
        name: "empty-processes-1",
        title: "empty tasks on processes, chunks of one",
        figure: Figure::PerSecond("tasks"),
        target: Some(Bound::AtLeast(150_000.0)),
        servers: false,
        peers: &[
            futures("ProcessPoolExecutor, chunks of one", Some(15.0)),
            multiprocessing("Pool.imap_unordered, chunks of one", Some(2.0)),
        ],
    },
    Measure {
        name: "bodies",
        title: "1,000 bodies of 1 MB to a child and back",
        figure: Figure::PerSecond("MB"),
        target: None,
        servers: false,
        peers: &[futures("ProcessPoolExecutor", Some(3.0))],
    },
    Measure {
        name: "cold-start",
        title: "a pool of 2 processes opened and ready",
        figure: Figure::Milliseconds,
        target: Some(Bound::AtMost(20.0)),
        servers: false,
        peers: &[],
    },
    Measure {
        name: "hybrid",
        title: "10,000 sleeps of 1 s on 4 processes of 2,500 coroutines",
        figure: Figure::Milliseconds,
        target: Some(Bound::AtMost(1_500.0)),
        servers: false,
        peers: &[],
    },
];

const fn rayon(title: &'static str, ratio: Option<f64>) -> Peer {
    Peer {
        title,
        language: Language::Rust,
        side: "rayon",
        ratio,
    }
}

const fn futures(title: &'static str, ratio: Option<f64>) -> Peer {
    Peer {
        title,
        language: Language::Python,
        side: "ProcessPoolExecutor",
        ratio,
    }
}

const fn multiprocessing(title: &'static str, ratio: Option<f64>) -> Peer {
    Peer {
        title,
        language: Language::Python,
        side: "Pool",
        ratio,
    }
}
