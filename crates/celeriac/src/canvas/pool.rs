//! Carries a canvas out on a pool: starts each call when what stands before it has ended.
//!
//! # Invariants
//!
//! - Values are passed on encoded; only the task that takes one decodes it.
//! - A canvas counts as submitted until it has ended: a shutdown waits for it or answers it.

use std::sync::Arc;
use std::time::Duration;

use celeriac_core::canvas::{Chord, Encoding, FrozenCall, FrozenChain, Link, Replacement, body};
use celeriac_core::payload::DEFAULT_BODY_LIMIT_BYTES;
use celeriac_core::{
    BoxFuture, ContentType, Control, ErrorKind, Limits, Outcome, Payload, Registry, TaskError,
    TaskId,
};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::drive::drive;
use crate::call::{Call, Home};
use crate::decode::decode;
use crate::launcher::{Launcher, Underway};

/// So many calls may be replaced one inside the other: each stands on the stack when the last ends.
const MOST_NESTED: u32 = 32;

/// Where a canvas runs, and who can stop it.
#[derive(Clone)]
pub(super) struct Flow {
    pub(super) launcher: Arc<Launcher>,
    pub(super) registry: Arc<Registry>,
    pub(super) encoding: Encoding,
    control: Arc<Control>,
    /// How many calls it replaces one inside the other.
    nesting: u32,
    /// Counts it among what a shutdown waits for.
    _underway: Arc<Underway>,
}

/// How the calls of a canvas are encoded for `launcher`'s pool.
pub(super) fn encoding(launcher: &Launcher, limit_bytes: usize) -> Encoding {
    let content_type = launcher.executor.content_type();
    Encoding {
        content_type: content_type.unwrap_or(ContentType::Msgpack),
        limit_bytes,
        serializer: None,
        compression: None,
    }
}

/// Starts `chain`; the returned call gets its value.
pub(super) fn start<V: DeserializeOwned + Send + 'static>(
    launcher: &Arc<Launcher>,
    registry: &Arc<Registry>,
    encoding: Encoding,
    chain: FrozenChain,
) -> Arc<Call<V>> {
    let call = Call::<V>::elsewhere(chain.last().id.clone());
    // From here on a cancel is heard by the call that runs, and not answered before it has stopped.
    call.start();
    let flow = Flow {
        launcher: launcher.clone(),
        registry: registry.clone(),
        encoding,
        control: call.control.clone(),
        nesting: 0,
        _underway: Arc::new(launcher.enter()),
    };
    let end = call.clone();
    drive(async move {
        let outcome = flow.chain(chain, None).await;
        let outcome = outcome.and_then(|value| decode(value.content_type, &value.bytes));
        end.slot.fill(outcome);
    });
    call
}

/// Runs `replacement` in the place of a call that ended with it; `end` is given its outcome.
///
/// `nesting` says how many calls it replaces one inside the other.
pub(crate) fn take_over(
    launcher: &Arc<Launcher>,
    replacement: Replacement,
    nesting: u32,
    control: Arc<Control>,
    end: impl FnOnce(Outcome<Payload>) + Send + 'static,
) {
    if nesting > MOST_NESTED {
        let reason = format!("it was replaced {MOST_NESTED} times one inside the other");
        return end(Err(TaskError::failed("ReplacedTooOften", reason)));
    }
    let flow = Flow {
        launcher: launcher.clone(),
        registry: launcher.registry.clone(),
        encoding: Encoding {
            content_type: replacement.content_type,
            ..encoding(launcher, DEFAULT_BODY_LIMIT_BYTES)
        },
        control,
        nesting,
        _underway: Arc::new(launcher.enter()),
    };
    drive(async move {
        end(flow.chain(replacement.chain, None).await);
    });
}

