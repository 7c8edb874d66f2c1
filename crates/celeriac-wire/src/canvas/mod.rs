//! What follows the end of a call in a workflow: callbacks, the next step of a chain, a chord.
//!
//! A message carries its workflow in the third part of its body. [`follow`] reads it once the call
//! has ended and says what is to be published, stored and counted; [`join`] does so for a chord all
//! of whose parts have ended. Neither does any of it.
//!
//! # Sources
//!
//! Celery 5.7's tracer and canvas, as their messages were captured (`spec/celery`). One thing is done
//! that Celery leaves undone: the steps behind one that was revoked are ended too.

mod expand;
mod frozen;
mod replace;
mod sender;

use celeriac_core::message::later;
use celeriac_core::outcome::Raised;
use celeriac_core::{
    ChordPart, ContentType, Destination, ErrorKind, Joined, Message, PayloadError, ResultState,
    StoredResult, TaskError, TaskId, Trail, Tree,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::body::{Body, BodyError};
use crate::fields::Fields;
use crate::signature::{Composite, Signature, SignatureError};
use expand::{Expansion, Place};
pub use frozen::Signatures;
pub use replace::replace;
use sender::Sender;
pub use sender::send_workflow;

/// What counts how often a call was replaced: a header, and the option it is made of.
const NESTING: &str = "replaced_task_nesting";

/// How long the failure of a step is kept that never ran: a day.
const KEEP_FAILURE: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// Why it cannot be said what follows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CanvasError {
    /// The message has no body that can be taken apart.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// What follows cannot be sent.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A value that is to be passed on cannot be read.
    #[error("a value that is passed on {0}")]
    Value(#[from] PayloadError),
}

/// Where a task is sent of this name, whose signature says this.
pub type Route<'a> = &'a dyn Fn(Option<Destination>, &str) -> Destination;

/// What is to be done after a call has ended.
#[derive(Debug, Default)]
pub struct Follow {
    /// The chords to open, with the number of their parts, before anything is published.
    pub opened: Vec<(String, u64)>,
    /// The messages to publish.
    pub messages: Vec<(Destination, Message)>,
    /// The results to store of calls that will never run.
    pub results: Vec<StoredResult>,
    /// The parts of chords to count.
    pub parts: Vec<Part>,
}

/// A part of a chord that has ended, and what runs when all of them have.
#[derive(Debug, Clone)]
pub struct Part {
    /// What is counted.
    pub counted: ChordPart,
    body: Signature,
    origin: Origin,
}

/// The call that something follows from.
#[derive(Debug, Clone)]
struct Origin {
    id: TaskId,
    root: TaskId,
    /// Where its result is sent, and so those of what follows it.
    reply_to: Option<String>,
    /// Its stamps, in the form that options have.
    stamps: Option<Fields>,
}

impl Follow {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.results.is_empty()
            && self.parts.is_empty()
            && self.opened.is_empty()
    }

    /// The messages as the children of the call they follow, in the form results keep them in.
    pub fn children(&self) -> Vec<Value> {
        let ids = self.messages.iter().map(|(_, message)| &message.headers.id);
        ids.map(|id| json!([[id, null], null])).collect()
    }

    /// Adds what follows when `signature` is sent.
    fn send(
        &mut self,
        signature: &Signature,
        first: Option<&Tree>,
        place: Place,
        with: &With<'_>,
    ) -> Result<(), CanvasError> {
        Expansion { out: self, with }.send(signature, first, place)
    }

    /// One callback goes by itself. Of several, groups do, and the rest are one group.
    fn send_callbacks(
        &mut self,
        mut callbacks: Vec<Signature>,
        value: &Tree,
        with: &With<'_>,
    ) -> Result<(), CanvasError> {
        if callbacks.len() > 1 {
            let is_group = |it: &Signature| matches!(it.composite(), Ok(Some(Composite::Group(_))));
            let (groups, rest): (Vec<_>, _) = callbacks.into_iter().partition(is_group);
            for group in groups {
                self.send(&group, Some(value), Place::default(), with)?;
            }
            callbacks = rest;
        }
        if let [callback] = &callbacks[..] {
            return self.send(callback, Some(value), Place::default(), with);
        }
        self.send_as_group(&callbacks, value, with)
    }

    /// Sends what is to run after a failure, with the id of the call that failed.
    fn send_errbacks(
        &mut self,
        errbacks: &[Signature],
        failed: &TaskId,
        with: &With<'_>,
    ) -> Result<(), CanvasError> {
        self.send_as_group(errbacks, &Tree::Text(failed.to_string()), with)
    }

    fn send_as_group(
        &mut self,
        signatures: &[Signature],
        first: &Tree,
        with: &With<'_>,
    ) -> Result<(), CanvasError> {
        let group = TaskId::new().to_string();
        for (index, signature) in (0..).zip(signatures) {
            let place = Place::in_group(group.clone(), index);
            self.send(signature, Some(first), place, with)?;
        }
        Ok(())
    }

    /// Ends the body of a chord, and what follows it, because of `end`, and tells whom that is told.
    fn fail_body(
        &mut self,
        body: &Signature,
        end: &StoredResult,
        with: &With<'_>,
    ) -> Result<(), CanvasError> {
        self.give_up(body, end, with)?;
        for step in body.linked("chain")?.iter().rev() {
            self.give_up(step, end, with)?;
        }
        if let Some(id) = body.id() {
            self.send_errbacks(&body.linked("link_error")?, &id.into(), with)?;
        }
        Ok(())
    }

    /// Ends a step that will never run because of `end`.
    fn give_up(
        &mut self,
        step: &Signature,
        end: &StoredResult,
        with: &With<'_>,
    ) -> Result<(), CanvasError> {
        let inner = match step.composite()? {
            Some(Composite::Chain(tasks) | Composite::Group(tasks)) => tasks,
            Some(Composite::Chord { body, .. }) => body.into_iter().map(|body| *body).collect(),
            _ => Vec::new(),
        };
        for step in inner {
            self.give_up(&step, end, with)?;
        }
        let Some(id) = step.id() else {
            return Ok(());
        };
        let result = StoredResult {
            id: id.into(),
            task: step.task.clone(),
            value: None,
            attempt: 1,
            stored_at: with.now,
            expires_at: later(with.now, KEEP_FAILURE),
            trail: Trail {
                reply_to: with.reply_to(step),
                ..Trail::default()
            },
            ..end.clone()
        };
        if let (Some(group), Some(body)) =
            (step.options.text("group_id"), step.options.get("chord"))
        {
            self.parts.push(Part {
                counted: ChordPart {
                    group: group.to_owned(),
                    index: step
                        .options
                        .get("group_index")
                        .and_then(|it| it.read().ok()),
                    result: result.clone(),
                },
                body: Signature::from_tree(body.clone())?,
                origin: with.origin.clone(),
            });
        }
        self.results.push(result);
        Ok(())
    }
}

