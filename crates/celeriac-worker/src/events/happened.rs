//! What the dispatcher saw, as events.

use std::time::Duration;

use celeriac_core::{Conclusion, Delivery, End, ErrorKind, Payload, TaskError, TaskId, Told};
use celeriac_wire::event::{Event, Failed, Received};
use celeriac_wire::{repr, result};
use serde_json::Value;

use super::News;
use crate::signal;

impl News {
    /// A call was received, and may run here.
    pub(crate) fn received(&self, delivery: &Delivery) {
        self.tell(|| Event::TaskReceived(Received::of(&delivery.message)));
    }

    /// A call begins to run.
    pub(crate) fn started(&self, delivery: &Delivery) {
        self.tell(|| Event::TaskStarted {
            uuid: delivery.message.headers.id.clone(),
        });
    }

    /// A call has returned.
    pub(crate) fn succeeded(
        &self,
        delivery: &Delivery,
        value: Option<&Payload>,
        runtime: Option<Duration>,
    ) {
        self.tell(|| Event::TaskSucceeded {
            uuid: delivery.message.headers.id.clone(),
            result: value.map(repr::payload),
            runtime: runtime.map(|runtime| runtime.as_secs_f64()),
        });
    }

    /// A call has failed: for good, or to be run again.
    pub(crate) fn failed(&self, delivery: &Delivery, error: &TaskError, retried: bool, ran: bool) {
        self.tell(|| {
            let headers = &delivery.message.headers;
            let uuid = headers.id.clone();
            match error.kind() {
                ErrorKind::Cancelled if !retried => {
                    revoked(uuid, ran.then_some(signal::TERM), false)
                }
                ErrorKind::Expired if !retried => revoked(uuid, None, true),
                _ => {
                    let failed = Failed {
                        uuid,
                        exception: repr::exception(error, &headers.task),
                        traceback: result::traceback(error),
                    };
                    if retried {
                        Event::TaskRetried(failed)
                    } else {
                        Event::TaskFailed(failed)
                    }
                }
            }
        });
    }

    /// A runtime was told how a call has ended that did not come to its end by itself, and said this.
    pub(crate) fn ended(&self, delivery: &Delivery, error: &TaskError, told: &Told, ran: bool) {
        self.tell(|| {
            let headers = &delivery.message.headers;
            let uuid = headers.id.clone();
            match error.kind() {
                ErrorKind::Cancelled => {
                    let by = error
                        .as_raised()
                        .and_then(|raised| raised.arguments.first());
                    let by = by.and_then(Value::as_str).and_then(signal::number);
                    revoked(uuid, ran.then(|| by.unwrap_or(signal::TERM)), false)
                }
                ErrorKind::Expired => revoked(uuid, None, true),
                _ => Event::TaskFailed(Failed {
                    uuid,
                    exception: match &told.text {
                        Some(text) => text.clone(),
                        None => repr::exception(error, &headers.task),
                    },
                    traceback: told.traceback.clone(),
                }),
            }
        });
    }

    /// A runtime said how a call has ended.
    pub(crate) fn concluded(&self, delivery: &Delivery, conclusion: &Conclusion) {
        let uuid = || delivery.message.headers.id.clone();
        let failed = || Failed {
            uuid: uuid(),
            exception: conclusion.told.text.clone().unwrap_or_default(),
            traceback: conclusion.told.traceback.clone(),
        };
        match conclusion.end {
            End::Succeeded => self.tell(|| Event::TaskSucceeded {
                uuid: uuid(),
                result: conclusion.told.text.clone(),
                runtime: conclusion.busy.map(|busy| busy.as_secs_f64()),
            }),
            End::Failed => self.tell(|| Event::TaskFailed(failed())),
            End::Retried => self.tell(|| Event::TaskRetried(failed())),
            End::Ignored => {}
            End::Rejected { requeue } => self.tell(|| Event::TaskRejected {
                uuid: uuid(),
                requeue,
            }),
        }
    }
}

fn revoked(uuid: TaskId, signal: Option<i32>, expired: bool) -> Event {
    Event::TaskRevoked {
        uuid,
        terminated: signal.is_some(),
        signum: signal.map(Value::from),
        expired,
    }
}
