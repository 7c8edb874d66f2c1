//! Writes a canvas into messages: those of the calls that may start, which carry the rest.
//!
//! # Sources
//!
//! Where each part of a workflow stands follows the messages of Celery 5.7 (`spec/celery`).

use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{
    CallOptions, Destination, Message, ResultPolicy, Routes, TaskId, Tree, moment,
};
use celeriac_wire::{Fields, Signature};
use jiff::Timestamp;

use super::frozen::{Chord, FrozenCall, FrozenChain, Link};
use crate::error::{Error, Result};

/// What is to be done to send canvases.
#[derive(Debug, Default)]
pub(super) struct Lowered {
    /// The chords whose headers are among the messages, with the number of their parts.
    pub(super) chords: Vec<(TaskId, u64)>,
    /// The messages of the calls that may start.
    pub(super) messages: Vec<(Destination, Message)>,
    routes: Arc<Routes>,
}

/// Where a chain stands among others.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The group it is part of, and its position there.
    pub(super) group: Option<(TaskId, usize)>,
    /// The body that waits for all of that group.
    pub(super) chord: Option<Tree>,
}

impl Place {
    pub(super) fn part_of(group: &TaskId, position: usize) -> Self {
        Self {
            group: Some((group.clone(), position)),
            chord: None,
        }
    }

    /// Puts the last call of a chain, which stands for it, in this place.
    fn settle(self, last: &mut Signature) {
        if let Some((group, position)) = self.group {
            last.options.set("group_id", Tree::Text(group.to_string()));
            last.options.set("group_index", number(&position));
        }
        if let Some(chord) = self.chord {
            last.options.set("chord", chord);
        }
    }
}

impl Lowered {
    /// Nothing yet; calls that name no queue go where `routes` say.
    pub(super) fn new(routes: Arc<Routes>) -> Self {
        Self {
            routes,
            ..Self::default()
        }
    }

    /// Adds `chain`, which stands in `place`.
    pub(super) fn add(&mut self, chain: FrozenChain, place: Place, now: Timestamp) -> Result<()> {
        let mut links = chain.0.into_iter();
        let Some(first) = links.next() else {
            return Ok(());
        };
        let mut rest: Vec<_> = links.map(signature_of_link).collect();
        let mut place = Some(place);
        if let Some(last) = rest.last_mut() {
            place.take().unwrap_or_default().settle(last);
        }
        rest.reverse();
        let (mut call, header) = match first {
            Link::Call(call) => (signature(call), None),
            Link::Chord(Chord {
                group,
                header,
                body,
            }) => {
                let mut body = signature(body);
                body.options.set("group_id", Tree::Text(group.to_string()));
                (body, Some((group, header)))
            }
        };
        if let Some(place) = place {
            place.settle(&mut call);
        }
        if !rest.is_empty() {
            let rest = rest.into_iter().map(Signature::into_tree).collect();
            call.options.set("chain", Tree::List(rest));
        }
        match header {
            None => self.push(&call, now),
            Some((group, header)) => self.add_header(&group, header, &call, now),
        }
    }

    /// Adds the parts that lead to `body`.
    fn add_header(
        &mut self,
        group: &TaskId,
        header: Vec<FrozenChain>,
        body: &Signature,
        now: Timestamp,
    ) -> Result<()> {
        self.chords.push((group.clone(), header.len() as u64));
        let body = body.clone().into_tree();
        for (position, part) in header.into_iter().enumerate() {
            let place = Place {
                chord: Some(body.clone()),
                ..Place::part_of(group, position)
            };
            self.add(part, place, now)?;
        }
        Ok(())
    }

    fn push(&mut self, call: &Signature, now: Timestamp) -> Result<()> {
        let sent = call.to_message(now).map_err(|error| Error::Canvas {
            task: call.task.clone(),
            source: Box::new(error),
        })?;
        let named = sent.target.destination()?;
        let destination = named.unwrap_or_else(|| self.routes.of(&call.task));
        self.messages.push((destination, sent.message));
        Ok(())
    }
}

