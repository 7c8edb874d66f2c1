//! What a call puts in its place.

use celeriac_core::canvas::{Canvas, Encoding, Remote, Replacement, group, remote};
use celeriac_core::{ContentType, Message};
use celeriac_wire::Body;
use celeriac_wire::canvas::{follow, replace};
use serde_json::{Value, json};

use super::{NOW, capture, celery, comparable, end, message, with_embed};

/// What a call puts in its place, as its worker hands it on.
fn replacement(canvas: impl Canvas) -> Replacement {
    let encoding = Encoding {
        content_type: ContentType::Msgpack,
        limit_bytes: 1 << 20,
        serializer: None,
        compression: None,
    };
    Replacement {
        content_type: encoding.content_type,
        chain: encoding.freeze(canvas.into_node()).unwrap(),
    }
}

fn add() -> Remote<(u64, u64), u64> {
    remote("wire.add")
}

#[test]
fn what_replaces_a_call_is_sent_as_celery_sends_it() {
    for name in ["replace.json", "replace-in-chain.json"] {
        let captured = capture(name);
        let received = message(&captured["received"][0]);
        let fixed = captured.to_string();
        let replacement = replacement(add().call((1, 100)));
        let replaced = replace(&received, &replacement, &celery, NOW).unwrap();
        let [(_, ours)] = &replaced.messages[..] else {
            panic!("{:?}", replaced.messages);
        };
        let theirs = message(&captured["sent_by_worker"][0]);
        assert_eq!(
            comparable(ours, &fixed),
            comparable(&theirs, &fixed),
            "{name}"
        );
        let nesting = "replaced_task_nesting";
        assert_eq!(ours.headers.extra[nesting], theirs.headers.extra[nesting]);
        assert_eq!(ours.headers.ignore_result, theirs.headers.ignore_result);
        assert_eq!(ours.reply_to, theirs.reply_to);
    }
}

#[test]
fn a_group_that_replaces_a_call_is_collected_under_its_id() {
    let captured = capture("replace-group.json");
    let received = message(&captured["received"][0]);
    let parts = group((0..2).map(|n| add().call((1, n))));
    let replaced = replace(&received, &replacement(parts), &celery, NOW).unwrap();
    assert_eq!(replaced.opened[0].1, 2);
    let sent = captured["sent_by_worker"].as_array().unwrap();
    assert_eq!(replaced.messages.len(), sent.len());
    for ((_, ours), theirs) in replaced.messages.iter().zip(sent) {
        let theirs = message(theirs);
        let (own, body) = (Body::decode(&ours.body), Body::decode(&theirs.body));
        let (own, body) = (own.unwrap(), body.unwrap());
        let read = |args: &[u8]| serde_json::from_slice::<Value>(args).unwrap();
        assert_eq!(read(&own.args), read(&body.args));
        let (own, body) = (own.embed.chord.unwrap(), body.embed.chord.unwrap());
        assert_eq!((&own.task, &own.kwargs), (&body.task, &body.kwargs));
        assert_eq!(own.id(), body.id());
        assert_eq!(ours.headers.root_id, theirs.headers.root_id);
        for name in ["group_index", "replaced_task_nesting"] {
            let (ours, theirs) = (&ours.headers.extra[name], &theirs.headers.extra[name]);
            assert_eq!(ours, theirs, "{name}");
        }
    }
}

#[test]
fn every_message_that_starts_what_replaces_a_call_says_so() {
    let nesting = |message: &Message| message.headers.extra.get("replaced_task_nesting").cloned();
    let parts = || {
        let steps = add().call((1, 1)).then(add().partial((2,)));
        group([add().call((1, 2)).into_chain(), steps])
    };
    let mut replaced = with_embed(&json!({}));
    let extra = &mut replaced.headers.extra;
    extra.insert("replaced_task_nesting".to_owned(), 1.into());
    let sum: Remote<(Vec<u64>,), u64> = remote("wire.sum");
    let chord = || parts().then(sum.partial(()));
    let sent = replace(&replaced, &replacement(chord()), &celery, NOW).unwrap();
    assert_eq!(sent.messages.len(), 2);
    for (_, message) in &sent.messages {
        assert_eq!(nesting(message), Some(json!(2)));
        // Celery counts the message that starts a part, not the steps that follow in it.
        let embed = Body::decode(&message.body).unwrap().embed;
        assert!(
            embed
                .chain
                .iter()
                .all(|step| !step.options.contains("replaced_task_nesting"))
        );
    }

    // Behind another step, the worker that runs it sends the parts.
    let behind = add()
        .call((1, 1))
        .then(group([add().partial((2,)), add().partial((3,))]));
    let first = replace(
        &replaced,
        &replacement(behind.then(sum.partial(()))),
        &celery,
        NOW,
    );
    let (_, first) = &first.unwrap().messages[0];
    assert_eq!(nesting(first), Some(json!(2)));
    let end = end(first, Ok(json!(2)));
    let parts = follow(first, &end, &celery, NOW).unwrap();
    assert_eq!(parts.messages.len(), 2);
    for (_, message) in &parts.messages {
        assert_eq!(nesting(message), Some(json!(2)));
        let body = Body::decode(&message.body).unwrap().embed.chord.unwrap();
        assert_eq!(
            body.options.get("replaced_task_nesting").unwrap().to_json(),
            "2"
        );
    }
}

#[test]
fn what_replaces_a_part_takes_its_place_by_its_last_step() {
    let body = json!({"task": "sum", "options": {"task_id": "s"}});
    let errback = json!({"task": "told"});
    let mut part = with_embed(&json!({"chord": body, "errbacks": [errback]}));
    part.headers.group = Some("g".to_owned());
    part.headers
        .extra
        .insert("group_index".to_owned(), 3.into());
    let steps = add().call((1, 2)).then(add().partial((3,)));
    let replaced = replace(&part, &replacement(steps), &celery, NOW).unwrap();
    assert!(replaced.parts.is_empty() && replaced.results.is_empty());
    let (_, first) = &replaced.messages[0];
    assert_eq!(first.headers.group, None);
    let embed = Body::decode(&first.body).unwrap().embed;
    assert_eq!(embed.errbacks[0].task, "told");
    let last = &embed.chain[0];
    assert_eq!(last.id(), Some(&part.headers.id.to_string()[..]));
    assert_eq!(last.options.text("group_id"), Some("g"));
    assert_eq!(last.options.get("group_index").unwrap().to_json(), "3");
    assert!(last.options.get("chord").is_some());
    assert_eq!(last.linked("link_error").unwrap()[0].task, "told");
}
