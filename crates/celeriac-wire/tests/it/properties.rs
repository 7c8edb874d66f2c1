//! What is written is read as it was, whatever it is.

use bytes::Bytes;
use celeriac_core::outcome::Raised;
use celeriac_core::{
    ContentType, ErrorKind, Headers, Message, Payload, Progress, ResultState, StoredResult,
    TaskError, Trail, Tree,
};
use celeriac_wire::envelope::{self, Incoming, Route};
use celeriac_wire::{Body, Embed, Envelope, Fields, Signature, WireMessage, result};
use jiff::Timestamp;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// A time that has no more than microseconds, as Python's have.
fn time() -> impl Strategy<Value = Timestamp> {
    (0..4_000_000_000_000_000_i64).prop_map(|us| Timestamp::from_microsecond(us).unwrap())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z-]{0,12}", "\\PC{0,12}", any::<String>()]
}

fn number() -> impl Strategy<Value = Tree> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        any::<i32>().prop_map(|whole| format!("{whole}.25")),
    ]
    .prop_map(|number| Tree::Number(number.into()))
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::Bool),
        number(),
        text().prop_map(Tree::Text),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Tree::List),
            fields(inner).prop_map(|fields| Tree::Map(fields.0)),
        ]
    })
}

/// Values by name, each name once.
fn fields(inner: impl Strategy<Value = Tree>) -> impl Strategy<Value = Fields> {
    btree_map("[a-z_]{1,8}", inner, 0..4).prop_map(|map| Fields(map.into_iter().collect()))
}

fn signature() -> impl Strategy<Value = Signature> {
    (
        text(),
        vec(tree(), 0..3),
        fields(tree()),
        fields(tree()),
        option::of("[a-z]{1,8}"),
        any::<bool>(),
    )
        .prop_map(
            |(task, args, kwargs, options, subtask_type, immutable)| Signature {
                task,
                args,
                kwargs,
                options,
                subtask_type,
                immutable,
                extra: Fields::default(),
            },
        )
}

fn extra() -> impl Strategy<Value = Map<String, Value>> {
    btree_map("x-[a-z]{1,8}", tree(), 0..3).prop_map(|map| {
        let value = |tree: Tree| serde_json::from_str(&tree.to_json()).unwrap();
        map.into_iter()
            .map(|(name, tree)| (name, value(tree)))
            .collect()
    })
}

fn headers() -> impl Strategy<Value = Headers> {
    let names = (
        text(),
        text(),
        text(),
        option::of(text()),
        option::of(text()),
        option::of(text()),
    );
    let times = (
        option::of(time()),
        option::of(time()),
        option::of(0.0..1e6),
        option::of(0.0..1e6),
    );
    (
        names,
        times,
        any::<u32>(),
        option::of(any::<bool>()),
        extra(),
    )
        .prop_map(
            |(
                (lang, task, id, group, origin, parent),
                times,
                retries,
                ignore_result,
                mut extra,
            )| {
                // These are always written, and so always read.
                for (name, value) in [("argsrepr", "()"), ("kwargsrepr", "{}")] {
                    extra.insert(name.to_owned(), value.into());
                }
                extra.insert("replaced_task_nesting".to_owned(), 0.into());
                extra.insert("stamps".to_owned(), Map::new().into());
                Headers {
                    lang,
                    task,
                    root_id: Some(id.as_str().into()),
                    id: id.as_str().into(),
                    eta: times.0,
                    expires: times.1,
                    group,
                    retries,
                    timelimit: Some((times.2, times.3)),
                    parent_id: parent.map(Into::into),
                    origin,
                    ignore_result,
                    extra,
                }
            },
        )
}

fn message() -> impl Strategy<Value = Message> {
    let body = (any::<Vec<u8>>(), 0..6_usize);
    (
        headers(),
        any::<u8>(),
        option::of(text()),
        option::of("[0-9]{3}:"),
        body,
    )
        .prop_map(
            |(headers, priority, reply_to, correlation_id, (bytes, content_type))| Message {
                headers,
                priority,
                reply_to,
                correlation_id,
                exchange: None,
                body: Payload {
                    content_type: [
                        ContentType::Json,
                        ContentType::Msgpack,
                        ContentType::Yaml,
                        ContentType::Pickle,
                        ContentType::Data,
                        ContentType::Text,
                    ][content_type],
                    bytes: bytes.into(),
                },
            },
        )
}

