//! What a worker knows of one delivery it holds.

use std::sync::Arc;

use celeriac_core::{Control, Delivery, Limits, TaskDefinition};
use tracing::warn;

use crate::metrics::Series;
use crate::observer::TaskRef;
use crate::reply::{ProgressSlot, SpanSlot, Start};

/// One delivery that may run here.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) task: &'static TaskDefinition,
    pub(crate) limits: Limits,
    pub(crate) control: Arc<Control>,
    pub(crate) progress: ProgressSlot,
    pub(crate) start: Start,
    pub(crate) span: SpanSlot,
    pub(crate) stage: Stage,
    /// Whether it was acknowledged when it started.
    pub(crate) acked: bool,
    /// Where it is counted.
    pub(crate) series: Series,
    /// When it came, in Unix time in microseconds.
    pub(crate) received_us: u64,
}

/// How far a held delivery has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It waits for its rate limit.
    Paced,
    /// The executor has it.
    Submitted,
    /// Another worker has it too; its outcome will be dropped.
    Disowned,
}

impl Held {
    pub(crate) fn new(
        delivery: Arc<Delivery>,
        task: &'static TaskDefinition,
        limits: Limits,
        series: Series,
        received_us: u64,
    ) -> Self {
        Self {
            delivery,
            task,
            limits,
            control: Control::new(),
            progress: ProgressSlot::default(),
            start: Start::default(),
            span: SpanSlot::default(),
            stage: Stage::Submitted,
            acked: false,
            series,
            received_us,
        }
    }

    /// It was delivered again while it is still held: the lease had lapsed, because this process
    /// stood still, and now it is ours once more. One run is enough; its outcome will settle it.
    pub(crate) fn come_back(&mut self, delivery: Arc<Delivery>) {
        warn!(
            delivery = delivery.tag,
            "the lease had lapsed, the message came back to us"
        );
        self.delivery = delivery;
        self.acked = false;
        if self.stage == Stage::Disowned {
            self.stage = Stage::Submitted;
        }
    }
}

/// How `delivery` is named to observers.
pub(crate) fn call_of(delivery: &Delivery) -> TaskRef<'_> {
    TaskRef {
        id: &delivery.message.headers.id,
        task: &delivery.message.headers.task,
        attempt: delivery.message.attempt(),
    }
}
