//! A task: a function with a name, typed arguments and the rules it is run by.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures_util::FutureExt as _;
use serde::Deserialize;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};

use crate::BoxFuture;
use crate::chunk::ChunkBuilder;
use crate::context::Context;
use crate::executor::Limits;
use crate::outcome::{ErrorKind, Outcome, TaskError};
use crate::payload::{ContentType, Payload, PayloadError};
use crate::policy::{AckProfile, RateLimit, ResultPolicy, RetryPolicy};
use crate::tree::{ReadError, Tree};

/// A function that can be run anywhere: what `#[task]` makes of one.
///
/// Implement it by the attribute; by hand only if a task cannot be a function.
pub trait Task: Send + Sync + 'static {
    /// One call's arguments as `map` takes them: the argument itself if there is one, else a tuple.
    type Input: Send + 'static;
    /// One call's arguments as they travel: a tuple, and `[(); 0]` if there is none, because `()`
    /// travels as null where Celery wants an empty list.
    type Args: Serialize + DeserializeOwned + Send + 'static;
    /// What it returns; the value of the `Ok` if it returns a `Result`.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// Its name, options and entry points.
    const DEFINITION: &'static TaskDefinition;

    /// The arguments that `input` stands for.
    fn args(input: Self::Input) -> Self::Args;

    /// Runs it: to its end if it is a plain function, to a future if it is an `async` one.
    fn run(args: Self::Args, context: &Context) -> Run<Outcome<Self::Output>>;
}

/// What calling a task gives: its value at once, or a future of it.
pub enum Run<V> {
    /// A plain function has run.
    Ready(V),
    /// An `async` function has yet to run.
    Pending(BoxFuture<'static, V>),
}

impl<V: fmt::Debug> fmt::Debug for Run<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(value) => formatter.debug_tuple("Ready").field(value).finish(),
            Self::Pending(_) => formatter.write_str("Pending"),
        }
    }
}

impl<V: Send + 'static> Run<V> {
    /// Applies `change` to the value, now or later.
    pub fn map<W: Send + 'static>(self, change: impl FnOnce(V) -> W + Send + 'static) -> Run<W> {
        match self {
            Self::Ready(value) => Run::Ready(change(value)),
            Self::Pending(future) => Run::Pending(Box::pin(future.map(change))),
        }
    }
}

/// The rules of one task, as its attribute states them.
#[derive(Debug, Clone, Copy)]
pub struct TaskOptions {
    /// The queue it is sent to; `None` means [`QueueName::DEFAULT`](crate::QueueName::DEFAULT).
    pub queue: Option<&'static str>,
    /// Whether and when it is run again.
    pub retry: RetryPolicy,
    /// Soft and hard time limits of one attempt.
    pub limits: Limits,
    /// When its delivery is acknowledged.
    pub ack: AckProfile,
    /// How often it may start, in each worker.
    pub rate_limit: Option<RateLimit>,
    /// 0 to 9, larger first among the messages of a queue.
    pub priority: u8,
    /// How long after sending it is still worth starting.
    pub expires: Option<Duration>,
    /// What becomes of its result.
    pub results: ResultPolicy,
}

impl TaskOptions {
    /// What holds if the attribute says nothing.
    pub const DEFAULT: Self = Self {
        queue: None,
        retry: RetryPolicy::NONE,
        limits: Limits::NONE,
        ack: AckProfile::Reliable,
        rate_limit: None,
        priority: 0,
        expires: None,
        results: ResultPolicy::DEFAULT,
    };
}

/// How an executor runs one encoded call.
pub type EncodedCall = fn(ContentType, &[u8], &Context) -> Run<Outcome<Vec<u8>>>;

