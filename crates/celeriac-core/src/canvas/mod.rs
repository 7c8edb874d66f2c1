//! Signatures composed: one call after another, many beside each other, one when all are done.
//!
//! Everything composed is a [`Canvas`]: something that takes nothing or one value, and returns one.
//! What takes nothing can be sent; what takes a value stands behind what returns it, and the
//! compiler compares the two types.
//!
//! | builder | is | returns |
//! | --- | --- | --- |
//! | `add::call(2, 2)`, a [`Signature`] | one call | `u64` |
//! | `add::partial(2)`, a [`Step`] | a call that lacks its first argument | `u64` |
//! | `a.then(b)`, a [`Chain`] | `b` after `a` | what `b` returns |
//! | [`group`]`([a, b])`, a [`Group`] | `a` beside `b` | a `Vec` of what they return |
//! | [`chord`]`(group, c)`, a [`Chain`] | `c` once all of the group are done | what `c` returns |
//!
//! Underneath stands the untyped form, a tree of [`Node`]s, which a place carries out or writes
//! into messages.

mod chain;
mod frozen;
mod group;
mod mapped;
pub(crate) mod node;
mod options;
mod remote;
mod splice;
mod step;
mod takes;

pub use chain::Chain;
pub use frozen::{Chord, Encoding, FreezeError, FrozenCall, FrozenChain, Link, Replacement};
pub use group::{Group, chord, group};
pub use mapped::{chunks, map, starmap};
pub use node::{Arguments, Node, UntypedCall};
pub(crate) use options::call_options;
pub use remote::{Remote, RemoteArgs, remote};
pub use splice::{body, list, prepend};
pub use step::{Partial, Step};
pub use takes::{Follows, FollowsFailure, Given, Nothing, TakesFirst};

use crate::signature::Signature;
use crate::task::Task;

/// Something composed of calls: it takes nothing or one value, and returns one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no call, chain or group",
    note = "`TASK::call(…)` is a call, `TASK::partial(…)` one that lacks its first argument"
)]
pub trait Canvas: Sized {
    /// [`Nothing`], or [`Given`] the value it waits for.
    type Takes;
    /// What it returns.
    type Value;

    /// Its untyped form.
    fn into_node(self) -> Node;

    /// The same as a chain, so that different kinds can stand in one group.
    fn into_chain(self) -> Chain<Self::Value, Self::Takes> {
        Chain::of(self.into_node())
    }
}

impl<T: Task> Canvas for Signature<T> {
    type Takes = Nothing;
    type Value = T::Output;

    fn into_node(self) -> Node {
        let mut call = UntypedCall::new(T::DEFINITION, self.args);
        call.options = self.options;
        if let Some(links) = self.links {
            call.links = *links;
        }
        Node::Call(Box::new(call))
    }
}
