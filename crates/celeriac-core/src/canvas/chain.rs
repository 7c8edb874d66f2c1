//! One step after another.

use std::fmt;
use std::marker::PhantomData;

use super::options::canvas_options;
use super::{Canvas, Follows, FollowsFailure, Node, Nothing};

/// Steps one after another: it returns what the last one does, a `V`, and takes what its first does.
///
/// A step that fails ends the chain: the rest has the same error for its outcome. A group in a
/// chain is done when all its parts are; what follows it takes the list of their values, and if a
/// part failed, the error is a `ChordError` that names it.
///
/// ```
/// # use celeriac_core::canvas::{Canvas, Chain, Remote, remote};
/// let add: Remote<(u64, u64), u64> = remote("proj.add");
/// let report: Remote<(u64,), ()> = remote("proj.report");
/// let chain: Chain<()> = add.call((2, 2)).then(add.partial((8,))).then(report.partial(()));
/// # let _ = chain;
/// ```
#[must_use = "a chain does nothing until it is sent"]
pub struct Chain<V, F = Nothing> {
    pub(super) node: Node,
    types: PhantomData<fn(F) -> V>,
}

impl<V, F> Chain<V, F> {
    /// A chain whose types are right by the caller's word.
    pub(super) fn of(node: Node) -> Self {
        Self {
            node,
            types: PhantomData,
        }
    }

    /// `next` after the last step: with its value if it takes one.
    pub fn then<N: Canvas>(self, next: N) -> Chain<N::Value, F>
    where
        N::Takes: Follows<V>,
    {
        Chain::of(self.node.then(next.into_node()))
    }

    /// Has `callback` run once the last step has succeeded, as [`Signature::link`] does.
    ///
    /// [`Signature::link`]: crate::Signature::link
    pub fn link<N: Canvas>(mut self, callback: N) -> Self
    where
        N::Takes: Follows<V>,
    {
        self.node.last().links.callbacks.push(callback.into_node());
        self
    }

    /// Has what `errback` makes run once a step has failed, with the id of that step; made anew
    /// for every step.
    ///
    /// ```
    /// # use celeriac_core::canvas::{Remote, remote};
    /// # let add: Remote<(u64, u64), u64> = remote("proj.add");
    /// let alarm: Remote<(String,), ()> = remote("proj.alarm");
    /// let chain = add.call((2, 2)).then(add.partial((8,))).link_error(|| alarm.partial(()));
    /// # let _ = chain;
    /// ```
    pub fn link_error<N: Canvas>(mut self, errback: impl Fn() -> N) -> Self
    where
        N::Takes: FollowsFailure,
    {
        self.node
            .each_call(&mut |call| call.links.errbacks.push(errback().into_node()));
        self
    }

    canvas_options!();
}

impl<V, F> Canvas for Chain<V, F> {
    type Takes = F;
    type Value = V;

    fn into_node(self) -> Node {
        self.node
    }

    fn into_chain(self) -> Self {
        self
    }
}

impl<V, F> fmt::Debug for Chain<V, F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Chain").field(&self.node).finish()
    }
}
