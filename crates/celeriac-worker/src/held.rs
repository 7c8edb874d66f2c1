//! What a worker knows of one delivery it holds.

use std::sync::Arc;

use celeriac_core::{Control, Delivery, Limits, TaskDefinition};

use crate::observer::TaskRef;
use crate::reply::ProgressSlot;

/// One delivery that may run here.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) delivery: Delivery,
    pub(crate) task: &'static TaskDefinition,
    pub(crate) limits: Limits,
    pub(crate) control: Arc<Control>,
    pub(crate) progress: ProgressSlot,
    pub(crate) stage: Stage,
    /// Whether it was acknowledged when it started.
    pub(crate) acked: bool,
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
    pub(crate) fn new(delivery: Delivery, task: &'static TaskDefinition, limits: Limits) -> Self {
        Self {
            delivery,
            task,
            limits,
            control: Control::new(),
            progress: ProgressSlot::default(),
            stage: Stage::Submitted,
            acked: false,
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
