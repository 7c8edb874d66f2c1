//! Frozen canvases as the signatures that messages carry for what follows.

use std::time::Duration;

use celeriac_core::canvas::{FrozenCall, FrozenChain, Link};
use celeriac_core::{CallOptions, ContentType, ResultPolicy, Tree, moment};

use crate::fields::Fields;
use crate::signature::Signature;

/// Writes the calls of a frozen canvas as signatures.
#[derive(Debug)]
pub struct Signatures {
    /// What their arguments are encoded in.
    pub content_type: ContentType,
    /// Where workers send the results, if results are sent to anybody.
    pub reply_to: Option<String>,
}

impl Default for Signatures {
    fn default() -> Self {
        Self {
            content_type: ContentType::Json,
            reply_to: None,
        }
    }
}

impl Signatures {
    /// One link as a message carries it.
    pub fn of_link(&self, link: Link) -> Signature {
        self.of_changed_link(link, |_| {})
    }

    /// The same, with the options changed of the call whose value is the link's.
    pub fn of_changed_link(&self, link: Link, change: impl FnOnce(&mut Fields)) -> Signature {
        match link {
            Link::Call(call) => {
                let mut call = self.of_call(call);
                change(&mut call.options);
                call
            }
            Link::Chord(chord) => {
                let mut body = self.of_call(chord.body);
                change(&mut body.options);
                let group = Tree::Text(chord.group.to_string());
                let header = chord.header.into_iter().enumerate();
                let header = header.map(|(position, part)| {
                    let mut part = self.of_chain(part);
                    if part.subtask_type.is_none() {
                        part.options.set("group_index", number(&position));
                    }
                    part
                });
                let mut whole = Signature::chord(header.collect(), body);
                whole.options.set("task_id", group.clone());
                // The id of the group is read from the header.
                if let Some(Tree::Map(header)) = whole.kwargs.remove("header") {
                    let mut header = Fields(header);
                    let mut options = Fields::default();
                    options.set("task_id", group);
                    header.set("options", options);
                    whole.kwargs.set("header", header);
                }
                whole
            }
        }
    }

    /// A chain as a message carries it: one link by itself, or a `celery.chain`.
    fn of_chain(&self, chain: FrozenChain) -> Signature {
        let mut links: Vec<_> = chain.0.into_iter().map(|link| self.of_link(link)).collect();
        if links.len() > 1 {
            return Signature::chain(links);
        }
        links.pop().expect("a chain has a link")
    }

    /// One call as a message carries it.
    pub fn of_call(&self, call: FrozenCall) -> Signature {
        let mut options = options(&call);
        if let Some(reply_to) = &self.reply_to {
            options.set("reply_to", Tree::Text(reply_to.clone()));
        }
        let linked = |chains: Vec<FrozenChain>| {
            let signatures = chains.into_iter().map(|chain| self.of_chain(chain));
            Tree::List(signatures.map(Signature::into_tree).collect())
        };
        let mut signature = Signature::new(call.task);
        signature.options = options;
        if !call.callbacks.is_empty() {
            signature.options.set("link", linked(call.callbacks));
        }
        if !call.errbacks.is_empty() {
            signature.options.set("link_error", linked(call.errbacks));
        }
        signature.immutable = !call.takes_value;
        if let Ok(Tree::List(args)) = Tree::decode(self.content_type, &call.args) {
            signature.args = args;
        }
        if let Ok(Tree::Map(named)) = Tree::decode(self.content_type, &call.named) {
            signature.kwargs = Fields(named);
        }
        signature
    }
}

/// How a call is sent, under the names of `apply_async`; the task's own options where the call says
/// nothing, because whoever sends it need not know the task.
fn options(call: &FrozenCall) -> Fields {
    let own = call.own_options();
    let CallOptions {
        id: _,
        queue,
        exchange,
        publish_retry: _,
        countdown,
        eta,
        expires,
        priority,
        time_limit,
        soft_time_limit,
        ignore_result,
        serializer,
        marks,
    } = &call.options;
    let mut fields = Fields::default();
    fields.set("task_id", Tree::Text(call.id.to_string()));
    let mut set = |name: &str, value: Option<Tree>| {
        if let Some(value) = value {
            fields.set(name, value);
        }
    };
    set("queue", queue.as_deref().or(own.queue).map(Tree::from));
    if let Some(to) = exchange {
        set("exchange", Some(Tree::from(to.exchange.as_str())));
        set("routing_key", Some(Tree::from(to.routing_key.as_str())));
    }
    set(
        "eta",
        eta.map(|eta| Tree::Text(moment::show(eta).to_string())),
    );
    set(
        "countdown",
        countdown.filter(|_| eta.is_none()).map(seconds),
    );
    set("expires", expires.or(own.expires).map(seconds));
    let priority = priority.or((own.priority > 0).then_some(own.priority));
    set("priority", priority.map(|priority| number(&priority)));
    set("time_limit", time_limit.or(own.limits.hard).map(seconds));
    set(
        "soft_time_limit",
        soft_time_limit.or(own.limits.soft).map(seconds),
    );
    let ignored = matches!(own.results, ResultPolicy::Ignore);
    let ignored = ignore_result.or(call.definition().map(|_| ignored));
    set("ignore_result", ignored.map(Tree::Bool));
    set("serializer", serializer.map(|one| Tree::from(one.name())));
    let Some(marks) = marks else {
        return fields;
    };
    set(
        "compression",
        marks.compression.map(|one| Tree::from(one.name())),
    );
    set("shadow", marks.shadow.as_deref().map(Tree::from));
    if !marks.headers.is_empty() {
        let headers = serde_json::Value::Object(marks.headers.clone());
        set("headers", Some(Tree::from(headers)));
    }
    if !marks.stamps.is_empty() {
        let mut names: Vec<_> = marks.stamps.keys().cloned().collect();
        names.sort();
        let names = names.into_iter().map(Tree::Text).collect();
        set("stamped_headers", Some(Tree::List(names)));
        for (name, value) in &marks.stamps {
            set(name, Some(Tree::from(value.clone())));
        }
    }
    fields
}

fn seconds(duration: Duration) -> Tree {
    Tree::Number(duration.as_secs_f64().to_string().into())
}

fn number(number: &impl ToString) -> Tree {
    Tree::Number(number.to_string().into())
}
