//! What goes through a file of SQLite.

use super::counts;
use crate::bench::measure::{Bound, Figure, Measure};

pub(super) const MEASURES: &[Measure] = &[
    Measure {
        name: "sqlite-enqueue",
        title: "empty tasks sent in bulk to SQLite, synchronous=FULL",
        figure: Figure::PerSecond("tasks"),
        target: Some(Bound::AtLeast(150_000.0)),
        servers: false,
        peers: &[],
    },
    Measure {
        name: "sqlite-cycle",
        title: "the same sent, run and their results fetched",
        figure: Figure::PerSecond("tasks"),
        target: Some(Bound::AtLeast(40_000.0)),
        servers: false,
        peers: &[],
    },
    Measure {
        name: "sqlite-latency",
        title: "one task through an idle worker of another process",
        figure: Figure::Milliseconds,
        target: Some(Bound::AtMost(3.0)),
        servers: false,
        peers: &[],
    },
    counts(
        "kill9",
        "10,000 tasks on SQLite, the worker killed 50 times",
    ),
    counts("power-cut", "sending to SQLite, the power cut 20 times"),
];
