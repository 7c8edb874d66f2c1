//! How a pool of Python children is set up.

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::runtime::EncodedResult;

/// How children run their calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolKind {
    /// Each runs one call after another; there are as many as calls may run at once.
    Prefork,
    /// One child, which runs one call after another.
    Solo,
    /// One child with many threads. Time limits do not hold there, as in Celery.
    Threads,
    /// Children with many coroutines each.
    Coroutines,
}

impl PoolKind {
    /// Its name between the worker and Python.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prefork => "prefork",
            Self::Solo => "solo",
            Self::Threads => "threads",
            Self::Coroutines => "coroutines",
        }
    }

    pub(super) fn has_limits(self) -> bool {
        self != Self::Threads
    }
}

/// How a pool is set up.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// How children run their calls.
    pub kind: PoolKind,
    /// The most children.
    pub children: NonZeroUsize,
    /// The fewest, where their number follows the work (`--autoscale`); otherwise as many.
    pub fewest: NonZeroUsize,
    /// So many calls at once in each child; 1 in prefork and solo.
    pub slots: NonZeroUsize,
    /// Whether calls are never sent ahead of their time (`-O fair`).
    pub fair: bool,
    /// Whether results come back to the worker, to be stored there.
    pub piped: bool,
    /// A child is replaced after so many calls.
    pub max_tasks: Option<NonZeroU64>,
    /// A child that holds more resident memory, in bytes, is replaced after its call.
    pub max_memory_bytes: Option<NonZeroU64>,
    /// How long a child may take to report.
    pub start_timeout: Duration,
    /// How long there must have been too many children before one leaves.
    pub keep_alive: Duration,
    /// Whether the app wants to hear of each call that was received.
    pub tells_received: bool,
    /// Takes results that were stored outside of any call.
    pub stray_results: Option<Stray>,
}

impl PoolSettings {
    /// A prefork pool of so many children, whose results come to the worker; nothing else is limited.
    pub fn prefork(children: NonZeroUsize) -> Self {
        Self {
            kind: PoolKind::Prefork,
            children,
            fewest: children,
            slots: NonZeroUsize::MIN,
            fair: false,
            piped: true,
            max_tasks: None,
            max_memory_bytes: None,
            start_timeout: Duration::from_secs(60),
            keep_alive: Duration::from_secs(30),
            tells_received: false,
            stray_results: None,
        }
    }
}

/// Takes results that were stored outside of any call. It must not block.
#[derive(Clone)]
pub struct Stray(pub Arc<dyn Fn(EncodedResult) + Send + Sync>);

impl fmt::Debug for Stray {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Stray")
    }
}