/// One link as a message carries it.
fn signature_of_link(link: Link) -> Signature {
    match link {
        Link::Call(call) => signature(call),
        Link::Chord(chord) => {
            let group = Tree::Text(chord.group.to_string());
            let header = chord.header.into_iter().enumerate();
            let header = header.map(|(position, part)| {
                let mut part = signature_of_chain(part);
                if part.subtask_type.is_none() {
                    part.options.set("group_index", number(&position));
                }
                part
            });
            let mut whole = Signature::chord(header.collect(), signature(chord.body));
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
fn signature_of_chain(chain: FrozenChain) -> Signature {
    let mut links: Vec<_> = chain.0.into_iter().map(signature_of_link).collect();
    if links.len() > 1 {
        return Signature::chain(links);
    }
    links.pop().expect("a chain has a link")
}

fn signature(call: FrozenCall) -> Signature {
    let options = options(&call);
    let linked = |chains: Vec<FrozenChain>| {
        let signatures = chains.into_iter().map(signature_of_chain);
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
    if let Ok(Tree::List(args)) = Tree::parse(&call.args) {
        signature.args = args;
    }
    if let Ok(Tree::Map(named)) = Tree::parse(&call.named) {
        signature.kwargs = Fields(named);
    }
    signature
}

/// How a call is sent, under the names of `apply_async`; the task's own options where the call says
/// nothing, because whoever sends it need not know the task.
fn options(call: &FrozenCall) -> Fields {
    let own = call.own_options();
    let CallOptions {
        id: _,
        queue,
        exchange,
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
    let ignored = ignore_result.or(call.definition.map(|_| ignored));
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

#[cfg(test)]
mod tests {
    use super::super::publish::encoding;
    use super::*;
    use crate::format::BodyFormat;
    use celeriac_core::canvas::{Canvas, Remote, chord, group, remote};
    use celeriac_wire::Body;
    use serde_json::{Value, json};

    fn lower(canvas: impl Canvas) -> Lowered {
        let chain = encoding(1 << 20, BodyFormat::default())
            .freeze(canvas.into_node())
            .unwrap();
        let mut lowered = Lowered::default();
        lowered
            .add(chain, Place::default(), Timestamp::UNIX_EPOCH)
            .unwrap();
        lowered
    }

    fn add() -> Remote<(u64, u64), u64> {
        remote("wire.add")
    }

    fn mul() -> Remote<(u64, u64), u64> {
        remote("wire.mul")
    }

    fn xsum() -> Remote<(Vec<u64>,), u64> {
        remote("wire.xsum")
    }

    /// The bodies that Celery's own client was seen to send for a canvas.
    fn captured(name: &str) -> Vec<Value> {
        let path = format!(
            "{}/../../spec/celery/tasks-redis/{name}.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = std::fs::read_to_string(path).unwrap();
        let capture: Value = serde_json::from_str(&text).unwrap();
        let messages = capture["messages"].as_array().unwrap();
        let bodies = messages
            .iter()
            .map(|message| message["body_decoded"].clone());
        bodies.map(comparable).collect()
    }

    fn sent(lowered: &Lowered) -> Vec<Value> {
        let bodies = lowered.messages.iter().map(|(_, message)| {
            let body: Value = message.body.decode().unwrap();
            comparable(body)
        });
        bodies.collect()
    }

    /// Without ids, which are new each time, and without the answer's queue, which the driver adds.
    fn comparable(mut value: Value) -> Value {
        fn strip(value: &mut Value) {
            match value {
                Value::Object(fields) => {
                    for gone in ["reply_to", "root_id", "parent_id", "ignore_result"] {
                        fields.remove(gone);
                    }
                    for id in ["task_id", "group_id"] {
                        if let Some(id) = fields.get_mut(id) {
                            *id = json!("…");
                        }
                    }
                    fields.values_mut().for_each(strip);
                }
                Value::Array(items) => items.iter_mut().for_each(strip),
                _ => {}
            }
        }
        strip(&mut value);
        value
    }

    #[test]
    fn a_chain_is_sent_as_celery_sends_it() {
        let chain = add()
            .call((1, 2))
            .then(mul().partial((3,)))
            .then(add().partial((10,)));
        assert_eq!(sent(&lower(chain)), captured("chain"));
    }

    #[test]
    fn a_chord_in_a_chain_is_sent_as_celery_sends_it() {
        let header = group([mul().partial((2,)), mul().partial((3,))]);
        let chain = add()
            .call((1, 1))
            .then(header)
            .then(xsum().partial(()))
            .then(add().partial((1,)));
        assert_eq!(sent(&lower(chain)), captured("chain-chord"));
    }

    #[test]
    fn a_chord_is_sent_as_celery_sends_it() {
        let header = group([add().call((1, 1)), add().call((2, 2))]);
        let lowered = lower(chord(header, xsum().partial(())));
        assert_eq!(sent(&lowered), captured("chord"));
        let [(group, 2)] = &lowered.chords[..] else {
            panic!("{:?}", lowered.chords);
        };
        for (position, (_, message)) in lowered.messages.iter().enumerate() {
            let headers = &message.headers;
            assert_eq!(headers.group, Some(group.to_string()));
            assert_eq!(headers.extra["group_index"], position);
            assert_eq!(headers.root_id.as_ref(), Some(&headers.id));
            let body = Body::decode(&message.body).unwrap().embed.chord.unwrap();
            assert_eq!(body.options.text("group_id"), headers.group.as_deref());
        }
    }

    #[test]
    fn what_is_linked_is_sent_as_celery_sends_it() {
        let old: Remote<(String,), ()> = remote("wire.on_error_old");
        let new: Remote<(String,), ()> = remote("wire.on_error_new");
        let call = add()
            .call((2, 2))
            .link(mul().partial((10,)))
            .link(add().call((1, 1)))
            .link_error(old.partial(()))
            .link_error(new.partial(()));
        let mut bodies = sent(&lower(call));
        // We fix the ids of what is linked too, and Celery does not.
        for field in ["callbacks", "errbacks"] {
            for linked in bodies[0][2][field].as_array_mut().unwrap() {
                let id = linked["options"].as_object_mut().unwrap().remove("task_id");
                assert_eq!(id, Some(json!("…")));
            }
        }
        assert_eq!(bodies, captured("link"));
    }

    #[test]
    fn options_and_stamps_are_sent_as_celery_sends_them() {
        let chain = add().call((1, 2)).queue("other").then(
            mul()
                .partial((3,))
                .countdown(Duration::from_secs(5))
                .priority(3),
        );
        let lowered = lower(chain);
        assert_eq!(lowered.messages[0].0.to_string(), "other");
        assert_eq!(sent(&lowered), captured("chain-options"));

        let chain = add().call((1, 2)).then(mul().partial((3,)));
        let lowered = lower(
            chain
                .stamp("customer", "c42")
                .stamp("batch", vec!["b1", "b2"]),
        );
        assert_eq!(sent(&lowered), captured("stamped-chain"));
        let headers = &lowered.messages[0].1.headers.extra;
        assert_eq!(headers["stamped_headers"], json!(["batch", "customer"]));
        assert_eq!(
            headers["stamps"],
            json!({"batch": ["b1", "b2"], "customer": "c42"})
        );
    }

    #[test]
    fn a_chain_stands_in_its_group_by_its_last_call() {
        let chain = add().call((1, 1)).then(mul().partial((2,)));
        let chain = encoding(1 << 20, BodyFormat::default())
            .freeze(chain.into_node())
            .unwrap();
        let mut lowered = Lowered::default();
        let place = Place::part_of(&"g".into(), 3);
        lowered.add(chain, place, Timestamp::UNIX_EPOCH).unwrap();
        let message = &lowered.messages[0].1;
        assert_eq!(message.headers.group, None);
        let last = &Body::decode(&message.body).unwrap().embed.chain[0];
        assert_eq!(last.options.text("group_id"), Some("g"));
        assert_eq!(last.options.get("group_index"), Some(&number(&3)));
    }
}