/// What all that follows one call has in common.
struct With<'a> {
    origin: Origin,
    route: Route<'a>,
    now: Timestamp,
}

impl With<'_> {
    /// Where the result of `step` is sent: as it says itself, or with that of the call it follows.
    fn reply_to(&self, step: &Signature) -> Option<String> {
        let own = step.options.text("reply_to").map(ToOwned::to_owned);
        own.or_else(|| self.origin.reply_to.clone())
    }

    /// The options that a call gets for following the one it follows.
    fn options(&self) -> Fields {
        let mut options = Fields::default();
        options.set("root_id", Tree::Text(self.origin.root.to_string()));
        options.set("parent_id", Tree::Text(self.origin.id.to_string()));
        if let Some(stamps) = &self.origin.stamps {
            for (name, value) in &stamps.0 {
                options.set(name, value.clone());
            }
        }
        options
    }
}

/// How a body of JSON ends whose call nothing follows.
const NOTHING: [&str; 3] = [
    "null]",
    "{}]",
    r#"{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]"#,
];

/// Whether `message` may be part of a workflow: whether its body says more than its arguments, or its
/// task sends one.
///
/// Looks at the end of a JSON body only, so it is quick however long the body is.
pub fn is_workflow(message: &Message) -> bool {
    if Sender::of(message).is_some() {
        return true;
    }
    if message.body.content_type != ContentType::Json {
        return matches!(
            message.body.content_type,
            ContentType::Msgpack | ContentType::Yaml
        );
    }
    let bytes = &message.body.bytes;
    let tail = &bytes[bytes.len().saturating_sub(128)..];
    !NOTHING.iter().any(|nothing| ends_with(tail, nothing))
}

/// Whether `text` ends with `end`, whatever white space stands between.
fn ends_with(text: &[u8], end: &str) -> bool {
    let mut backwards = text.iter().rev().filter(|it| !it.is_ascii_whitespace());
    end.bytes()
        .rev()
        .all(|byte| backwards.next() == Some(&byte))
}

/// What follows from `end`, the final state of the call that `message` made.
///
/// `route` names the queue of a task whose signature names none.
///
/// # Errors
///
/// [`CanvasError`] if the body cannot be read, or its workflow is none.
pub fn follow(
    message: &Message,
    end: &StoredResult,
    route: Route<'_>,
    now: Timestamp,
) -> Result<Follow, CanvasError> {
    let mut follow = Follow::default();
    if !is_workflow(message) {
        return Ok(follow);
    }
    let embed = Body::decode(&message.body)?.embed;
    let with = With {
        origin: Origin::of(message),
        route,
        now,
    };
    if end.state == ResultState::Success {
        let value = value_of(end)?;
        if let Some(workflow) = sender::sent(message, &value)? {
            follow.send(&workflow, None, Place::default(), &with)?;
        }
        follow.send_callbacks(embed.callbacks, &value, &with)?;
        let mut chain = embed.chain;
        if let Some(next) = chain.pop() {
            follow.send(&next, Some(&value), Place::before(chain), &with)?;
        }
    } else {
        if let Some(body) = sender::awaited(message)? {
            follow.fail_body(&body, end, &with)?;
        }
        for step in embed.chain.iter().rev() {
            follow.give_up(step, end, &with)?;
        }
        follow.send_errbacks(&embed.errbacks, &end.id, &with)?;
    }
    if let (Some(group), Some(body)) = (&message.headers.group, embed.chord) {
        let index = message.headers.extra.get("group_index");
        follow.parts.push(Part {
            counted: ChordPart {
                group: group.clone(),
                index: index.and_then(Value::as_u64),
                result: end.clone(),
            },
            body,
            origin: with.origin,
        });
    }
    Ok(follow)
}

