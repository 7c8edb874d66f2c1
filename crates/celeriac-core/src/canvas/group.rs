//! Calls beside each other, and what waits for all of them.

use std::fmt;
use std::marker::PhantomData;

use super::options::canvas_options;
use super::{Canvas, Chain, Follows, FollowsFailure, Node, Nothing};

/// Parts beside each other, each of which returns a `V`.
#[must_use = "a group does nothing until it is sent"]
pub struct Group<V, F = Nothing> {
    pub(super) node: Node,
    types: PhantomData<fn(F) -> V>,
}

/// The group of `parts`: calls, chains or groups of one kind.
///
/// Sent alone, each part has an outcome of its own. In a chain it is done when all its parts are,
/// its value is the list of theirs, and each part takes the value before the group. An empty group is
/// done at once. Parts of different kinds become one kind by [`Canvas::into_chain`].
///
/// ```
/// # use celeriac_core::canvas::{Remote, group, remote};
/// let add: Remote<(u64, u64), u64> = remote("proj.add");
/// let sum: Remote<(Vec<u64>,), u64> = remote("proj.sum");
/// let doubled = group((0..10).map(|n| add.call((n, n))));
/// let summed = doubled.then(sum.partial(()));
/// # let _ = summed;
/// ```
pub fn group<C: Canvas>(parts: impl IntoIterator<Item = C>) -> Group<C::Value, C::Takes> {
    Group::of(parts.into_iter().map(Canvas::into_node).collect())
}

/// `body` once all of `header` are done, with the list of their values: `header.then(body)`.
pub fn chord<V, F, B: Canvas>(header: Group<V, F>, body: B) -> Chain<B::Value, F>
where
    B::Takes: Follows<Vec<V>>,
{
    header.then(body)
}

impl<V, F> Group<V, F> {
    /// A group whose types are right by the caller's word.
    pub(super) fn of(parts: Vec<Node>) -> Self {
        Self {
            node: Node::Group(parts),
            types: PhantomData,
        }
    }

    /// The parts, without their types.
    pub fn into_parts(self) -> Vec<Node> {
        match self.node {
            Node::Group(parts) => parts,
            other => vec![other],
        }
    }

    /// `body` once all parts are done: with the list of their values, if it takes one. A chord.
    pub fn then<N: Canvas>(self, body: N) -> Chain<N::Value, F>
    where
        N::Takes: Follows<Vec<V>>,
    {
        self.into_chain().then(body)
    }

    /// Has what `errback` makes run for every call that fails, with its id.
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

impl<V, F> Canvas for Group<V, F> {
    type Takes = F;
    type Value = Vec<V>;

    fn into_node(self) -> Node {
        self.node
    }
}

impl<V, F> fmt::Debug for Group<V, F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Group").field(&self.node).finish()
    }
}
