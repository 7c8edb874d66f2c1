//! A runtime on the stage: its calls end when the test says so, and so does what it is asked to tell.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac_core::{
    BoxFuture, Conclusion, ContentType, Delivery, EncodedResult, End, Executor, Invocation,
    Payload, Reply, Runtime, ShutdownMode, TaskError, TaskId, Told,
};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::stage::{Playing, Stage};

#[derive(Debug, Clone)]
pub(crate) struct Troupe {
    pub(crate) stage: Arc<Stage>,
    asked: Arc<Mutex<VecDeque<Asked>>>,
    asks: Arc<Notify>,
    received: Arc<Mutex<Vec<i64>>>,
}

/// An end that the runtime is asked to tell.
pub(crate) struct Asked {
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) error: TaskError,
    /// Whether the delivery comes again afterwards.
    pub(crate) comes_again: bool,
    pub(crate) reply: Arc<dyn Reply>,
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(formatter)
    }
}

impl Troupe {
    pub(crate) fn new(stage: Arc<Stage>) -> Self {
        Self {
            stage,
            asked: Arc::default(),
            asks: Arc::default(),
            received: Arc::default(),
        }
    }

    /// Waits for the next end it is asked to tell.
    pub(crate) async fn asked(&self) -> Asked {
        let next = async {
            loop {
                if let Some(asked) = self.try_asked() {
                    return asked;
                }
                self.asks.notified().await;
            }
        };
        timeout(Duration::from_secs(600), next)
            .await
            .expect("it was not asked to tell anything")
    }

    pub(crate) fn try_asked(&self) -> Option<Asked> {
        self.asked.lock().unwrap().pop_front()
    }

    /// The tags of what it was told to have been received.
    pub(crate) fn received(&self) -> Vec<i64> {
        self.received.lock().unwrap().clone()
    }
}

/// A result as a runtime has it stored.
pub(crate) fn result(id: &TaskId, state: &str) -> EncodedResult {
    EncodedResult {
        id: id.clone(),
        state: state.to_owned(),
        payload: Payload {
            content_type: ContentType::Json,
            bytes: "{}".into(),
        },
        keep: None,
        reply_to: None,
        correlation_id: None,
    }
}

/// What a runtime says of a call, with the result that fits.
pub(crate) fn conclusion(id: &TaskId, end: End) -> Conclusion {
    let state = match end {
        End::Succeeded => Some("SUCCESS"),
        End::Failed => Some("FAILURE"),
        End::Retried => Some("RETRY"),
        End::Ignored | End::Rejected { .. } => None,
    };
    Conclusion {
        end,
        results: state.map(|state| result(id, state)).into_iter().collect(),
        busy: Some(Duration::from_secs(1)),
        told: Told::default(),
    }
}

impl Playing {
    /// The runtime says how the call ended.
    pub(crate) fn concludes(&self, end: End) {
        self.0.reply.concluded(conclusion(&self.0.id, end));
    }
}

impl Asked {
    /// The runtime tells it.
    pub(crate) fn tell(self) {
        self.tell_that(End::Failed);
    }

    /// The runtime tells that it ended otherwise.
    pub(crate) fn tell_that(self, end: End) {
        let conclusion = Conclusion {
            busy: None,
            ..conclusion(&self.delivery.message.headers.id, end)
        };
        self.reply.concluded(conclusion);
    }

    /// The runtime cannot tell it.
    pub(crate) fn fail(self, error: TaskError) {
        self.reply.failed(error);
    }
}

impl Executor for Troupe {
    fn slots(&self) -> NonZeroUsize {
        self.stage.slots()
    }

    fn content_type(&self) -> Option<ContentType> {
        self.stage.content_type()
    }

    fn submit(&self, invocation: Invocation) {
        self.stage.submit(invocation);
    }

    fn shutdown(&self, mode: ShutdownMode) -> BoxFuture<'_, ()> {
        self.stage.shutdown(mode)
    }
}

impl Runtime for Troupe {
    fn conclude(
        &self,
        delivery: Arc<Delivery>,
        error: TaskError,
        comes_again: bool,
        reply: Arc<dyn Reply>,
    ) {
        self.asked.lock().unwrap().push_back(Asked {
            delivery,
            error,
            comes_again,
            reply,
        });
        self.asks.notify_one();
    }

    fn terminate(&self, _: &TaskId, _: i32) {}

    fn received(&self, delivery: &Arc<Delivery>) {
        self.received.lock().unwrap().push(delivery.tag);
    }
}
