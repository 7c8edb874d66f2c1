//! Writes a canvas into messages: those of the calls that may start, which carry the rest.
//!
//! # Sources
//!
//! Where each part of a workflow stands follows the messages of Celery 5.7 (`spec/celery`).

use std::sync::Arc;

use celeriac_core::canvas::{Chord, FrozenChain, Link};
use celeriac_core::{Destination, Message, Routes, TaskId, Tree};
use celeriac_wire::Signature;
use celeriac_wire::canvas::Signatures;
use jiff::Timestamp;

use crate::error::{Error, Result};

/// What is to be done to send canvases.
#[derive(Debug, Default)]
pub(super) struct Lowered {
    /// The chords whose headers are among the messages, with the number of their parts.
    pub(super) chords: Vec<(TaskId, u64)>,
    /// The messages of the calls that may start.
    pub(super) messages: Vec<(Destination, Message)>,
    routes: Arc<Routes>,
    signatures: Signatures,
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
    /// Nothing yet; calls that name no queue go where `routes` say, and results to `reply_to`.
    pub(super) fn new(routes: Arc<Routes>, reply_to: Option<String>) -> Self {
        Self {
            routes,
            signatures: Signatures {
                reply_to,
                ..Signatures::default()
            },
            ..Self::default()
        }
    }

    /// Adds `chain`, which stands in `place`.
    pub(super) fn add(&mut self, chain: FrozenChain, place: Place, now: Timestamp) -> Result<()> {
        let mut links = chain.0.into_iter();
        let Some(first) = links.next() else {
            return Ok(());
        };
        let mut rest: Vec<_> = links.map(|link| self.signatures.of_link(link)).collect();
        let mut place = Some(place);
        if let Some(last) = rest.last_mut() {
            place.take().unwrap_or_default().settle(last);
        }
        rest.reverse();
        let (mut call, header) = match first {
            Link::Call(call) => (self.signatures.of_call(call), None),
            Link::Chord(Chord {
                group,
                header,
                body,
            }) => {
                let mut body = self.signatures.of_call(body);
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
        let destination = match named {
            Some(named) => self.routes.topology().reach(named),
            None => self.routes.of(&call.task),
        };
        self.messages.push((destination, sent.message));
        Ok(())
    }
}

fn number(number: &impl ToString) -> Tree {
    Tree::Number(number.to_string().into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        let mut lowered = Lowered::new(Arc::default(), Some("answers".to_owned()));
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

    /// Without ids and the queue of answers, which are new each time.
    fn comparable(mut value: Value) -> Value {
        fn strip(value: &mut Value) {
            match value {
                Value::Object(fields) => {
                    for gone in ["root_id", "parent_id", "ignore_result"] {
                        fields.remove(gone);
                    }
                    for id in ["task_id", "group_id", "reply_to"] {
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
        // We say of what is linked too who it is and where it answers, and Celery does not.
        for field in ["callbacks", "errbacks"] {
            for linked in bodies[0][2][field].as_array_mut().unwrap() {
                for said in ["task_id", "reply_to"] {
                    let said = linked["options"].as_object_mut().unwrap().remove(said);
                    assert_eq!(said, Some(json!("…")));
                }
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