/// Everything about a task but its types: what a registry holds.
pub struct TaskDefinition {
    /// The name it is sent by, such as `shop.charge`.
    pub name: &'static str,
    /// Its Rust signature, for people: `charge(order: u64) -> Receipt`.
    pub signature: &'static str,
    /// The names of its parameters, without the context.
    pub parameters: &'static [&'static str],
    /// Whether it is an `async` function.
    pub is_async: bool,
    /// Whether it has a context parameter.
    pub wants_context: bool,
    /// The rules it is run by.
    pub options: TaskOptions,
    /// Decodes the arguments, runs it and encodes the result in the same content type.
    pub call: EncodedCall,
}

impl fmt::Debug for TaskDefinition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TaskDefinition")
            .field("name", &self.name)
            .field("signature", &self.signature)
            .finish_non_exhaustive()
    }
}

/// Runs a typed call and turns a panic into an outcome.
pub fn call_typed<T: Task>(args: T::Args, context: &Context) -> Run<Outcome<T::Output>> {
    match catch_unwind(AssertUnwindSafe(|| T::run(args, context))) {
        Ok(Run::Ready(outcome)) => Run::Ready(outcome),
        Ok(Run::Pending(future)) => {
            Run::Pending(Box::pin(AssertUnwindSafe(future).catch_unwind().map(
                |caught| caught.unwrap_or_else(|panic| Err(TaskError::from_panic(&*panic))),
            )))
        }
        Err(panic) => Run::Ready(Err(TaskError::from_panic(&*panic))),
    }
}

/// A spare buffer is kept up to this size, in bytes.
const SPARE_BYTES: usize = 2 * 1024 * 1024;

thread_local! {
    /// Memory for the next result encoded on this thread.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Keeps the memory of a result that was passed on for the next one on this thread.
///
/// Fresh memory for each result costs as much as an empty task, or as a copy of a large one.
pub fn recycle(mut result: Vec<u8>) {
    if result.capacity() <= SPARE_BYTES {
        result.clear();
        SPARE.set(result);
    }
}

/// Decodes, runs and encodes one call: the [`EncodedCall`] of `T`.
pub fn call_encoded<T: Task>(
    content_type: ContentType,
    body: &[u8],
    context: &Context,
) -> Run<Outcome<Vec<u8>>> {
    let args = match decode_body::<T>(content_type, body) {
        Ok(args) => args,
        Err(error) => return Run::Ready(Err(error)),
    };
    call_typed::<T>(args, context).map(move |outcome| {
        let value = outcome?;
        let mut bytes = SPARE.take();
        // A hand-written `Serialize` may panic, and that too costs only this task.
        match catch_unwind(AssertUnwindSafe(|| {
            content_type.encode_into(&value, &mut bytes)
        })) {
            Ok(Ok(())) => Ok(bytes),
            Ok(Err(error)) => Err(TaskError::new(
                ErrorKind::BadResult,
                format!(
                    "its result {error}; return a type that {} can hold",
                    content_type.as_str()
                ),
            )),
            Err(panic) => Err(TaskError::from_panic(&*panic)),
        }
    })
}

/// The body of a call in Celery's shape: positional arguments, named ones, and the embedded canvas.
#[derive(Serialize)]
struct Body<'a, A>(&'a A, Empty, Embed);

#[derive(Serialize)]
struct Empty {}

/// The workflow a message carries along, all null for a plain call.
#[derive(Serialize)]
struct Embed {
    callbacks: Option<()>,
    errbacks: Option<()>,
    chain: Option<()>,
    chord: Option<()>,
}

const NO_EMBED: Embed = Embed {
    callbacks: None,
    errbacks: None,
    chain: None,
    chord: None,
};

/// Encodes the body of one call: `[args, {}, embed]`, as Celery does.
///
/// # Errors
///
/// [`PayloadError::Encode`] if an argument has no form in `content_type`.
pub fn encode_body<A: Serialize>(
    content_type: ContentType,
    args: &A,
) -> Result<Payload, PayloadError> {
    Payload::encode(content_type, &Body(args, Empty {}, NO_EMBED))
}

