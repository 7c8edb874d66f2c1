//! Celery's rules of acknowledgement: what becomes of a delivery after a call of a [`Runtime`].
//!
//! Pure functions, from how a call ended to what is done with its delivery. A call whose delivery was
//! acknowledged when it started leaves nothing to settle; of the others none is lost: what Celery
//! would drop is kept among the dead messages. What it would deliver again without end because it ends
//! badly is counted, and waits a little longer each time. What its task asks for again on purpose is
//! not, as with Celery: only the first time, so that the next delivery says that it is one.
//!
//! # Sources
//!
//! `on_success`, `on_failure`, `on_timeout` and `reject` of `celery/worker/request.py`, Celery 5.4 to
//! 5.7. A call over its hard time limit that is not acknowledged has its failure stored by all of them;
//! 5.7 delivers it again at once, as here, older ones when their connection ends.
//!
//! [`Runtime`]: crate::Runtime

use std::num::NonZeroU32;

use jiff::Timestamp;

use crate::broker::{DeadReason, Delivery, Verdict};
use crate::decide::REDELIVERY;
use crate::message::later;
use crate::outcome::{ErrorKind, TaskError};
use crate::policy::AckProfile;
use crate::runtime::End;

/// When a delivery is acknowledged, in the words of a Celery app's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "they are Celery's settings, one by one"
)]
pub struct CeleryAcks {
    /// `task_acks_late`: after the call has ended; otherwise when it starts, and then the rest does
    /// not matter. Not unless set.
    pub late: bool,
    /// `task_acks_on_failure_or_timeout` for a call that failed: if not, it is rejected. Set unless
    /// cleared.
    pub on_failure: bool,
    /// The same for one that was over its hard time limit: if not, it is delivered again, although its
    /// failure was stored. Set unless cleared.
    pub on_timeout: bool,
    /// `task_reject_on_worker_lost`: a call whose child died is delivered again. Not unless set.
    pub reject_on_worker_lost: bool,
}

impl Default for CeleryAcks {
    fn default() -> Self {
        Self {
            late: false,
            on_failure: true,
            on_timeout: true,
            reject_on_worker_lost: false,
        }
    }
}

impl From<AckProfile> for CeleryAcks {
    /// The rules that come nearest: those of [`AckProfile::Reliable`] run again what lost its child.
    fn from(profile: AckProfile) -> Self {
        match profile {
            AckProfile::Celery(acks) => acks,
            AckProfile::Early => Self::default(),
            AckProfile::Reliable => Self {
                late: true,
                reject_on_worker_lost: true,
                ..Self::default()
            },
        }
    }
}

/// What follows from the end of a call, besides the results that it brought.
#[derive(Debug, Clone, PartialEq)]
pub enum Aftermath {
    /// Nothing is told of it; its delivery is settled so.
    Settle(Verdict),
    /// The runtime [concludes](crate::Runtime::conclude) the call with this error first. If it finds that
    /// the call came to another end, it is acknowledged instead.
    Conclude(TaskError, Verdict),
}

/// How far a delivery had come when its call ended.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// The delivery.
    pub delivery: &'a Delivery,
    /// Whether it was acknowledged when its call started; the verdict is then never carried out.
    pub acked: bool,
    /// A message delivered this often is not delivered again.
    pub delivery_limit: NonZeroU32,
}

impl Standing<'_> {
    /// Whether it may be delivered once more.
    fn has_another(self) -> bool {
        self.delivery.deliveries < self.delivery_limit.get()
    }

    /// Delivers it again after a while.
    fn requeue(self, counted: bool, now: Timestamp) -> Verdict {
        let eta = later(now, REDELIVERY.delay(self.delivery.deliveries));
        Verdict::Requeue {
            eta: Some(eta),
            counted,
        }
    }

    /// Delivers it again, counted, or no more if it was delivered too often.
    fn again(self, error: &TaskError, now: Timestamp) -> Verdict {
        if self.has_another() {
            self.requeue(true, now)
        } else {
            Verdict::Dead(DeadReason::DeliveryLimit, error.to_string())
        }
    }
}

