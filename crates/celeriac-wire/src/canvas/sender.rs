//! The tasks of Celery's that send workflows: each returns the ids of what it sends.
//!
//! They run nowhere. The value, as Celery has a result in a result, holds the ids; what is sent is made
//! of the message and the value, when the end of the call is settled.
//!
//! # Sources
//!
//! `celery.app.builtins` in Celery 5.7.

use celeriac_core::outcome::Raised;
use celeriac_core::{ContentType, ErrorKind, Message, Outcome, Payload, TaskError, Tree};

use super::CanvasError;
use super::expand::{new_id, starmap};
use crate::body::Body;
use crate::fields::Fields;
use crate::signature::{Composite, Signature, SignatureError, into_list};

/// What a message calls that sends a workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    Chunks,
    Group,
    Chord,
    /// Celery's too only says that it is none.
    Chain,
    /// What Celery's clients send where its result backend cannot count the parts of a chord.
    Unlock,
}

impl Sender {
    pub(super) fn of(message: &Message) -> Option<Self> {
        Some(match message.headers.task.strip_prefix("celery.")? {
            "chunks" => Self::Chunks,
            "group" => Self::Group,
            "chord" => Self::Chord,
            "chain" => Self::Chain,
            "chord_unlock" => Self::Unlock,
            _ => return None,
        })
    }
}

/// The outcome of a call of a task that every worker of Celery's has and that sends a workflow;
/// `None` if `message` calls another task.
///
/// On success [`follow`](super::follow()) sends the workflow, with the ids in the value.
pub fn send_workflow(message: &Message) -> Option<Outcome<Payload>> {
    let sender = Sender::of(message)?;
    Some(match sender {
        Sender::Chain => Err(not_implemented("chain is not a real task".to_owned())),
        Sender::Unlock => Err(not_implemented(
            "this worker waits for no chord: its parts are counted where results are kept. Keep \
             Celery's in Redis, or have a worker of Celery's take `celery.chord_unlock`"
                .to_owned(),
        )),
        Sender::Chunks | Sender::Group | Sender::Chord => plan(sender, message, &mut new_id)
            .map(|(_, value)| Payload {
                content_type: ContentType::Json,
                bytes: value.to_json().into(),
            })
            .map_err(|error| bad_arguments(message, &error)),
    })
}

/// The workflow that a call sends whose value is this.
pub(super) fn sent(message: &Message, value: &Tree) -> Result<Option<Signature>, CanvasError> {
    let Some(sender @ (Sender::Chunks | Sender::Group | Sender::Chord)) = Sender::of(message)
    else {
        return Ok(None);
    };
    let mut ids = Vec::new();
    add_ids(value, &mut ids);
    let mut ids = ids.into_iter();
    // A group says its ids itself.
    let (signature, _) = plan(sender, message, &mut || ids.next().unwrap_or_else(new_id))?;
    Ok(Some(signature))
}

/// The body of a chord that a `celery.chord_unlock` was to send.
pub(super) fn awaited(message: &Message) -> Result<Option<Signature>, CanvasError> {
    if Sender::of(message) != Some(Sender::Unlock) {
        return Ok(None);
    }
    let body = Given::of(message)?.take("callback", 1);
    Ok(body.map(Signature::from_tree).transpose()?)
}

/// What is sent and the value that says so, with ids from `next_id`.
fn plan(
    sender: Sender,
    message: &Message,
    next_id: &mut dyn FnMut() -> String,
) -> Result<(Signature, Tree), CanvasError> {
    let mut given = Given::of(message)?;
    match sender {
        Sender::Chunks => chunks(&mut given, next_id),
        Sender::Group => group(&mut given),
        _ => chord(&mut given, next_id),
    }
}

/// `celery.chunks(task, it, n)`: a group of `celery.starmap`, each of so many items.
fn chunks(
    given: &mut Given,
    next_id: &mut dyn FnMut() -> String,
) -> Result<(Signature, Tree), CanvasError> {
    let mut call = Signature::new("celery.chunks");
    for (index, name) in ["task", "it", "n"].into_iter().enumerate() {
        call.kwargs
            .set(name, given.take(name, index).unwrap_or(Tree::Null));
    }
    let Some(Composite::Chunks { task, items, size }) = call.composite()? else {
        return Ok((call, Tree::Null));
    };
    let group = next_id();
    let mut results = Vec::new();
    let parts = items.chunks(size).map(|items| {
        let id = next_id();
        let mut part = starmap(&task, items);
        part.options.set("task_id", Tree::Text(id.clone()));
        results.push(result(id, Tree::Null));
        part
    });
    let mut sent = Signature::group(parts.collect());
    sent.options.set("task_id", Tree::Text(group.clone()));
    Ok((sent, result(group, Tree::List(results))))
}

