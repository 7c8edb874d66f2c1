//! Many inputs of one task in few messages.

use serde::Serialize;

use super::{Group, Node, Step, UntypedCall};
use crate::builtin;
use crate::task::{Task, TaskDefinition};

/// What `celery.map` and `celery.starmap` take.
#[derive(Serialize)]
struct Mapped<I> {
    task: Subject,
    it: Vec<I>,
}

/// A task in the shape of a signature that says nothing but its name.
#[derive(Serialize)]
struct Subject {
    task: &'static str,
    args: [(); 0],
    kwargs: Empty,
    options: Empty,
    subtask_type: Option<()>,
    immutable: bool,
}

#[derive(Serialize)]
struct Empty {}

/// One call that runs `T` on each of `items`, one after another, and returns the list of values:
/// `celery.map`.
///
/// It fails with the first call that does. Unlike `App::map`, all items are in one message and run
/// in one place.
///
/// ```
/// # use celeriac_core::Task;
/// # use celeriac_core::canvas::{self, Step};
/// # fn example<T: Task<Input = u64, Args = (u64,), Output = bool>>() {
/// let answers: Step<Vec<bool>> = canvas::map::<T>([3, 4, 5]);
/// # let _ = answers;
/// # }
/// ```
pub fn map<T>(items: impl IntoIterator<Item = T::Input>) -> Step<Vec<T::Output>>
where
    T: Task<Args = (<T as Task>::Input,)>,
    T::Input: Serialize,
{
    Step::of(mapped::<T, _>(&builtin::MAP, items.into_iter().collect()))
}

/// As [`map`], for a task of any number of arguments, with a tuple of them for each call:
/// `celery.starmap`.
pub fn starmap<T: Task>(inputs: impl IntoIterator<Item = T::Input>) -> Step<Vec<T::Output>> {
    let args = inputs.into_iter().map(T::args).collect();
    Step::of(mapped::<T, _>(&builtin::STARMAP, args))
}

/// A group of [`starmap`]s of `size` inputs each; the last may have fewer.
///
/// # Panics
///
/// If `size` is 0.
pub fn chunks<T: Task>(
    inputs: impl IntoIterator<Item = T::Input>,
    size: usize,
) -> Group<Vec<T::Output>> {
    assert!(size > 0, "a chunk holds at least one input");
    let mut inputs = inputs.into_iter().peekable();
    let mut parts = Vec::new();
    while inputs.peek().is_some() {
        let args = inputs.by_ref().take(size).map(T::args).collect();
        let call = mapped::<T, _>(&builtin::STARMAP, args);
        parts.push(Node::Call(Box::new(call)));
    }
    Group::of(parts)
}

fn mapped<T: Task, I: Serialize + Send + 'static>(
    form: &'static TaskDefinition,
    it: Vec<I>,
) -> UntypedCall {
    let subject = Subject {
        task: T::DEFINITION.name,
        args: [],
        kwargs: Empty {},
        options: Empty {},
        subtask_type: None,
        immutable: false,
    };
    let mut call = UntypedCall::new(form, [(); 0]).named(Mapped { task: subject, it });
    call.options.queue = T::DEFINITION.options.queue.map(str::to_owned);
    call
}