/// Appends the body of one call to a chunk: for brokers in Celery's shape to the letter, for children
/// of this program as short as it decodes.
///
/// # Errors
///
/// [`PayloadError::Encode`] if an argument has no form in the chunk's content type.
pub fn push_body<A: Serialize>(chunk: &mut ChunkBuilder, args: &A) -> Result<(), PayloadError> {
    match chunk.content_type() {
        ContentType::Msgpack => chunk.push(&(args, Empty {}, Empty {})),
        _ => chunk.push(&Body(args, Empty {}, NO_EMBED)),
    }
}

/// Whether a map is empty, without decoding what is in it.
struct IsEmpty(bool);

impl<'de> Deserialize<'de> for IsEmpty {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EmptyVisitor;
        impl<'de> Visitor<'de> for EmptyVisitor {
            type Value = IsEmpty;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map of named arguments")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<IsEmpty, A::Error> {
                let mut empty = true;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    empty = false;
                }
                Ok(IsEmpty(empty))
            }
        }
        deserializer.deserialize_map(EmptyVisitor)
    }
}

/// Decodes the arguments of `T` from a body `[args, kwargs, embed]`.
///
/// # Errors
///
/// A [`TaskError`] of kind [`ErrorKind::BadArguments`] that names the task's signature and what
/// does not fit it.
pub fn decode_body<T: Task>(content_type: ContentType, body: &[u8]) -> Outcome<T::Args> {
    type Quick<A> = (A, IsEmpty, IgnoredAny);
    let quick = catch_unwind(|| match content_type {
        ContentType::Json => serde_json::from_slice::<Quick<T::Args>>(body).ok(),
        ContentType::Msgpack => rmp_serde::from_slice::<Quick<T::Args>>(body).ok(),
        _ => None,
    });
    match quick {
        Ok(Some((args, IsEmpty(true), _))) => Ok(args),
        Ok(_) => catch_unwind(|| by_name::<T>(content_type, body))
            .unwrap_or_else(|panic| Err(TaskError::from_panic(&*panic))),
        Err(panic) => Err(TaskError::from_panic(&*panic)),
    }
}

/// The slow way: named arguments put in their places, what only Python writes, and errors that say
/// which argument is wrong.
fn by_name<T: Task>(content_type: ContentType, body: &[u8]) -> Outcome<T::Args> {
    let definition = T::DEFINITION;
    let bad = |reason: String| {
        TaskError::new(
            ErrorKind::BadArguments,
            format!(
                "the arguments do not fit {}: {reason}",
                definition.signature
            ),
        )
    };
    let tree = content_type
        .tree(body)
        .map_err(|error| bad(error.to_string()))?;
    let Some((mut args, mut kwargs)) = arguments(tree) else {
        return Err(bad(
            "the body cannot be decoded: it is no list of arguments, named arguments and workflow"
                .to_owned(),
        ));
    };
    let parameters = definition.parameters;
    if args.len() > parameters.len() {
        return Err(bad(format!(
            "it takes {}, {} given",
            count(parameters.len()),
            args.len()
        )));
    }
    for name in &parameters[args.len()..] {
        match kwargs.iter().position(|given| given.0 == *name) {
            Some(index) => args.push(kwargs.swap_remove(index).1),
            None => {
                return Err(bad(format!(
                    "`{name}` is missing; it takes {}",
                    count(parameters.len())
                )));
            }
        }
    }
    if let Some((extra, _)) = kwargs.first() {
        return Err(bad(if parameters.contains(&extra.as_str()) {
            format!("`{extra}` is given twice")
        } else if is_name(extra) {
            format!("it has no parameter `{extra}`")
        } else {
            // It is data rather than a name, and errors are logged.
            "it has no parameter of a name that is given".to_owned()
        }));
    }
    Tree::List(args).read().map_err(|error: ReadError| {
        let (index, error) = error.split_item();
        let parameter = index.and_then(|index| parameters.get(index));
        bad(match parameter {
            Some(name) => format!("`{name}`: {error}"),
            None => error.to_string(),
        })
    })
}