/// `celery.group(tasks, result, group_id, partial_args)`: its result is given to it.
fn group(given: &mut Given) -> Result<(Signature, Tree), CanvasError> {
    let mut call = Signature::new("celery.group");
    call.kwargs
        .set("tasks", given.take("tasks", 0).unwrap_or(Tree::Null));
    let result = given.take("result", 1).unwrap_or(Tree::Null);
    let group = given.take("group_id", 2);
    let first = given.list("partial_args", 3)?;
    let Some(Composite::Group(tasks)) = call.composite()? else {
        return Ok((call, result));
    };
    let tasks = tasks.iter().map(|task| with_first(task, &first));
    let mut sent = Signature::group(tasks.collect());
    if let Some(group) = group {
        sent.options.set("task_id", group);
    }
    Ok((sent, result))
}

/// `celery.chord(header, body, partial_args)`: its result is that of the body.
fn chord(
    given: &mut Given,
    next_id: &mut dyn FnMut() -> String,
) -> Result<(Signature, Tree), CanvasError> {
    let mut call = Signature::new("celery.chord");
    for (index, name) in ["header", "body"].into_iter().enumerate() {
        call.kwargs
            .set(name, given.take(name, index).unwrap_or(Tree::Null));
    }
    let first = given.list("partial_args", 2)?;
    let Some(Composite::Chord { header, body }) = call.composite()? else {
        return Ok((call, Tree::Null));
    };
    let mut body = *body.ok_or(SignatureError::Field("body"))?;
    let id = body.id().map_or_else(next_id, str::to_owned);
    body.options.set("task_id", Tree::Text(id.clone()));
    call.kwargs.set("body", body.into_tree());
    if !first.is_empty() {
        let header = header.iter().map(|task| with_first(task, &first));
        call.kwargs.set("header", into_list(header.collect()));
    }
    Ok((call, result(id, Tree::Null)))
}

fn with_first(task: &Signature, first: &[Tree]) -> Signature {
    task.merge(first.to_vec(), Fields::default(), &Fields::default())
}

/// A result in a result: `[[id, parent], parts]`.
fn result(id: String, parts: Tree) -> Tree {
    let own = Tree::List(vec![Tree::Text(id), Tree::Null]);
    Tree::List(vec![own, parts])
}

/// The ids in a result, those of a group's parts after its own.
fn add_ids(result: &Tree, ids: &mut Vec<String>) {
    let Tree::List(both) = result else { return };
    if let Some(Tree::List(own)) = both.first()
        && let Some(Tree::Text(id)) = own.first()
    {
        ids.push(id.clone());
    }
    if let Some(Tree::List(parts)) = both.get(1) {
        for part in parts {
            add_ids(part, ids);
        }
    }
}

/// The arguments of a call.
struct Given {
    args: Vec<Tree>,
    kwargs: Fields,
}

impl Given {
    fn of(message: &Message) -> Result<Self, CanvasError> {
        let body = Body::decode(&message.body)?;
        let read = |bytes| Tree::decode(body.content_type, bytes);
        let args = match read(&body.args)? {
            Tree::List(args) => args,
            _ => Vec::new(),
        };
        let kwargs = match read(&body.kwargs)? {
            Tree::Map(kwargs) => Fields(kwargs),
            _ => Fields::default(),
        };
        Ok(Self { args, kwargs })
    }

    /// The argument of this name, or of this place.
    fn take(&mut self, name: &str, index: usize) -> Option<Tree> {
        let named = self.kwargs.remove(name);
        let given = named.or_else(|| self.args.get(index).cloned())?;
        (given != Tree::Null).then_some(given)
    }

    /// The same for a list, which may be missing.
    fn list(&mut self, name: &'static str, index: usize) -> Result<Vec<Tree>, CanvasError> {
        match self.take(name, index) {
            None => Ok(Vec::new()),
            Some(Tree::List(list)) => Ok(list),
            Some(_) => Err(SignatureError::Field(name).into()),
        }
    }
}

fn bad_arguments(message: &Message, error: &CanvasError) -> TaskError {
    let task = &message.headers.task;
    let reason = format!("the arguments do not fit `{task}`: {error}");
    TaskError::new(ErrorKind::BadArguments, reason)
}

fn not_implemented(reason: String) -> TaskError {
    let raised = Raised {
        module: Some("builtins".to_owned()),
        arguments: vec![reason.clone().into()],
        ..Raised::default()
    };
    TaskError::raised(ErrorKind::Failed, "NotImplementedError", reason, raised)
}

#[cfg(test)]
mod tests {
    use super::super::{Follow, follow};
    use super::*;
    use celeriac_core::{Destination, ResultState, StoredResult, Trail};
    use jiff::Timestamp;
    use serde_json::{Value, json};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn call(task: &str, args: &Value, kwargs: &Value) -> Message {
        // No signature of these names is one message.
        let mut signature = Signature::new("any");
        signature.options.set("task_id", "call");
        let mut message = signature.to_message(NOW).unwrap().message;
        task.clone_into(&mut message.headers.task);
        message.body = Payload::encode(ContentType::Json, &json!([args, kwargs, null])).unwrap();
        message
    }

