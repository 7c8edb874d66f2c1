//! Tasks that this program calls but does not have, such as those in another language.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;

use super::{Given, Step, UntypedCall};

/// A task known by its name and types alone: `A` is the tuple of its arguments, `V` what it returns.
///
/// Whether the types are right shows when it runs: arguments that do not fit are its failure, and
/// a value that is no `V` is an error of the call that takes it.
///
/// ```
/// # use celeriac_core::canvas::{Chain, Remote, remote};
/// let add: Remote<(u64, u64), u64> = remote("proj.add");
/// let sum: Chain<u64> = add.call((2, 2)).queue("python").then(add.partial((10,)));
/// # let _ = sum;
/// ```
pub struct Remote<A, V> {
    name: Cow<'static, str>,
    types: PhantomData<fn(A) -> V>,
}

/// The task named `name`, with arguments `A` and value `V`.
pub fn remote<A, V>(name: impl Into<Cow<'static, str>>) -> Remote<A, V> {
    Remote {
        name: name.into(),
        types: PhantomData,
    }
}

impl<A, V> Remote<A, V> {
    /// The name it is sent by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One call of it, not yet made.
    pub fn call(&self, args: A) -> Step<V>
    where
        A: Serialize + Send + 'static,
    {
        Step::of(UntypedCall::by_name(self.name.clone(), args))
    }

    /// One call that lacks its first argument; `rest` is the tuple of the others.
    pub fn partial(&self, rest: A::Rest) -> Step<V, Given<A::First>>
    where
        A: RemoteArgs,
    {
        let mut call = UntypedCall::by_name(self.name.clone(), rest);
        call.takes_value = true;
        Step::of(call)
    }
}

impl<A, V> Clone for Remote<A, V> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            types: PhantomData,
        }
    }
}

impl<A, V> fmt::Debug for Remote<A, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Remote").field(&self.name).finish()
    }
}

/// A tuple of arguments, the first of which may come later. Tuples of up to eight are one.
pub trait RemoteArgs {
    /// The first argument.
    type First;
    /// The others, as a tuple.
    type Rest: Serialize + Send + 'static;
}

macro_rules! remote_args {
    ($first:ident $($rest:ident)*) => {
        impl<$first, $($rest: Serialize + Send + 'static),*> RemoteArgs for ($first, $($rest,)*) {
            type First = $first;
            type Rest = ($($rest,)*);
        }
        remote_args!($($rest)*);
    };
    () => {};
}

remote_args!(A B C D E F G H);