/// What follows from a chord that is complete: its body, or its failure if a part failed.
///
/// `part` is the one that was counted last.
///
/// # Errors
///
/// [`CanvasError`] if the value of a part cannot be read, or the body cannot be sent: see [`abandon`].
pub fn join(
    part: &Part,
    joined: &Joined,
    route: Route<'_>,
    now: Timestamp,
) -> Result<Follow, CanvasError> {
    let with = part.with(route, now);
    let failed = |result: &&StoredResult| result.state != ResultState::Success;
    if let Some(failed) = joined.results.iter().find(failed) {
        let cause = failed.error.as_ref().map_or_else(String::new, shown);
        return part.fail(format!("Dependency {} raised {cause}", failed.id), &with);
    }
    let values = joined.results.iter().map(value_of);
    let values = Tree::List(values.collect::<Result<_, _>>()?);
    let place = Place {
        group: Some((joined.group.clone(), None)),
        ..Place::default()
    };
    let mut follow = Follow::default();
    follow.send(&part.body, Some(&values), place, &with)?;
    Ok(follow)
}

/// What follows from a chord whose body can never be sent, because of `reason`: its failure.
///
/// # Errors
///
/// [`CanvasError`] if what follows the body cannot be read.
pub fn abandon(
    part: &Part,
    reason: &str,
    route: Route<'_>,
    now: Timestamp,
) -> Result<Follow, CanvasError> {
    part.fail(format!("Callback error: {reason}"), &part.with(route, now))
}

impl Part {
    fn with<'a>(&self, route: Route<'a>, now: Timestamp) -> With<'a> {
        With {
            origin: self.origin.clone(),
            route,
            now,
        }
    }

    /// The failure of the body, of what follows it, and whom that is told.
    fn fail(&self, text: String, with: &With<'_>) -> Result<Follow, CanvasError> {
        let mut follow = Follow::default();
        let end = chord_failure(text, &self.counted.result);
        follow.fail_body(&self.body, &end, with)?;
        Ok(follow)
    }
}

impl Origin {
    fn of(message: &Message) -> Self {
        let headers = &message.headers;
        Self {
            id: headers.id.clone(),
            root: headers.root_id.as_ref().unwrap_or(&headers.id).clone(),
            reply_to: message.reply_to.clone(),
            stamps: stamps_of(message),
        }
    }
}

fn stamps_of(message: &Message) -> Option<Fields> {
    let names = message.headers.extra.get("stamped_headers")?;
    let mut options = Fields::default();
    for name in names.as_array()?.iter().filter_map(Value::as_str) {
        let value = message.headers.extra.get("stamps")?.get(name)?;
        options.set(name, Tree::from(value.clone()));
    }
    if options.is_empty() {
        return None;
    }
    options.set("stamped_headers", Tree::from(names.clone()));
    Some(options)
}

fn value_of(end: &StoredResult) -> Result<Tree, PayloadError> {
    match &end.value {
        Some(value) => Tree::decode(value.content_type, &value.bytes),
        None => Ok(Tree::Null),
    }
}

/// The end of a chord whose body does not run; `last` is the part that was counted last.
fn chord_failure(text: String, last: &StoredResult) -> StoredResult {
    let raised = Raised {
        module: Some("celery.exceptions".to_owned()),
        arguments: vec![Value::String(text.clone())],
        ..Raised::default()
    };
    let error = TaskError::raised(ErrorKind::Failed, "ChordError", text, raised);
    StoredResult {
        state: ResultState::Failure,
        value: None,
        error: Some(error),
        ..last.clone()
    }
}

/// An error as Python would show it: `ValueError('boom', 42)`.
fn shown(error: &TaskError) -> String {
    let name = match error.type_name() {
        "" => error.kind().as_str(),
        name => name,
    };
    let arguments = match error.as_raised() {
        Some(raised) if !raised.arguments.is_empty() => raised.arguments.clone(),
        _ => vec![Value::String(error.message().to_owned())],
    };
    let shown: Vec<_> = arguments
        .iter()
        .map(|argument| match argument {
            Value::String(text) => format!("'{}'", text.escape_debug()),
            other => other.to_string(),
        })
        .collect();
    format!("{name}({})", shown.join(", "))
}