    /// What a call ends with, and what is then done.
    fn carried_out(message: &Message) -> (Outcome<Value>, Follow) {
        let outcome = send_workflow(message).unwrap();
        let end = StoredResult {
            id: message.headers.id.clone(),
            task: message.headers.task.clone(),
            state: match outcome {
                Ok(_) => ResultState::Success,
                Err(_) => ResultState::Failure,
            },
            value: outcome.as_ref().ok().cloned(),
            error: outcome.as_ref().err().cloned(),
            attempt: 1,
            stored_at: NOW,
            expires_at: NOW,
            trail: Trail::default(),
        };
        let route = |named: Option<Destination>, _: &str| named.unwrap_or_default();
        let follow = follow(message, &end, &route, NOW).unwrap();
        (outcome.map(|value| value.decode().unwrap()), follow)
    }

    fn sent_ids(follow: &Follow) -> Vec<String> {
        let messages = follow.messages.iter();
        messages.map(|(_, it)| it.headers.id.to_string()).collect()
    }

    fn args_of(follow: &Follow, index: usize) -> Value {
        let body: Value = follow.messages[index].1.body.decode().unwrap();
        body[0].clone()
    }

    #[test]
    fn chunks_are_sent_as_a_group_under_the_ids_in_the_value() {
        let task = json!({"task": "add"});
        let kwargs = json!({"task": task, "it": [[1, 1], [2, 2], [3, 3]], "n": 2});
        for (args, kwargs) in [
            (json!([]), kwargs),
            (json!([task, [[1, 1], [2, 2], [3, 3]], 2]), json!({})),
        ] {
            let (value, follow) = carried_out(&call("celery.chunks", &args, &kwargs));
            let value = value.unwrap();
            let ids: Vec<_> = [0, 1].map(|n| value[1][n][0][0].as_str().unwrap()).into();
            assert_eq!(sent_ids(&follow), ids);
            let group = value[0][0].as_str();
            for (_, message) in &follow.messages {
                assert_eq!(message.headers.task, "celery.starmap");
                assert_eq!(message.headers.group.as_deref(), group);
                assert_eq!(message.headers.parent_id, Some("call".into()));
            }
            let last: Value = follow.messages[1].1.body.decode().unwrap();
            assert_eq!(last[1]["it"], json!([[3, 3]]));
        }
    }

    #[test]
    fn a_group_sends_its_tasks_and_returns_its_result() {
        let task = |id: &str| json!({"task": "add", "args": [1], "options": {"task_id": id}});
        let result = json!([["g", null], [[["a", null], null], [["b", null], null]]]);
        let args = json!([[task("a"), task("b")], result, "g", [7]]);
        let (value, follow) = carried_out(&call("celery.group", &args, &json!({})));
        assert_eq!(value.unwrap(), result);
        assert_eq!(sent_ids(&follow), ["a", "b"]);
        assert_eq!(follow.messages[1].1.headers.group.as_deref(), Some("g"));
        assert_eq!(args_of(&follow, 1), json!([7, 1]));
    }

    #[test]
    fn a_chord_is_opened_and_returns_the_result_of_its_body() {
        let header = json!([{"task": "add", "args": [1]}, {"task": "add", "args": [2]}]);
        let kwargs = json!({"header": header, "body": {"task": "sum"}, "partial_args": [7]});
        let (value, follow) = carried_out(&call("celery.chord", &json!([]), &kwargs));
        assert_eq!(follow.opened.len(), 1);
        assert_eq!(follow.opened[0].1, 2);
        assert_eq!(args_of(&follow, 1), json!([7, 2]));
        let body = Body::decode(&follow.messages[0].1.body).unwrap();
        let chord = body.embed.chord.unwrap();
        assert_eq!(value.unwrap(), json!([[chord.id().unwrap(), null], null]));
    }

    #[test]
    fn what_cannot_be_carried_out_says_why() {
        for (task, kwargs, kind) in [
            ("celery.chain", json!({}), ErrorKind::Failed),
            ("celery.chunks", json!({"it": []}), ErrorKind::BadArguments),
            ("celery.group", json!({}), ErrorKind::BadArguments),
            (
                "celery.chord",
                json!({"header": []}),
                ErrorKind::BadArguments,
            ),
        ] {
            let (value, follow) = carried_out(&call(task, &json!([]), &kwargs));
            let error = value.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(follow.is_empty(), "{task}");
        }
        let other = call("celery.starmap", &json!([]), &json!({}));
        assert!(send_workflow(&other).is_none());
    }

    #[test]
    fn a_chord_that_nobody_counts_fails_under_the_id_of_its_body() {
        let body = json!({"task": "sum", "options": {"task_id": "s",
            "link_error": [{"task": "told"}]}});
        let args = json!(["g", body]);
        let (value, follow) = carried_out(&call("celery.chord_unlock", &args, &json!({})));
        let error = value.unwrap_err();
        assert!(error.message().contains("celery.chord_unlock"), "{error}");
        assert_eq!(follow.results[0].id, "s".into());
        assert_eq!(follow.results[0].error, Some(error));
        assert_eq!(follow.messages[0].1.headers.task, "told");
        assert_eq!(args_of(&follow, 0), json!(["s"]));
    }
}
