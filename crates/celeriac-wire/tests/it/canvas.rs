//! What follows a call is what Celery's workers sent after it.

use std::fs;
use std::path::Path;

use celeriac_core::canvas::{Canvas, Encoding, Remote, Replacement, group, remote};
use celeriac_core::{
    ChordPart, ContentType, Destination, ErrorKind, Joined, Message, Payload, ResultState,
    StoredResult, TaskError, TaskId, Trail,
};
use celeriac_wire::canvas::{Follow, Part, follow, join, replace};
use celeriac_wire::{Body, Envelope};
use jiff::Timestamp;
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn celery(named: Option<Destination>, _: &str) -> Destination {
    named.unwrap_or_default()
}

fn capture(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/celery/followups-redis");
    serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap()
}

fn message(captured: &Value) -> Message {
    let raw = captured["raw"].as_str().unwrap();
    Envelope::decode(raw.as_bytes())
        .unwrap()
        .message
        .decode()
        .unwrap()
}

fn end(message: &Message, outcome: Result<Value, TaskError>) -> StoredResult {
    let (state, value, error) = match outcome {
        Ok(value) => (ResultState::Success, Some(value), None),
        Err(error) => (ResultState::Failure, None, Some(error)),
    };
    StoredResult {
        id: message.headers.id.clone(),
        task: message.headers.task.clone(),
        state,
        value: value.map(|value| Payload::encode(ContentType::Json, &value).unwrap()),
        error,
        attempt: 1,
        stored_at: NOW,
        expires_at: NOW,
        trail: Trail::default(),
    }
}

/// What of a message is the same in each run, with the ids that `fixed` names.
fn comparable(message: &Message, fixed: &str) -> Value {
    let headers = &message.headers;
    let known = |id: &str| fixed.contains(id).then(|| id.to_owned());
    let mut body: Value = message.body.decode().unwrap();
    for name in ["callbacks", "errbacks", "chain"] {
        if body[2][name] == json!([]) {
            body[2][name] = Value::Null;
        }
    }
    let or = |name: &str, unset: Value| headers.extra.get(name).cloned().unwrap_or(unset);
    json!({
        "task": headers.task,
        "id": known(&headers.id.to_string()),
        "group": headers.group.as_deref().map(|group| known(group).is_some()),
        "group_index": or("group_index", Value::Null),
        "root_id": headers.root_id,
        "parent_id": headers.parent_id,
        "retries": headers.retries,
        "stamps": or("stamps", json!({})),
        "stamped_headers": or("stamped_headers", Value::Null),
        "body": body,
    })
}

/// Follows the call of a capture to `outcome`, and compares with what Celery sent.
fn follows(name: &str, outcome: Result<Value, TaskError>) {
    let captured = capture(name);
    let received = message(&captured["received"][0]);
    let follow = follow(&received, &end(&received, outcome), &celery, NOW).unwrap();
    let fixed =
        captured["received"].to_string() + std::str::from_utf8(&received.body.bytes).unwrap();
    let ours: Vec<_> = follow
        .messages
        .iter()
        .map(|(_, m)| comparable(m, &fixed))
        .collect();
    let sent = captured["sent_by_worker"].as_array().unwrap();
    let theirs: Vec<_> = sent
        .iter()
        .map(|it| comparable(&message(it), &fixed))
        .collect();
    assert_eq!(ours, theirs, "{name}");
    assert!(!ours.is_empty());
}

#[test]
fn callbacks_and_next_steps_are_celerys() {
    follows("chain-next.json", Ok(json!(3)));
    follows("stamped-chain-next.json", Ok(json!(3)));
    follows("link-one.json", Ok(json!(4)));
    follows("link-many.json", Ok(json!(4)));
}

#[test]
fn errbacks_are_celerys() {
    let boom = || Err(TaskError::failed("ValueError", "boom"));
    follows("link-error-old.json", boom());
    follows("link-error-unregistered.json", boom());
}

