//! The tasks that every Celery worker has and that need nothing but the registry.
//!
//! Like any task they are given a body and return a value; what is inside is passed on without being
//! decoded.
//!
//! # Sources
//!
//! `celery.app.builtins` in Celery 5.7.

mod parts;

use serde::Serialize;

use crate::BoxFuture;
use crate::brief::Brief;
use crate::canvas;
use crate::context::Context;
use crate::outcome::{ErrorKind, Outcome, TaskError};
use crate::payload::ContentType;
use crate::registry;
use crate::task::{EncodedCall, Run, TaskDefinition, TaskOptions};
use parts::{Parts, split_list};

/// All of them.
pub(crate) static ALL: [&TaskDefinition; 4] = [&MAP, &STARMAP, &ACCUMULATE, &CLEANUP];

/// A task on each of many values.
pub(crate) static MAP: TaskDefinition = definition(
    "celery.map",
    "celery.map(task: Signature, it: Vec<Value>) -> Vec<Value>",
    &["task", "it"],
    |content_type, body, context| mapped(content_type, body, context, false),
);

/// A task on each of many lists of arguments.
pub(crate) static STARMAP: TaskDefinition = definition(
    "celery.starmap",
    "celery.starmap(task: Signature, it: Vec<Vec<Value>>) -> Vec<Value>",
    &["task", "it"],
    |content_type, body, context| mapped(content_type, body, context, true),
);

/// Returns what it is given.
pub(crate) static ACCUMULATE: TaskDefinition = definition(
    "celery.accumulate",
    "celery.accumulate(*args, index: Option<usize>) -> Value",
    &["index"],
    |content_type, body, _| Run::Ready(accumulate(content_type, body)),
);

/// Results here expire by themselves, so it has nothing to do.
static CLEANUP: TaskDefinition = definition(
    "celery.backend_cleanup",
    "celery.backend_cleanup()",
    &[],
    |content_type, _, _| {
        Run::Ready(Ok(match content_type {
            ContentType::Msgpack => vec![0xc0],
            _ => b"null".to_vec(),
        }))
    },
);

const fn definition(
    name: &'static str,
    signature: &'static str,
    parameters: &'static [&'static str],
    call: EncodedCall,
) -> TaskDefinition {
    TaskDefinition {
        name,
        signature,
        parameters,
        is_async: false,
        wants_context: true,
        options: TaskOptions::DEFAULT,
        call,
    }
}

/// The built-in task of this name.
pub(crate) fn find(name: &str) -> Option<&'static TaskDefinition> {
    ALL.into_iter().find(|task| task.name == name)
}

/// The named arguments of `celery.accumulate`.
#[derive(Serialize)]
pub(crate) struct Accumulate {
    index: usize,
}

impl Accumulate {
    /// Returns the first of its arguments.
    pub(crate) const FIRST: Self = Self { index: 0 };
}

fn bad(task: &TaskDefinition, reason: &str) -> TaskError {
    TaskError::new(
        ErrorKind::BadArguments,
        format!("the arguments do not fit {}: {reason}", task.signature),
    )
}

/// All positional arguments, or the one that is asked for.
fn accumulate(content_type: ContentType, body: &[u8]) -> Outcome<Vec<u8>> {
    let bad = |reason: &str| bad(&ACCUMULATE, reason);
    let parts = Parts::read(content_type, body).ok_or_else(|| bad("it cannot be decoded"))?;
    let index: Option<usize> = match parts.named("index") {
        Some(index) => content_type
            .decode(index)
            .map_err(|_| bad("`index` is no number"))?,
        None => None,
    };
    match index {
        None => Ok(parts.args.to_vec()),
        Some(index) => split_list(content_type, parts.args)
            .and_then(|args| args.get(index).map(|value| value.to_vec()))
            .ok_or_else(|| bad("there is no argument number `index`")),
    }
}

/// The bodies of the calls that a `celery.map` or `celery.starmap` stands for, and their task.
fn calls_of(
    content_type: ContentType,
    body: &[u8],
    spread: bool,
) -> Outcome<(&'static TaskDefinition, Vec<Vec<u8>>)> {
    let bad = |reason: &str| bad(if spread { &STARMAP } else { &MAP }, reason);
    let parts = Parts::read(content_type, body).ok_or_else(|| bad("it cannot be decoded"))?;
    let given = split_list(content_type, parts.args).unwrap_or_default();
    let take = |name, index: usize| parts.named(name).or_else(|| given.get(index).copied());
    let subject = take("task", 0).ok_or_else(|| bad("`task` is missing"))?;
    let name: parts::Subject = content_type
        .decode(subject)
        .map_err(|_| bad("`task` is no signature"))?;
    let items = take("it", 1).ok_or_else(|| bad("`it` is missing"))?;
    let items = split_list(content_type, items).ok_or_else(|| bad("`it` is no list"))?;
    let task = registry::all()
        .find(|task| task.name == name.task)
        .ok_or_else(|| {
            let reason = format!("no task is named `{}`", Brief(&name.task));
            TaskError::new(ErrorKind::Unregistered, reason)
        })?;
    let (empty, named): (&[u8], &[u8]) = match content_type {
        ContentType::Msgpack => (&[0x90], &[0x80]),
        _ => (b"[]", b"{}"),
    };
    let bodies = items.into_iter().map(|item| {
        // An empty list takes another first item.
        let alone = || canvas::prepend(content_type, item, empty).expect("it is a list");
        let args = if spread { item.to_vec() } else { alone() };
        canvas::body(content_type, None, &args, named).expect("nothing is put before the list")
    });
    Ok((task, bodies.collect()))
}