fn error() -> impl Strategy<Value = TaskError> {
    let kinds = [
        ErrorKind::Failed,
        ErrorKind::Panicked,
        ErrorKind::Cancelled,
        ErrorKind::Expired,
        ErrorKind::Lost,
        ErrorKind::BadArguments,
        ErrorKind::BadResult,
        ErrorKind::Unregistered,
        ErrorKind::DeliveryLimit,
    ];
    let ours = (0..kinds.len(), "[A-Z][a-z]{0,8}", text(), vec(text(), 0..3)).prop_map(
        move |(kind, type_name, message, causes)| match kinds[kind] {
            ErrorKind::Failed => TaskError::failed(type_name, message).with_causes(causes),
            kind => TaskError::new(kind, message).with_causes(causes),
        },
    );
    let pythons = ("[A-Z][a-z]{0,8}", text(), option::of(text())).prop_map(
        |(type_name, message, traceback)| {
            let raised = Raised {
                module: Some("builtins".to_owned()),
                arguments: vec![message.as_str().into()],
                traceback,
            };
            TaskError::raised(ErrorKind::Failed, type_name, message, raised)
        },
    );
    prop_oneof![ours, pythons]
}

fn ending() -> impl Strategy<Value = (ResultState, Option<Tree>, Option<TaskError>)> {
    prop_oneof![
        tree().prop_map(|tree| (ResultState::Success, Some(tree), None)),
        error().prop_map(|error| (ResultState::Failure, None, Some(error))),
        error().prop_map(|error| (ResultState::Retry, None, Some(error))),
        (any::<u64>(), any::<u64>(), text()).prop_map(|(done, total, message)| {
            let progress = Progress {
                done,
                total,
                message,
            };
            (ResultState::Progress(progress), None, None)
        }),
        "[A-Z]{9}".prop_map(|name| (ResultState::Custom(name), None, None)),
    ]
}

fn stored() -> impl Strategy<Value = StoredResult> {
    (
        text(),
        ending(),
        time(),
        option::of(text()),
        option::of(text()),
        extra(),
    )
        .prop_map(
            |(id, (state, value, error), at, group, parent, extra)| StoredResult {
                id: id.into(),
                task: String::new(),
                stored_at: if state.is_final() { at } else { NOW },
                state,
                value: value.map(|tree| Payload {
                    content_type: ContentType::Json,
                    bytes: Bytes::from(tree.to_json()),
                }),
                error,
                attempt: 1,
                expires_at: Timestamp::MAX,
                trail: Trail {
                    group,
                    parent: parent.map(Into::into),
                    children: Vec::new(),
                    reply_to: None,
                    extra,
                },
            },
        )
}

proptest! {
    #[test]
    fn a_message_survives_the_wire(message in message()) {
        let back = WireMessage::encode(&message, NOW).decode();
        prop_assert_eq!(back, Ok(message));
    }

    #[test]
    fn a_message_survives_an_envelope(message in message(), exchange in text(), redelivered: bool) {
        let route = Route {
            exchange: exchange.as_str(),
            routing_key: "celery",
            delivery_tag: "tag",
            redelivered,
        };
        let mut bytes = Vec::new();
        envelope::write(&message, &route, NOW, &mut bytes);
        let mut back = Incoming::read(&bytes).unwrap();
        let through = back.message.exchange.take().map(|it| it.exchange.clone());
        prop_assert_eq!(through.unwrap_or_default(), exchange.clone());
        prop_assert_eq!(back.message, message.clone());
        prop_assert_eq!(back.route.exchange, exchange.clone());
        prop_assert_eq!(back.route.redelivered, redelivered);
        let by_steps = Envelope::decode(&bytes).unwrap();
        prop_assert_eq!(by_steps.exchange, exchange);
        prop_assert_eq!(by_steps.message.decode(), Ok(message));
    }

    #[test]
    fn a_result_survives(stored in stored()) {
        let bytes = result::encode(&stored).unwrap();
        prop_assert_eq!(result::decode(&bytes, NOW), Ok(stored));
    }

    #[test]
    fn a_body_survives_each_content_type(
        args in vec(tree(), 0..3),
        kwargs in fields(tree()),
        callbacks in vec(signature(), 0..2),
        chain in vec(signature(), 0..3),
        chord in option::of(signature()),
    ) {
        let embed = Embed { callbacks, chain, chord, ..Embed::default() };
        for content_type in [ContentType::Json, ContentType::Msgpack, ContentType::Yaml] {
            let body = Body::of(content_type, &args, &kwargs, embed.clone());
            let payload = body.encode();
            prop_assert_eq!(Body::decode(&payload), Ok(body));
            let parts = Tree::decode(content_type, &payload.bytes).unwrap();
            let Tree::List(parts) = parts else { panic!("it is a list") };
            prop_assert_eq!(&parts[0], &Tree::List(args.clone()));
        }
    }

    #[test]
    fn a_signature_survives(signature in signature()) {
        prop_assert_eq!(Signature::from_tree(signature.clone().into_tree()), Ok(signature));
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _envelope = Envelope::decode(&bytes);
        let _incoming = Incoming::read(&bytes);
        let _result = result::decode(&bytes, NOW);
        for content_type in [ContentType::Json, ContentType::Msgpack, ContentType::Yaml] {
            let payload = Payload { content_type, bytes: Bytes::copy_from_slice(&bytes) };
            let _body = Body::decode(&payload);
        }
    }
}