impl Flow {
    /// Runs the links one after another; the first error is the outcome of all the rest.
    fn chain(&self, chain: FrozenChain, value: Option<Payload>) -> BoxFuture<'_, Outcome<Payload>> {
        Box::pin(async move {
            let mut value = value;
            for link in chain.0 {
                value = Some(match link {
                    Link::Call(call) => self.call(call, value).await?,
                    Link::Chord(chord) => self.chord(chord, value).await?,
                });
            }
            value.ok_or_else(|| TaskError::new(ErrorKind::NoResult, "nothing was to be run"))
        })
    }

    /// Runs the header, and the body if no part failed. The other parts of a failed one run on.
    async fn chord(&self, chord: Chord, value: Option<Payload>) -> Outcome<Payload> {
        let ids: Vec<_> = chord
            .header
            .iter()
            .map(|part| part.last().id.clone())
            .collect();
        let parts = chord
            .header
            .into_iter()
            .map(|part| self.chain(part, value.clone()));
        let mut values = Vec::with_capacity(ids.len());
        for (outcome, id) in join_all(parts).await.into_iter().zip(ids) {
            match outcome {
                Ok(value) => values.push(value),
                Err(error) => {
                    let error = chord_error(&id, &error);
                    self.follow_failure(&chord.body.id, chord.body.errbacks);
                    return Err(error);
                }
            }
        }
        let list = self.encoding.list(&values);
        self.call(chord.body, Some(list)).await
    }

    async fn call(&self, call: FrozenCall, value: Option<Payload>) -> Outcome<Payload> {
        let outcome = self.run(&call, value).await;
        match &outcome {
            Ok(value) => self.follow_success(call.callbacks, value),
            Err(_) => self.follow_failure(&call.id, call.errbacks),
        }
        outcome
    }

    /// Runs one call with all its attempts.
    async fn run(&self, call: &FrozenCall, value: Option<Payload>) -> Outcome<Payload> {
        if self.control.interrupted().is_some() {
            return Err(TaskError::cancelled());
        }
        if self.launcher.refuses_queued() {
            return Err(TaskError::shutdown());
        }
        let task = match call.definition() {
            Some(definition) => definition,
            None => self
                .registry
                .get(&call.task)
                .map_err(|error| TaskError::new(ErrorKind::Unregistered, error.to_string()))?,
        };
        let value = value.filter(|_| call.takes_value);
        let body = self.body(call, value.as_ref())?;
        let options = &call.options;
        let limits = Limits {
            soft: options.soft_time_limit.or(task.options.limits.soft),
            hard: options.time_limit.or(task.options.limits.hard),
        };
        let delay = match options.eta {
            Some(eta) => {
                Duration::try_from(eta.duration_since(Timestamp::now())).unwrap_or_default()
            }
            None => options.countdown.unwrap_or_default(),
        };
        let home = Home {
            launcher: self.launcher.clone(),
            nesting: self.nesting,
        };
        let running = Call::launch_raw(&home, task, call.id.clone(), &body, limits, delay);
        if let Some(expires) = options.expires.or(task.options.expires) {
            running.expire_after(expires);
        }
        let outcome = std::future::poll_fn(|context| running.slot.poll_take(context));
        let mut outcome = std::pin::pin!(outcome);
        tokio::select! {
            biased;
            outcome = &mut outcome => return outcome,
            _ = self.control.wait_cancelled() => running.cancel(),
        }
        outcome.await
    }

    fn body(&self, call: &FrozenCall, value: Option<&Payload>) -> Outcome<Payload> {
        let Encoding {
            content_type,
            limit_bytes,
            ..
        } = self.encoding;
        let value = value.map(|value| &value.bytes[..]);
        let body = body(content_type, value, &call.args, &call.named).map(|bytes| Payload {
            content_type,
            bytes: bytes.into(),
        });
        body.and_then(|body| body.check_size(limit_bytes).map(|()| body))
            .map_err(|error| {
                let reason = format!("the arguments of `{}` cannot be sent: {error}", call.task);
                TaskError::new(ErrorKind::BadArguments, reason)
            })
    }

    fn follow_success(&self, callbacks: Vec<FrozenChain>, value: &Payload) {
        for callback in callbacks {
            self.follow(callback, value.clone());
        }
    }

    fn follow_failure(&self, failed: &TaskId, errbacks: Vec<FrozenChain>) {
        if errbacks.is_empty() {
            return;
        }
        let id = Payload::encode(self.encoding.content_type, failed)
            .expect("text has a form in every content type");
        for errback in errbacks {
            self.follow(errback, id.clone());
        }
    }

    /// Starts what is linked to a call. Nobody waits for it, and it has nobody who could cancel it.
    fn follow(&self, chain: FrozenChain, value: Payload) {
        let flow = Self {
            control: Control::new(),
            ..self.clone()
        };
        drive(async move {
            let id = chain.last().id.clone();
            if let Err(error) = flow.chain(chain, Some(value)).await {
                tracing::warn!(task.id = %id, error = &error as &dyn std::error::Error, "what was linked to a task failed");
            }
        });
    }
}

/// The error of a chord that lacks a part, in the words that workers have for it.
fn chord_error(part: &TaskId, error: &TaskError) -> TaskError {
    let name = match error.type_name() {
        "" => error.kind().as_str(),
        name => name,
    };
    let shown = error.message().escape_debug();
    TaskError::failed(
        "ChordError",
        format!("Dependency {part} raised {name}('{shown}')"),
    )
}