/// Runs a task on each item in turn, and returns the list of values.
fn mapped(
    content_type: ContentType,
    body: &[u8],
    context: &Context,
    spread: bool,
) -> Run<Outcome<Vec<u8>>> {
    let (task, bodies) = match calls_of(content_type, body, spread) {
        Ok(calls) => calls,
        Err(error) => return Run::Ready(Err(error)),
    };
    if task.is_async {
        let context = context.clone();
        let all: BoxFuture<'static, _> = Box::pin(async move {
            let mut values = Vec::with_capacity(bodies.len());
            for body in bodies {
                context.check().map_err(TaskError::from_error)?;
                let outcome = match (task.call)(content_type, &body, &context) {
                    Run::Ready(outcome) => outcome,
                    Run::Pending(future) => future.await,
                };
                values.push(outcome.map_err(TaskError::without_replacement)?);
            }
            Ok(canvas::list(content_type, values.iter().map(Vec::as_slice)))
        });
        return Run::Pending(all);
    }
    let mut values = Vec::with_capacity(bodies.len());
    for body in bodies {
        if let Err(interrupted) = context.check() {
            return Run::Ready(Err(TaskError::from_error(interrupted)));
        }
        match (task.call)(content_type, &body, context) {
            Run::Ready(Ok(value)) => values.push(value),
            Run::Ready(Err(error)) => return Run::Ready(Err(error.without_replacement())),
            Run::Pending(_) => unreachable!("its definition says that it is no async task"),
        }
    }
    Run::Ready(Ok(canvas::list(
        content_type,
        values.iter().map(Vec::as_slice),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Control;
    use crate::id::TaskId;

    fn run(task: &TaskDefinition, body: &str) -> Outcome<String> {
        let context = Context::new(TaskId::new(), 1, None, Control::new());
        match (task.call)(ContentType::Json, body.as_bytes(), &context) {
            Run::Ready(outcome) => outcome.map(|bytes| String::from_utf8(bytes).unwrap()),
            Run::Pending(_) => unreachable!("no built-in task waits for anything itself"),
        }
    }

    #[test]
    fn accumulate_returns_its_arguments_or_one_of_them() {
        for (body, value) in [
            ("[[[1, 2.50]], {\"index\": 0}, {}]", "[1, 2.50]"),
            ("[[1,\"x\"],{\"index\":null},null]", "[1,\"x\"]"),
            ("[[1,\"x\"],{},null]", "[1,\"x\"]"),
        ] {
            assert_eq!(run(&ACCUMULATE, body).unwrap(), value);
        }
        for body in ["[[1],{\"index\":1},{}]", "[[1],{\"index\":\"x\"},{}]", "{}"] {
            let error = run(&ACCUMULATE, body).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadArguments, "{body}");
        }
    }

    #[test]
    fn a_map_runs_its_task_item_by_item() {
        let task = r#"{"task":"celery.accumulate","args":[],"kwargs":{},"options":{}}"#;
        for (form, it, value) in [
            (&MAP, r#"[[1], "x"]"#, r#"[[[1]],["x"]]"#),
            (&STARMAP, r"[[1, 2], []]", r"[[1, 2],[]]"),
            (&STARMAP, "[]", "[]"),
        ] {
            let named = format!(r#"[[],{{"task":{task},"it":{it}}},{{}}]"#);
            assert_eq!(run(form, &named).unwrap(), value);
            let positional = format!(r"[[{task},{it}],{{}},{{}}]");
            assert_eq!(run(form, &positional).unwrap(), value);
        }
    }

    #[test]
    fn a_map_of_what_is_no_task_or_no_list_fails() {
        let task = r#"{"task":"celery.accumulate"}"#;
        for (body, kind) in [
            (r#"[[],{"it":[]},{}]"#.to_owned(), ErrorKind::BadArguments),
            (
                format!(r#"[[],{{"task":{task}}},{{}}]"#),
                ErrorKind::BadArguments,
            ),
            (format!(r"[[{task},7],{{}},{{}}]"), ErrorKind::BadArguments),
            (r"[[7,[]],{},{}]".to_owned(), ErrorKind::BadArguments),
            (
                r#"[[{"task":"no.such"},[]],{},{}]"#.to_owned(),
                ErrorKind::Unregistered,
            ),
            (String::new(), ErrorKind::BadArguments),
        ] {
            assert_eq!(run(&MAP, &body).unwrap_err().kind(), kind, "{body}");
        }
    }
}
