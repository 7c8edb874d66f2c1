//! One call in a canvas that is no plain signature: partial, or of a task that is elsewhere.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;

use super::node::Links;
use super::{Canvas, Chain, Follows, Given, Node, Nothing, TakesFirst, UntypedCall, call_options};
use crate::signature::CallOptions;
use crate::task::Task;

/// A call of `T` that lacks its first argument: what `TASK::partial(…)` returns.
pub type Partial<T> = Step<<T as Task>::Output, Given<<T as TakesFirst>::First>>;

/// One call that returns `V` and takes `F`: [`Nothing`], or [`Given`] its first argument.
///
/// It is made by `TASK::partial`, by a [`Remote`](super::Remote) task, and by [`map`](super::map).
#[must_use = "a step does nothing until it is sent"]
pub struct Step<V, F = Nothing> {
    call: UntypedCall,
    types: PhantomData<fn(F) -> V>,
}

impl<V, F> Step<V, F> {
    /// A step whose types are right by the caller's word.
    pub(super) fn of(call: UntypedCall) -> Self {
        Self {
            call,
            types: PhantomData,
        }
    }

    /// `next` after this call: with its value if it takes one.
    pub fn then<N: Canvas>(self, next: N) -> Chain<N::Value, F>
    where
        N::Takes: Follows<V>,
    {
        self.into_chain().then(next)
    }

    fn options_mut(&mut self) -> &mut CallOptions {
        &mut self.call.options
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.call.links
    }

    call_options!(V);
}

impl<V, First> Step<V, Given<First>> {
    /// A call of `T` with all arguments but the first; used by `#[task]`.
    #[doc(hidden)]
    pub fn partial<T>(rest: impl Serialize + Send + 'static) -> Self
    where
        T: TakesFirst<First = First, Output = V>,
    {
        let mut call = UntypedCall::new(T::DEFINITION, rest);
        call.takes_value = true;
        Self::of(call)
    }
}

impl<V, F> Canvas for Step<V, F> {
    type Takes = F;
    type Value = V;

    fn into_node(self) -> Node {
        Node::Call(Box::new(self.call))
    }
}

impl<V, F> fmt::Debug for Step<V, F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Step").field(&self.call).finish()
    }
}
