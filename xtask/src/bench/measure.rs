//! A measure: what is measured, against whom, and how good it has to be.

/// One measure: a program of ours, its peers and the targets.
#[derive(Debug)]
pub(super) struct Measure {
    /// How it is asked for.
    pub(super) name: &'static str,
    /// What it shows, for `--list` and for the table.
    pub(super) title: &'static str,
    /// How its figure is written.
    pub(super) figure: Figure,
    /// What our own figure has to reach, whoever else runs.
    pub(super) target: Option<Bound>,
    /// Whether it talks to Redis or RabbitMQ, which then are started for it.
    pub(super) servers: bool,
    /// Whom it is compared with.
    pub(super) peers: &'static [Peer],
}

impl Measure {
    /// Whether it is about an app of Celery's, so that our side is our command in the place of
    /// Celery's: one of the families `inspect` and `python`.
    pub(super) fn is_of_app(&self) -> bool {
        ["inspect-", "python-"]
            .iter()
            .any(|family| self.name.starts_with(family))
    }

    /// Whether it is about what processes or machines share.
    pub(super) fn is_of_sharing(&self) -> bool {
        ["process-", "manager-"]
            .iter()
            .any(|family| self.name.starts_with(family))
    }
}

/// How the figure of a measure is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    /// So much of this in a second; more is better.
    PerSecond(&'static str),
    /// So many milliseconds; fewer are better.
    Milliseconds,
    /// So many percent of the time that the work takes; fewer are better.
    Percent,
    /// What went wrong under faults, counted; each count carries its own bound.
    Counts,
}

/// What a figure has to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    /// This much a second, or more.
    AtLeast(f64),
    /// This many milliseconds or percent, or fewer.
    AtMost(f64),
    /// The same for 99 of 100.
    MostlyAtMost(f64),
}

/// Another implementation that does the same work.
#[derive(Debug)]
pub(super) struct Peer {
    /// How it is called in the table.
    pub(super) title: &'static str,
    /// What runs it.
    pub(super) language: Language,
    /// What that is told to run.
    pub(super) side: &'static str,
    /// Our speed over its speed has to be this or more, if anything was asked.
    pub(super) ratio: Option<f64>,
}

/// What a peer is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// In the bench program, beside ours.
    Rust,
    /// In `bench/peers/pools.py`, or `bench/peers/sharing.py` for what processes share.
    Python,
    /// In `bench/peers/celery_side.py`, which needs Celery and the servers.
    Celery,
    /// In `bench/peers/python`, which needs them too: Celery's worker on the app that ours is
    /// measured with.
    App,
    /// In `bench/peers/rust`, a workspace of its own.
    Crates,
    /// In `bench/peers/bullmq`, which needs node and npm.
    Node,
}
