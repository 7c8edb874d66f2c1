//! What a step takes from the one before it, as types the compiler can compare.

use std::fmt;
use std::marker::PhantomData;

use crate::id::TaskId;
use crate::task::Task;

/// A task that can be given the value of the step before it: one with a parameter.
///
/// `#[task]` implements it.
pub trait TakesFirst: Task {
    /// The type of its first argument as it travels: `String` for `&str`, `Vec<T>` for `&[T]`.
    type First;
}

/// What a canvas takes that has all its arguments: nothing, so it may start.
#[derive(Debug, Clone, Copy)]
pub enum Nothing {}

/// What a canvas takes that lacks its first argument: a `V`.
pub struct Given<V>(PhantomData<fn(V)>);

impl<V> fmt::Debug for Given<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Given")
    }
}

/// What may stand behind a step that returns `V`: [`Nothing`] and [`Given<V>`].
#[diagnostic::on_unimplemented(
    message = "the step before returns `{V}`, and this one is `{Self}`",
    label = "does not take a `{V}`",
    note = "the first parameter of a step must have exactly the type of the value before it",
    note = "a full call, `TASK::call(…)`, ignores that value"
)]
pub trait Follows<V> {}

impl<V> Follows<V> for Nothing {}
impl<V> Follows<V> for Given<V> {}

/// What may stand behind a failure: what takes [`Nothing`] or the failed call's id, as a [`TaskId`]
/// or a `String`.
#[diagnostic::on_unimplemented(
    message = "what follows a failure is given the failed call's id, and this is `{Self}`",
    label = "takes no id",
    note = "let its first parameter be a `TaskId`, a `String` or a `&str`"
)]
pub trait FollowsFailure {}

impl FollowsFailure for Nothing {}
impl FollowsFailure for Given<TaskId> {}
impl FollowsFailure for Given<String> {}