#[test]
fn the_steps_behind_a_failure_fail_with_it() {
    let captured = capture("chain-fails.json");
    let received = message(&captured["received"][0]);
    let boom = TaskError::failed("ValueError", "boom");
    let follow = follow(&received, &end(&received, Err(boom.clone())), &celery, NOW).unwrap();
    assert!(follow.messages.is_empty());
    let chain = Body::decode(&received.body).unwrap().embed.chain;
    let mut behind: Vec<_> = chain
        .iter()
        .map(|step| TaskId::from(step.id().unwrap()))
        .collect();
    behind.reverse();
    let ended: Vec<_> = follow
        .results
        .iter()
        .map(|result| result.id.clone())
        .collect();
    assert_eq!(ended, behind);
    assert!(
        follow
            .results
            .iter()
            .all(|result| result.error == Some(boom.clone()))
    );
}

/// The parts of a chord from its header messages, with these outcomes.
fn parts(name: &str, outcomes: Vec<Result<Value, TaskError>>) -> (Vec<Part>, Value) {
    let captured = capture(name);
    let headers = captured["steps"][0]["header_messages"].clone();
    let parts = headers
        .as_array()
        .unwrap()
        .iter()
        .zip(outcomes)
        .map(|(header, outcome)| {
            let header = message(header);
            let Follow { mut parts, .. } =
                follow(&header, &end(&header, outcome), &celery, NOW).unwrap();
            assert_eq!(parts.len(), 1);
            parts.remove(0)
        });
    (parts.collect(), headers)
}

fn joined(parts: &[Part]) -> Joined {
    Joined {
        group: parts[0].counted.group.clone(),
        results: parts
            .iter()
            .map(|part| part.counted.result.clone())
            .collect(),
    }
}

#[test]
fn a_complete_chord_sends_its_body_as_celery_does() {
    let (parts, headers) = parts("chord-steps.json", vec![Ok(json!(2)), Ok(json!(4))]);
    let ChordPart { group, index, .. } = &parts[1].counted;
    let last = message(&headers[1]);
    assert_eq!(
        (Some(group), *index),
        (last.headers.group.as_ref(), Some(1))
    );
    let follow = join(&parts[1], &joined(&parts), &celery, NOW).unwrap();
    let (queue, body) = &follow.messages[0];
    assert_eq!(queue.to_string(), "celery");
    let chord = Body::decode(&last.body).unwrap().embed.chord.unwrap();
    assert_eq!(body.headers.task, "wire.xsum");
    assert_eq!(body.headers.id, chord.id().unwrap().into());
    assert_eq!(body.headers.group.as_ref(), Some(group));
    assert_eq!(body.headers.parent_id.as_ref(), Some(&last.headers.id));
    assert_eq!(body.headers.root_id, last.headers.root_id);
    let decoded: Value = body.body.decode().unwrap();
    assert_eq!(decoded[0], json!([[2, 4]]));
}

#[test]
fn a_chord_with_a_failed_part_fails_under_its_bodys_id() {
    let boom = TaskError::raised(
        ErrorKind::Failed,
        "ValueError",
        "boom",
        celeriac_core::outcome::Raised {
            arguments: vec![json!("boom"), json!(42)],
            ..Default::default()
        },
    );
    let (parts, headers) = parts(
        "chord-header-fails-steps.json",
        vec![Ok(json!(2)), Err(boom)],
    );
    let follow = join(&parts[1], &joined(&parts), &celery, NOW).unwrap();
    let last = message(&headers[1]);
    let chord = Body::decode(&last.body).unwrap().embed.chord.unwrap();
    let failed = &follow.results[0];
    assert_eq!(failed.id, chord.id().unwrap().into());
    let error = failed.error.as_ref().unwrap();
    assert_eq!(error.type_name(), "ChordError");
    assert_eq!(
        error.message(),
        format!(
            "Dependency {} raised ValueError('boom', 42)",
            last.headers.id
        )
    );
    // Its error callback hears of the body.
    let (_, errback) = &follow.messages[0];
    assert_eq!(errback.headers.task, "wire.on_error_old");
    let decoded: Value = errback.body.decode().unwrap();
    assert_eq!(decoded[0], json!([chord.id().unwrap()]));
}

