//! What has to hold for any bytes, for each decoder: no panic, and what was read and written again
//! reads as the same.
//!
//! The fuzz targets call these, and so does a plain test of `celeriac-wire`, with the corpus.

use bytes::Bytes;
use celeriac_core::{Compression, ContentType, Payload, Tree};
use celeriac_wire::compression::{deflate, inflate};
use celeriac_wire::control::{Reply, Request};
use celeriac_wire::envelope::{self, Incoming, Route};
use celeriac_wire::{Body, Envelope, Signature, WireMessage, event, result};
use jiff::Timestamp;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const LIMIT_BYTES: usize = 1 << 20;

/// An element of a Redis list, by both ways.
pub(crate) fn envelope(bytes: &[u8]) {
    if let Ok(read) = Envelope::decode(bytes) {
        assert_eq!(Envelope::decode(&read.encode()).as_ref(), Ok(&read));
    }
    let Ok(incoming) = Incoming::read(bytes) else {
        return;
    };
    let mut message = incoming.message;
    // Where it came through stands beside the message that the steps give.
    let through = message.exchange.take().map(|it| it.exchange.clone());
    assert_eq!(through.unwrap_or_default(), incoming.route.exchange);
    // The steps also look at what is not needed, and may refuse that.
    if let Ok(by_steps) = Envelope::decode(bytes) {
        assert_eq!(by_steps.message.decode().as_ref(), Ok(&message));
    }
    let wire = WireMessage::encode(&message, NOW);
    let again = wire.decode().expect("what we write is read");
    assert_eq!(again.headers.id, message.headers.id);
    assert_eq!(again.body, message.body);
    let route = Route {
        exchange: incoming.route.exchange.as_str(),
        routing_key: &incoming.route.routing_key,
        delivery_tag: &incoming.route.delivery_tag,
        redelivered: incoming.route.redelivered,
    };
    let mut written = Vec::new();
    envelope::write(&message, &route, NOW, &mut written);
    let again = Incoming::read(&written).expect("what we write is read");
    assert_eq!(again.route, incoming.route);
    assert_eq!(again.message.body, message.body);
}

/// A stored result.
pub(crate) fn result(bytes: &[u8]) {
    if let Ok(read) = result::decode(bytes, NOW) {
        let written = result::encode(&read).expect("what was read has a form");
        let again = result::decode(&written, NOW).expect("what we write is read");
        assert_eq!(again.state, read.state);
        assert_eq!(again.error, read.error);
        assert_eq!(again.trail, read.trail);
    }
}

/// A body; the first byte chooses what it is in.
pub(crate) fn body(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else {
        return;
    };
    let content_type = match choice % 3 {
        0 => ContentType::Json,
        1 => ContentType::Msgpack,
        _ => ContentType::Yaml,
    };
    let payload = Payload {
        content_type,
        bytes: Bytes::copy_from_slice(bytes),
    };
    if let Ok(read) = Body::decode(&payload) {
        let again = Body::decode(&read.encode()).expect("what we write is read");
        if content_type != ContentType::Yaml {
            assert_eq!(again.args, read.args);
            assert_eq!(again.kwargs, read.kwargs);
        }
        assert_eq!(again.embed.chain.len(), read.embed.chain.len());
        for signature in read.embed.chain {
            check_signature(&signature);
        }
    }
}

fn check_signature(signature: &Signature) {
    let again = Signature::from_tree(signature.clone().into_tree());
    assert_eq!(again.as_ref(), Ok(signature));
    let _composite = signature.composite();
    if let Ok(sent) = signature.to_message(NOW) {
        assert_eq!(sent.message.headers.task, signature.task);
        assert!(Body::decode(&sent.message.body).is_ok());
    }
}

/// JSON and YAML.
pub(crate) fn tree(bytes: &[u8]) {
    if let Ok(tree) = Tree::parse(bytes) {
        let again = Tree::parse(tree.to_json().as_bytes());
        assert_eq!(again.as_ref(), Ok(&tree));
        assert!(
            Tree::decode(ContentType::Yaml, tree.to_yaml().as_bytes()).is_ok() || is_deep(&tree)
        );
        if let Ok(signature) = Signature::from_tree(tree) {
            check_signature(&signature);
        }
    }
    if let Ok(tree) = Tree::decode(ContentType::Yaml, bytes) {
        assert!(Tree::parse(tree.to_json().as_bytes()).is_ok() || is_deep(&tree));
    }
}

/// Whether a tree may be too deep for one of its forms, in which bytes and dates take a level, or has
/// a name that YAML gives a meaning to.
fn is_deep(tree: &Tree) -> bool {
    fn depth(tree: &Tree) -> usize {
        match tree {
            Tree::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
            Tree::Map(fields) => {
                1 + fields
                    .iter()
                    .map(|field| depth(&field.1))
                    .max()
                    .unwrap_or(0)
            }
            _ => 1,
        }
    }
    depth(tree) > 100 || tree.to_json().contains("\"<<\"")
}

/// Remote control: a request if the first byte is even, else answers.
pub(crate) fn control(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else {
        return;
    };
    if choice % 2 == 0 {
        if let Ok(mut read) = Request::decode(bytes) {
            // Without an answer there is nothing to know it by.
            read.ticket = read.ticket.filter(|_| read.reply_to.is_some());
            assert_eq!(Request::decode(&read.encode()).as_ref(), Ok(&read));
            let _included = read.audience.includes("celery@box");
        }
    } else if let Ok(read) = Reply::decode(bytes) {
        for one in read {
            assert_eq!(Reply::decode(&one.encode()).as_deref(), Ok(&[one][..]));
        }
    }
}

/// Events.
pub(crate) fn events(bytes: &[u8]) {
    if let Ok(read) = event::read(bytes) {
        let written = serde_json::to_vec(&read).expect("a map has a form in JSON");
        assert_eq!(event::read(&written).as_ref(), Ok(&read));
    }
}

/// Compressed bytes; the first byte chooses how.
pub(crate) fn compression(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else {
        return;
    };
    let compression = Compression::ALL[usize::from(*choice) % Compression::ALL.len()];
    if let Ok(inflated) = inflate(compression, bytes, LIMIT_BYTES) {
        assert!(inflated.len() <= LIMIT_BYTES);
        let again = deflate(compression, &inflated).expect("it is built");
        assert_eq!(inflate(compression, &again, LIMIT_BYTES), Ok(inflated));
    }
}
