//! Groups and chords: what counts for them, and what their end sends.

use celeriac_core::{ChordPart, ErrorKind, Joined, ResultState, TaskError};
use celeriac_wire::Body;
use celeriac_wire::canvas::{Follow, Part, follow, join};
use serde_json::{Value, json};

use super::{NOW, after, capture, carrying, celery, end, message, with_embed};

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