/// A message whose body ends with this workflow.
fn with_embed(embed: &Value) -> Message {
    let captured = capture("chain-next.json");
    let mut message = message(&captured["received"][0]);
    message.body = Payload::encode(ContentType::Json, &json!([[1], {}, embed])).unwrap();
    message
}

fn after(embed: &Value, value: &Value) -> Follow {
    let message = with_embed(embed);
    follow(&message, &end(&message, Ok(value.clone())), &celery, NOW).unwrap()
}

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

#[test]
fn a_group_before_another_step_is_a_chord() {
    let group = json!({"task": "celery.group", "subtask_type": "group", "kwargs": {"tasks": [
        {"task": "a"}, {"task": "b", "args": [5]}]}});
    let last = json!({"task": "sum", "options": {"task_id": "s"}});
    let end = json!({"task": "end"});
    let follow = after(&json!({"chain": [end, last, group]}), &json!(7));
    assert_eq!(follow.opened.len(), 1);
    assert_eq!(follow.opened[0].1, 2);
    for (index, (_, message)) in follow.messages.iter().enumerate() {
        assert_eq!(message.headers.group.as_ref(), Some(&follow.opened[0].0));
        assert_eq!(message.headers.extra["group_index"], index);
        let body = Body::decode(&message.body).unwrap();
        let chord = body.embed.chord.unwrap();
        assert_eq!((chord.task.as_str(), chord.id()), ("sum", Some("s")));
        let behind = chord.linked("chain").unwrap();
        assert_eq!(behind[0].task, "end");
    }
    let second: Value = follow.messages[1].1.body.decode().unwrap();
    assert_eq!(second[0], json!([7, 5]));
}

#[test]
fn a_chord_without_a_header_runs_its_body_at_once() {
    let chord = json!({"task": "celery.chord", "subtask_type": "chord",
        "kwargs": {"header": [], "body": {"task": "sum"}}});
    let follow = after(&json!({"chain": [chord]}), &json!(7));
    assert!(follow.opened.is_empty());
    let body: Value = follow.messages[0].1.body.decode().unwrap();
    assert_eq!(body[0], json!([[]]));
}

#[test]
fn a_chain_in_a_header_stands_there_by_its_last_step() {
    let chain = json!({"task": "celery.chain", "subtask_type": "chain", "kwargs": {"tasks": [
        {"task": "a"}, {"task": "b"}]}});
    let chord = json!({"task": "celery.chord", "subtask_type": "chord",
        "kwargs": {"header": [chain], "body": {"task": "sum"}}});
    let follow = after(&json!({"chain": [chord]}), &json!(7));
    let (_, first) = &follow.messages[0];
    assert_eq!(first.headers.group, None);
    let embed = Body::decode(&first.body).unwrap().embed;
    assert!(embed.chord.is_none());
    assert_eq!(
        embed.chain[0].options.text("group_id"),
        Some(&follow.opened[0].0[..])
    );
    assert!(embed.chain[0].options.get("chord").is_some());
}

#[test]
fn a_failed_step_of_a_chain_in_a_header_counts_for_the_chord() {
    let step = json!({"task": "b", "options": {"task_id": "b1", "group_id": "g",
        "group_index": 3, "chord": {"task": "sum", "options": {"task_id": "s"}}}});
    let message = with_embed(&json!({"chain": [step]}));
    let boom = TaskError::failed("ValueError", "boom");
    let follow = follow(&message, &end(&message, Err(boom)), &celery, NOW).unwrap();
    let counted = &follow.parts[0].counted;
    assert_eq!((&counted.group[..], counted.index), ("g", Some(3)));
    assert_eq!(counted.result.id, "b1".into());
    assert_eq!(counted.result.state, ResultState::Failure);
}