impl CeleryAcks {
    /// What follows from an `end` that the runtime itself told, with what it `told` of it.
    pub fn after_end(
        self,
        end: End,
        told: Option<&str>,
        standing: Standing<'_>,
        now: Timestamp,
    ) -> Aftermath {
        let reject = |what: &str| {
            let detail = told.map_or_else(|| what.to_owned(), |told| format!("{what}: {told}"));
            Verdict::Dead(DeadReason::Rejected, detail)
        };
        match end {
            _ if standing.acked => Aftermath::Settle(Verdict::Ack),
            End::Rejected { requeue: true } => {
                let is_first = standing.delivery.deliveries == 1 && standing.has_another();
                Aftermath::Settle(standing.requeue(is_first, now))
            }
            End::Rejected { requeue: false } => {
                Aftermath::Settle(reject("its task rejected the message"))
            }
            End::Failed if !self.on_failure => Aftermath::Settle(reject("it failed")),
            End::Succeeded | End::Failed | End::Retried | End::Ignored => {
                Aftermath::Settle(Verdict::Ack)
            }
        }
    }

    /// What follows from an `error` that ended a call, or kept it from starting, without a word of
    /// the runtime.
    pub fn after_error(
        self,
        error: TaskError,
        standing: Standing<'_>,
        now: Timestamp,
    ) -> Aftermath {
        use Aftermath::{Conclude, Settle};
        let dead = |error: TaskError, reason| {
            let detail = error.to_string();
            Conclude(error, Verdict::Dead(reason, detail))
        };
        match error.kind() {
            ErrorKind::Shutdown if standing.acked => Conclude(
                TaskError::lost("the worker was shut down, and it was acknowledged at its start"),
                Verdict::Ack,
            ),
            ErrorKind::Shutdown => Settle(Verdict::Requeue {
                eta: None,
                counted: false,
            }),
            _ if standing.acked => Conclude(error, Verdict::Ack),
            ErrorKind::DeliveryLimit => dead(error, DeadReason::DeliveryLimit),
            ErrorKind::Unregistered => dead(error, DeadReason::Unregistered),
            ErrorKind::BadArguments => dead(error, DeadReason::BadArguments),
            // One that would be acknowledged at its start, and that has not started, is whole.
            ErrorKind::Lost if !self.late && standing.has_another() => {
                Settle(standing.again(&error, now))
            }
            ErrorKind::Lost if self.reject_on_worker_lost || !self.late => {
                let verdict = standing.again(&error, now);
                Conclude(error, verdict)
            }
            ErrorKind::TimeLimit if self.late && !self.on_timeout => {
                let verdict = standing.again(&error, now);
                Conclude(error, verdict)
            }
            ErrorKind::Cancelled | ErrorKind::Expired | ErrorKind::TimeLimit => {
                Conclude(error, Verdict::Ack)
            }
            _ if self.on_failure => Conclude(error, Verdict::Ack),
            _ => dead(error, DeadReason::Rejected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;
    use crate::payload::ContentType;
    use crate::queue::QueueName;
    use crate::signature::CallOptions;
    use crate::task::{TaskOptions, encode_body};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn delivery(deliveries: u32) -> Delivery {
        let body = encode_body(ContentType::Json, &()).unwrap();
        let options = (CallOptions::default(), TaskOptions::DEFAULT);
        Delivery {
            tag: 7,
            queue: QueueName::default(),
            deliveries,
            revoked: false,
            message: Message::new("t", body, &options.0, &options.1, NOW),
        }
    }

    /// The rules by the letters of what is set: `l`ate, on_`f`ailure, on_`t`imeout, reject on
    /// `w`orker lost.
    fn rules(set: &str) -> CeleryAcks {
        CeleryAcks {
            late: set.contains('l'),
            on_failure: set.contains('f'),
            on_timeout: set.contains('t'),
            reject_on_worker_lost: set.contains('w'),
        }
    }

    fn standing(delivery: &Delivery, acked: bool) -> Standing<'_> {
        Standing {
            delivery,
            acked,
            delivery_limit: NonZeroU32::new(5).unwrap(),
        }
    }

    /// An aftermath in short: what is concluded, and how it is settled.
    fn short(aftermath: &Aftermath) -> String {
        let (error, verdict) = match aftermath {
            Aftermath::Settle(verdict) => (String::new(), verdict),
            Aftermath::Conclude(error, verdict) => {
                (format!("conclude {}, ", error.kind().as_str()), verdict)
            }
        };
        let verdict = match verdict {
            Verdict::Ack => "ack".to_owned(),
            Verdict::Requeue { eta, counted } => {
                let wait = eta.map_or(0, Timestamp::as_millisecond);
                let counted = if *counted { "counted" } else { "uncounted" };
                format!("again {counted} after {wait}")
            }
            Verdict::Dead(reason, _) => format!("dead {}", reason.as_str()),
        };
        error + &verdict
    }

    #[test]
    fn what_follows_from_an_end_that_the_runtime_told() {
        let requeue = End::Rejected { requeue: true };
        let drop = End::Rejected { requeue: false };
        for (set, end, deliveries, expected) in [
            ("lft", End::Succeeded, 1, "ack"),
            ("l", End::Succeeded, 1, "ack"),
            ("lft", End::Failed, 1, "ack"),
            ("lt", End::Failed, 1, "dead rejected"),
            ("lf", End::Failed, 1, "ack"),
            ("l", End::Retried, 1, "ack"),
            ("l", End::Ignored, 1, "ack"),
            ("lft", requeue, 1, "again counted after 100"),
            ("lft", requeue, 2, "again uncounted after 200"),
            ("lft", requeue, 5, "again uncounted after 1600"),
            ("lft", drop, 1, "dead rejected"),
        ] {
            let delivery = delivery(deliveries);
            let after = rules(set).after_end(end, None, standing(&delivery, false), NOW);
            assert_eq!(short(&after), expected, "{set} {end:?} {deliveries}");
        }
        // What was acknowledged at its start has nothing left to settle, as in Celery.
        for end in [End::Succeeded, End::Failed, requeue, drop] {
            let delivery = delivery(1);
            let after = rules("ft").after_end(end, None, standing(&delivery, true), NOW);
            assert_eq!(after, Aftermath::Settle(Verdict::Ack), "{end:?}");
        }
    }

    #[test]
    fn what_follows_from_an_error_outside_of_the_task() {
        use ErrorKind::{
            Cancelled, DeliveryLimit, Expired, Lost, Shutdown, TimeLimit, Unregistered,
        };
        let limit = "dead delivery_limit";
        for (set, kind, deliveries, expected) in [
            ("ft", Cancelled, 1, "conclude cancelled, ack"),
            ("l", Cancelled, 1, "conclude cancelled, ack"),
            ("l", Expired, 1, "conclude expired, ack"),
            (
                "lft",
                Unregistered,
                1,
                "conclude unregistered, dead unregistered",
            ),
            (
                "lft",
                DeliveryLimit,
                6,
                &format!("conclude delivery_limit, {limit}"),
            ),
            ("lftw", Shutdown, 5, "again uncounted after 0"),
            ("lft", TimeLimit, 1, "conclude time_limit, ack"),
            ("lt", TimeLimit, 1, "conclude time_limit, ack"),
            (
                "lf",
                TimeLimit,
                1,
                "conclude time_limit, again counted after 100",
            ),
            ("lf", TimeLimit, 5, &format!("conclude time_limit, {limit}")),
            ("lft", Lost, 1, "conclude lost, ack"),
            ("lt", Lost, 1, "conclude lost, dead rejected"),
            ("lftw", Lost, 1, "conclude lost, again counted after 100"),
            ("lw", Lost, 4, "conclude lost, again counted after 800"),
            ("lftw", Lost, 5, &format!("conclude lost, {limit}")),
            // It would have been acknowledged at its start, and it never started.
            ("ft", Lost, 1, "again counted after 100"),
            ("ft", Lost, 5, &format!("conclude lost, {limit}")),
        ] {
            let delivery = delivery(deliveries);
            let error = TaskError::new(kind, "x");
            let after = rules(set).after_error(error, standing(&delivery, false), NOW);
            assert_eq!(short(&after), expected, "{set} {kind:?} {deliveries}");
        }
    }

    #[test]
    fn what_was_acknowledged_at_its_start_is_only_told_of() {
        use ErrorKind::{Lost, Shutdown, TimeLimit};
        for (kind, expected) in [
            (Lost, "conclude lost, ack"),
            (TimeLimit, "conclude time_limit, ack"),
            (Shutdown, "conclude lost, ack"),
        ] {
            let delivery = delivery(1);
            let error = TaskError::new(kind, "x");
            let after = rules("ftw").after_error(error, standing(&delivery, true), NOW);
            assert_eq!(short(&after), expected, "{kind:?}");
        }
    }

    #[test]
    fn a_rejection_says_what_the_task_said() {
        let delivery = delivery(1);
        let end = End::Rejected { requeue: false };
        let after = rules("lft").after_end(end, Some("no money"), standing(&delivery, false), NOW);
        let detail = "its task rejected the message: no money".to_owned();
        assert_eq!(
            after,
            Aftermath::Settle(Verdict::Dead(DeadReason::Rejected, detail))
        );
    }
}
