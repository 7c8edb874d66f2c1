//! A canvas as it is sent: every call has its id and its encoded arguments.
//!
//! # Invariants
//!
//! - What is frozen has one form: a chain of links, each a call or a chord, so a value always comes
//!   from exactly one call. A group that nothing follows gets one that collects its values.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Node, UntypedCall, list, prepend};
use crate::compression::Compression;
use crate::id::TaskId;
use crate::payload::{ContentType, Payload, PayloadError};
use crate::policy::ResultPolicy;
use crate::registry;
use crate::signature::CallOptions;
use crate::task::{TaskDefinition, TaskOptions};

/// How the calls of a canvas are encoded.
#[derive(Debug, Clone, Copy)]
pub struct Encoding {
    /// What arguments are encoded in.
    pub content_type: ContentType,
    /// The most that the arguments of one call may take.
    pub limit_bytes: usize,
    /// What messages are in of calls that say nothing else.
    pub serializer: Option<ContentType>,
    /// How messages are compressed of calls that say nothing else.
    pub compression: Option<Compression>,
}

/// Why a canvas cannot be frozen.
#[derive(Debug, thiserror::Error)]
#[error("the arguments of `{task}` cannot be sent")]
pub struct FreezeError {
    /// The task of the call in question.
    pub task: String,
    /// What is wrong with its arguments.
    pub source: PayloadError,
}

type Result<T, E = FreezeError> = std::result::Result<T, E>;

/// One call with its id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FrozenCall {
    /// The id it will be sent under.
    pub id: TaskId,
    /// The name of its task.
    pub task: Cow<'static, str>,
    definition: Known,
    /// Whether the value before it becomes its first argument.
    pub takes_value: bool,
    /// An encoded list.
    pub args: Vec<u8>,
    /// An encoded map.
    pub named: Vec<u8>,
    /// How it is sent.
    pub options: CallOptions,
    /// What runs beside the chain once it has succeeded.
    pub callbacks: Vec<FrozenChain>,
    /// What runs once it has failed.
    pub errbacks: Vec<FrozenChain>,
}

/// One member of a chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Link {
    /// One call.
    Call(FrozenCall),
    /// Calls beside each other, and one with their values.
    Chord(Chord),
}

/// Chains beside each other, at least one, and the call that gets the list of their values.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Chord {
    /// The id of the group.
    pub group: TaskId,
    /// The parts.
    pub header: Vec<FrozenChain>,
    /// What takes the list of their values.
    pub body: FrozenCall,
}

/// Links one after another, at least one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FrozenChain(pub Vec<Link>);

/// A canvas that takes the place of the call that returned it. Two are the same if their calls are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Replacement {
    /// What its arguments are encoded in.
    pub content_type: ContentType,
    /// Its calls.
    pub chain: FrozenChain,
}

impl PartialEq for Replacement {
    fn eq(&self, other: &Self) -> bool {
        self.chain.ids() == other.chain.ids()
    }
}

impl Eq for Replacement {}

impl FrozenCall {
    /// Whether it leaves no result.
    pub fn ignores_result(&self) -> bool {
        let own = matches!(self.own_options().results, ResultPolicy::Ignore);
        self.options.ignore_result.unwrap_or(own)
    }

    /// The task itself, if this program has it and called it by more than its name.
    pub fn definition(&self) -> Option<&'static TaskDefinition> {
        self.definition.0
    }

    /// The task's own options, if they are known here.
    pub fn own_options(&self) -> &'static TaskOptions {
        static DEFAULT: TaskOptions = TaskOptions::DEFAULT;
        self.definition
            .0
            .map_or(&DEFAULT, |definition| &definition.options)
    }
}

impl Link {
    /// The call whose value is the link's.
    pub fn last(&self) -> &FrozenCall {
        match self {
            Self::Call(call) | Self::Chord(Chord { body: call, .. }) => call,
        }
    }

    /// Looks at the id of every call in it.
    fn each_id(&self, see: &mut dyn FnMut(&TaskId)) {
        if let Self::Chord(chord) = self {
            chord
                .header
                .iter()
                .flat_map(|part| &part.0)
                .for_each(|link| link.each_id(see));
        }
        see(&self.last().id);
    }
}

impl FrozenChain {
    /// The call whose value is the chain's.
    pub fn last(&self) -> &FrozenCall {
        self.0.last().expect("a chain has a link").last()
    }

    /// The call whose value is the chain's, to change it.
    pub fn last_mut(&mut self) -> &mut FrozenCall {
        match self.0.last_mut().expect("a chain has a link") {
            Link::Call(call) | Link::Chord(Chord { body: call, .. }) => call,
        }
    }

    /// The ids of all calls, in the order in which they may start.
    pub fn ids(&self) -> Vec<TaskId> {
        let mut ids = Vec::new();
        for link in &self.0 {
            link.each_id(&mut |id| ids.push(id.clone()));
        }
        ids
    }

    /// Whether there is a chord in it, or in what is linked to its calls.
    pub fn has_chord(&self) -> bool {
        self.0.iter().any(|link| match link {
            Link::Chord(_) => true,
            Link::Call(call) => {
                let linked = call.callbacks.iter().chain(&call.errbacks);
                linked.into_iter().any(Self::has_chord)
            }
        })
    }