#[test]
fn large_numbers_are_passed_on_exactly() {
    let next = r#"[[1], {}, {"chain": [{"task": "a", "args": [123456789012345678901234567890]}]}]"#;
    let mut message = with_embed(&json!({}));
    message.body.bytes = next.into();
    let mut end = end(&message, Ok(json!(0)));
    end.value.as_mut().unwrap().bytes = "987654321098765432109876543210".into();
    let follow = follow(&message, &end, &celery, NOW).unwrap();
    let body = String::from_utf8(follow.messages[0].1.body.bytes.to_vec()).unwrap();
    let args = "[987654321098765432109876543210,123456789012345678901234567890]";
    assert!(body.contains(args), "{body}");
}

/// A call of `a` that `embed` follows, from a sender who waits at `answers`.
fn carrying(embed: &Value) -> Message {
    let captured = capture("chain-next.json");
    let mut message = message(&captured["received"][0]);
    message.body = Payload::encode(ContentType::Json, &json!([[], {}, embed])).unwrap();
    message.reply_to = Some("answers".to_owned());
    message
}

#[test]
fn what_follows_answers_where_the_call_was_answered() {
    let embed = json!({"chain": [{"task": "b", "options": {"task_id": "next"}}],
        "callbacks": [{"task": "c"}]});
    let message = carrying(&embed);
    let follow = follow(&message, &end(&message, Ok(json!(1))), &celery, NOW).unwrap();
    assert_eq!(follow.messages.len(), 2);
    for (_, message) in &follow.messages {
        assert_eq!(message.reply_to.as_deref(), Some("answers"));
    }
}

#[test]
fn a_step_that_never_runs_is_answered_where_it_says_itself() {
    let own = json!({"task": "b", "options": {"task_id": "b1", "reply_to": "elsewhere"}});
    let none = json!({"task": "c", "options": {"task_id": "c1"}});
    let message = carrying(&json!({"chain": [none, own]}));
    let boom = TaskError::failed("ValueError", "boom");
    let failed = follow(&message, &end(&message, Err(boom)), &celery, NOW).unwrap();
    let places = failed.results.iter().map(|result| {
        let to = result.trail.reply_to.as_deref();
        (result.id.to_string(), to.unwrap().to_owned())
    });
    let told = [("b1", "elsewhere"), ("c1", "answers")];
    assert!(places.eq(told.map(|(id, to)| (id.to_owned(), to.to_owned()))));
    let next = follow(&message, &end(&message, Ok(json!(1))), &celery, NOW).unwrap();
    assert_eq!(next.messages[0].1.reply_to.as_deref(), Some("elsewhere"));
}

#[test]
fn a_chord_that_is_part_of_a_chord_stands_there_by_its_body() {
    let chord = |header: Value, body: Value| {
        json!({"task": "celery.chord", "subtask_type": "chord", "args": [], "options": {},
            "kwargs": {"header": header, "body": body, "kwargs": {}}})
    };
    let inner = chord(
        json!([{"task": "a"}]),
        json!({"task": "inner", "options": {"task_id": "inner"}}),
    );
    let part = json!({"task": "celery.chain", "subtask_type": "chain", "args": [],
        "kwargs": {"tasks": [{"task": "first"}, inner]}, "options": {}});
    let outer = chord(
        json!({"task": "celery.group", "subtask_type": "group", "args": [],
            "kwargs": {"tasks": [part]}, "options": {"task_id": "outer group"}}),
        json!({"task": "outer", "options": {"task_id": "outer"}}),
    );
    let message = carrying(&json!({ "chain": [outer] }));
    let first = follow(&message, &end(&message, Ok(json!(1))), &celery, NOW).unwrap();
    let first = &first.messages[0].1;
    assert_eq!(first.headers.task, "first");
    let header = follow(first, &end(first, Ok(json!(1))), &celery, NOW).unwrap();
    let part = &header.messages[0].1;
    let body = Body::decode(&part.body).unwrap().embed.chord.unwrap();
    assert_eq!(body.task, "inner");
    assert_eq!(body.options.text("group_id"), Some("outer group"));
    let outer = body
        .options
        .get("chord")
        .and_then(|chord| chord.get("task"));
    assert_eq!(outer.and_then(celeriac_core::Tree::as_text), Some("outer"));
}