/// Named arguments, in their order.
type Named = Vec<(String, Tree)>;

/// The positional and the named arguments of a body.
fn arguments(body: Tree) -> Option<(Vec<Tree>, Named)> {
    let Tree::List(parts) = body else {
        return None;
    };
    match <[Tree; 3]>::try_from(parts) {
        Ok([Tree::List(args), Tree::Map(kwargs), _]) => Some((args, kwargs)),
        _ => None,
    }
}

/// Whether a parameter could be called so: it has the form of an identifier, and not a long one.
fn is_name(text: &str) -> bool {
    let part = |character: char| character.is_alphanumeric() || character == '_';
    text.len() <= 100 && text.chars().all(part)
}

fn count(parameters: usize) -> String {
    match parameters {
        0 => "no argument".to_owned(),
        1 => "1 argument".to_owned(),
        n => format!("{n} arguments"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Control;
    use crate::id::TaskId;

    struct Divide;

    impl Task for Divide {
        type Input = (u32, u32);
        type Args = (u32, u32);
        type Output = u32;
        const DEFINITION: &'static TaskDefinition = &TaskDefinition {
            name: "divide",
            signature: "divide(a: u32, b: u32) -> u32",
            parameters: &["a", "b"],
            is_async: false,
            wants_context: false,
            options: TaskOptions::DEFAULT,
            call: call_encoded::<Divide>,
        };

        fn args(input: Self::Input) -> Self::Args {
            input
        }

        fn run((a, b): Self::Args, _: &Context) -> Run<Outcome<u32>> {
            Run::Ready(Ok(a / b))
        }
    }

    fn call(body: &str) -> Outcome<String> {
        let context = Context::new(TaskId::new(), 1, None, Control::new());
        match (Divide::DEFINITION.call)(ContentType::Json, body.as_bytes(), &context) {
            Run::Ready(outcome) => outcome.map(|bytes| String::from_utf8(bytes).unwrap()),
            Run::Pending(_) => unreachable!("it is no async function"),
        }
    }

    #[test]
    fn arguments_come_by_position_and_by_name() {
        for body in [
            r"[[7,2],{},{}]",
            r#"[[7],{"b":2},{"chain":null}]"#,
            r#"[[],{"b":2,"a":7},null]"#,
        ] {
            assert_eq!(call(body).unwrap(), "3", "{body}");
        }
    }

    #[test]
    fn arguments_that_do_not_fit_are_named() {
        for (body, reason) in [
            (r"[[7],{},{}]", "`b` is missing; it takes 2 arguments"),
            (r"[[7,2,1],{},{}]", "it takes 2 arguments, 3 given"),
            (r#"[[7,2],{"c":1},{}]"#, "it has no parameter `c`"),
            (r#"[[7,2],{"a":1},{}]"#, "`a` is given twice"),
            (r#"[["secret",2],{},{}]"#, "`a`: expected u32, found a text"),
            (r"[[7,2],{}]", "cannot be decoded"),
            (r"{}", "cannot be decoded"),
            (r"", "cannot be decoded"),
        ] {
            let error = call(body).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadArguments, "{body}");
            assert!(
                error.message().contains("divide(a: u32, b: u32)"),
                "{error}"
            );
            assert!(error.message().contains(reason), "{body}: {error}");
            assert!(!error.message().contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_panic_is_an_outcome() {
        let error = call(r"[[7,0],{},{}]").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panicked);
        assert!(error.message().contains("divide by zero"));
    }

    #[test]
    fn a_body_has_celerys_shape() {
        let body = encode_body(ContentType::Json, &(1, "x")).unwrap();
        assert_eq!(
            std::str::from_utf8(&body.bytes).unwrap(),
            r#"[[1,"x"],{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]"#
        );
    }
}