    /// The ids of the links before the last one; a chord's is that of its body.
    pub fn earlier(&self) -> Vec<TaskId> {
        let before = self.0.len() - 1;
        let links = self.0.iter().take(before);
        links.map(|link| link.last().id.clone()).collect()
    }
}

impl Encoding {
    /// Freezes a canvas.
    ///
    /// # Errors
    ///
    /// [`FreezeError`] if the arguments of a call cannot be encoded or are too large.
    pub fn freeze(self, node: Node) -> Result<FrozenChain> {
        let mut links = Vec::new();
        self.push(&mut links, node)?;
        if links.is_empty() {
            links.push(Link::Call(self.collect(Vec::new())?));
        }
        Ok(FrozenChain(links))
    }

    /// Freezes `node` behind `links`.
    fn push(self, links: &mut Vec<Link>, node: Node) -> Result<()> {
        match node {
            Node::Call(call) => links.push(Link::Call(self.call(*call)?)),
            Node::Group(parts) => links.push(self.chord(parts, UntypedCall::accumulate())?),
            Node::Chain(nodes) => {
                let mut nodes = nodes.into_iter().peekable();
                while let Some(node) = nodes.next() {
                    let Node::Group(parts) = node else {
                        self.push(links, node)?;
                        continue;
                    };
                    let body = match nodes.next_if(|next| matches!(next, Node::Call(_))) {
                        Some(Node::Call(body)) => *body,
                        _ => UntypedCall::accumulate(),
                    };
                    links.push(self.chord(parts, body)?);
                }
            }
        }
        Ok(())
    }

    /// `body` after `parts`; at once and with an empty list if there are none.
    fn chord(self, parts: Vec<Node>, body: UntypedCall) -> Result<Link> {
        let mut body = self.call(body)?;
        if parts.is_empty() {
            if body.takes_value {
                self.give_nothing(&mut body)?;
            }
            return Ok(Link::Call(body));
        }
        let header = parts.into_iter().map(|part| self.freeze(part));
        Ok(Link::Chord(Chord {
            group: TaskId::new(),
            header: header.collect::<Result<_>>()?,
            body,
        }))
    }

    /// Makes an empty list the first argument.
    fn give_nothing(self, body: &mut FrozenCall) -> Result<()> {
        let empty = list(self.content_type, std::iter::empty());
        body.args = prepend(self.content_type, &empty, &body.args)
            .map_err(|source| arguments(&body.task, source))?;
        body.takes_value = false;
        Ok(())
    }

    /// What returns the values of a group without parts.
    fn collect(self, parts: Vec<Node>) -> Result<FrozenCall> {
        match self.chord(parts, UntypedCall::accumulate())? {
            Link::Call(call) | Link::Chord(Chord { body: call, .. }) => Ok(call),
        }
    }

    fn call(self, mut call: UntypedCall) -> Result<FrozenCall> {
        let freeze_all = |nodes: Vec<Node>| {
            let frozen = nodes.into_iter().map(|node| self.freeze(node));
            frozen.collect::<Result<Vec<_>>>()
        };
        if let Some(serializer) = self.serializer {
            call.options.serializer.get_or_insert(serializer);
        }
        if let Some(compression) = self.compression {
            let marks = call.options.marks.get_or_insert_default();
            marks.compression.get_or_insert(compression);
        }
        let callbacks = freeze_all(call.take_callbacks())?;
        let errbacks = freeze_all(call.take_errbacks())?;
        let encoded = call
            .encode_args(self.content_type)
            .and_then(|args| Ok((args, call.encode_named(self.content_type)?)))
            .and_then(|(args, named)| {
                let size_bytes = args.len() + named.len();
                if size_bytes > self.limit_bytes {
                    return Err(PayloadError::TooLarge {
                        size_bytes,
                        limit_bytes: self.limit_bytes,
                    });
                }
                Ok((args, named))
            });
        let (args, named) = encoded.map_err(|source| arguments(&call.task, source))?;
        Ok(FrozenCall {
            id: call.options.id.clone().unwrap_or_default(),
            task: call.task,
            definition: Known(call.definition),
            takes_value: call.takes_value,
            args,
            named,
            options: call.options,
            callbacks,
            errbacks,
        })
    }

    /// The list of values, for what follows a group.
    pub fn list(self, values: &[Payload]) -> Payload {
        Payload {
            content_type: self.content_type,
            bytes: list(
                self.content_type,
                values.iter().map(|value| &value.bytes[..]),
            )
            .into(),
        }
    }
}

fn arguments(task: &str, source: PayloadError) -> FreezeError {
    FreezeError {
        task: task.to_owned(),
        source,
    }
}

/// A task, if it is known, which travels as its name and is found by it where it arrives.
#[derive(Debug, Clone, Copy)]
struct Known(Option<&'static TaskDefinition>);

impl Serialize for Known {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.map(|task| task.name).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Known {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = Option::<String>::deserialize(from)?;
        let found = name.and_then(|name| registry::all().find(|task| task.name == name));
        Ok(Self(found))
    }
}
