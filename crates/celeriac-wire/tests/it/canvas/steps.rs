//! Callbacks, error callbacks and the next steps of a chain.

use celeriac_core::{TaskError, TaskId};
use celeriac_wire::Body;
use celeriac_wire::canvas::follow;
use serde_json::json;

use super::{NOW, capture, carrying, celery, end, follows, message, with_embed};

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
