//! The untyped form of a canvas: a tree of calls, chains and groups.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use crate::builtin;
use crate::payload::{ContentType, PayloadError};
use crate::signature::CallOptions;
use crate::task::TaskDefinition;

/// Arguments of some type, to be encoded when it is known in what.
pub trait Arguments: Send {
    /// Their encoded form.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Encode`] if there is none.
    fn encode(&self, content_type: ContentType) -> Result<Vec<u8>, PayloadError>;
}

impl<A: Serialize + Send> Arguments for A {
    fn encode(&self, content_type: ContentType) -> Result<Vec<u8>, PayloadError> {
        let mut bytes = Vec::new();
        content_type.encode_into(self, &mut bytes)?;
        Ok(bytes)
    }
}

/// What follows one call without belonging to its chain.
#[derive(Debug, Default)]
pub(crate) struct Links {
    pub(crate) callbacks: Vec<Node>,
    pub(crate) errbacks: Vec<Node>,
}

/// One call whose types are forgotten.
pub struct UntypedCall {
    /// The name of its task.
    pub task: Cow<'static, str>,
    /// The task itself, if this program has it.
    pub definition: Option<&'static TaskDefinition>,
    /// How it is sent.
    pub options: CallOptions,
    /// Whether the value before it becomes its first argument, or is ignored.
    pub takes_value: bool,
    args: Box<dyn Arguments>,
    named: Option<Box<dyn Arguments>>,
    pub(crate) links: Links,
}

impl UntypedCall {
    /// A full call of `task`; `args` is a tuple or a list.
    pub fn new(task: &'static TaskDefinition, args: impl Arguments + 'static) -> Self {
        Self {
            definition: Some(task),
            ..Self::by_name(task.name, args)
        }
    }

    /// A full call of a task that this program need not have.
    pub fn by_name(task: impl Into<Cow<'static, str>>, args: impl Arguments + 'static) -> Self {
        Self {
            task: task.into(),
            definition: None,
            options: CallOptions::default(),
            takes_value: false,
            args: Box::new(args),
            named: None,
            links: Links::default(),
        }
    }

    /// What collects the values of a group into one: `celery.accumulate`, which every worker has.
    pub fn accumulate() -> Self {
        let mut call = Self::new(&builtin::ACCUMULATE, [(); 0]).named(builtin::Accumulate::FIRST);
        call.takes_value = true;
        call
    }

    /// The same call with named arguments, a map or a struct.
    #[must_use]
    pub fn named(mut self, named: impl Arguments + 'static) -> Self {
        self.named = Some(Box::new(named));
        self
    }

    /// The positional arguments, encoded as a list.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Encode`].
    pub fn encode_args(&self, content_type: ContentType) -> Result<Vec<u8>, PayloadError> {
        let encoded = self.args.encode(content_type)?;
        // No argument at all is a list too, where `()` would travel as null.
        Ok(match (content_type, &encoded[..]) {
            (ContentType::Msgpack, [0xc0]) => vec![0x90],
            (_, b"null") => b"[]".to_vec(),
            _ => encoded,
        })
    }

    /// The named arguments, encoded as a map.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Encode`].
    pub fn encode_named(&self, content_type: ContentType) -> Result<Vec<u8>, PayloadError> {
        match &self.named {
            Some(named) => named.encode(content_type),
            None => Empty {}.encode(content_type),
        }
    }

    /// What runs beside the chain once it has succeeded; each may take its value.
    pub fn take_callbacks(&mut self) -> Vec<Node> {
        std::mem::take(&mut self.links.callbacks)
    }

    /// What runs once it has failed; each may take its id.
    pub fn take_errbacks(&mut self) -> Vec<Node> {
        std::mem::take(&mut self.links.errbacks)
    }
}

#[derive(Serialize)]
struct Empty {}

impl fmt::Debug for UntypedCall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("UntypedCall")
            .field("task", &self.task)
            .field("takes_value", &self.takes_value)
            .field("options", &self.options)
            .field("links", &self.links)
            .finish_non_exhaustive()
    }
}

/// A canvas whose types are forgotten.
///
/// A group that is followed by something in a chain is a chord.
#[derive(Debug)]
pub enum Node {
    /// One call.
    Call(Box<UntypedCall>),
    /// One after another.
    Chain(Vec<Node>),
    /// Beside each other.
    Group(Vec<Node>),
}

impl Node {
    /// `next` after this one. Chains in a chain are one chain.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        let mut nodes = match self {
            Self::Chain(nodes) => nodes,
            other => vec![other],
        };
        match next {
            Self::Chain(more) => nodes.extend(more),
            other => nodes.push(other),
        }
        Self::Chain(nodes)
    }

    /// Looks at every call, in the order in which they may start; not at what is linked to them.
    pub fn each_call(&mut self, change: &mut dyn FnMut(&mut UntypedCall)) {
        match self {
            Self::Call(call) => change(call),
            Self::Chain(nodes) | Self::Group(nodes) => {
                for node in nodes {
                    node.each_call(change);
                }
            }
        }
    }

    /// Looks at every call that nothing in this canvas stands before.
    pub fn each_first(&mut self, change: &mut dyn FnMut(&mut UntypedCall)) {
        match self {
            Self::Call(call) => change(call),
            Self::Chain(nodes) => {
                if let Some(first) = nodes.first_mut() {
                    first.each_first(change);
                }
            }
            Self::Group(nodes) => {
                for node in nodes {
                    node.each_first(change);
                }
            }
        }
    }

    /// The one call that returns this canvas's value; a group gets one that collects it.
    pub fn last(&mut self) -> &mut UntypedCall {
        if !matches!(self, Self::Call(_)) {
            let whole = std::mem::replace(self, Self::Chain(Vec::new()));
            *self = match whole {
                Self::Chain(mut nodes) => {
                    if matches!(nodes.last(), None | Some(Self::Group(_))) {
                        nodes.push(Self::Call(Box::new(UntypedCall::accumulate())));
                    }
                    Self::Chain(nodes)
                }
                group => group.then(Self::Call(Box::new(UntypedCall::accumulate()))),
            };
        }
        match self {
            Self::Call(call) => call,
            Self::Chain(nodes) | Self::Group(nodes) => {
                nodes.last_mut().expect("it was given a last call").last()
            }
        }
    }
}
