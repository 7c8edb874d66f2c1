//! Remote control, as Celery's clients and workers were seen to write it.

use std::fs;
use std::path::Path;

use celeriac_wire::control::{Audience, Reply, Request};
use celeriac_wire::{Envelope, event};
use proptest::prelude::*;
use serde_json::{Value, json};

fn capture(name: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/celery");
    serde_json::from_str(&fs::read_to_string(file.join(name)).unwrap()).unwrap()
}

#[test]
fn every_request_of_celerys_client_is_read_and_written_again() {
    let captured = capture("pidbox-redis-requests.json");
    let requests = captured["requests"].as_object().unwrap();
    assert!(requests.len() > 20, "the captures are there");
    for (name, sent) in requests {
        let body = &sent["body_decoded"];
        let request = Request::decode(body.to_string().as_bytes()).expect(name);
        assert_eq!(json!(request.method), body["method"], "{name}");
        let again: Value = serde_json::from_slice(&request.encode()).unwrap();
        assert_eq!(&again, body, "{name}");
        if let Some(raw) = sent.get("raw").and_then(Value::as_str) {
            let envelope = Envelope::decode(raw.as_bytes()).unwrap();
            assert_eq!(Request::decode(&envelope.message.body).unwrap(), request);
        }
    }
}

#[test]
fn a_request_reaches_those_whom_it_reached_in_celery() {
    let captured = capture("pidbox-redis-replies.json");
    let replies = captured["replies"].as_array().unwrap();
    let mut addressed = 0;
    for sent in replies.iter().filter(|sent| sent["method"] == "ping") {
        let mut body = sent["options"].clone();
        body["method"] = json!("ping");
        let request = Request::decode(body.to_string().as_bytes()).unwrap();
        let heard = request.audience.includes("w1@wirehost");
        assert_eq!(heard, !sent["reply"].is_null(), "{sent}");
        addressed += usize::from(request.audience != Audience::All);
    }
    assert!(
        addressed >= 4,
        "destinations, globs and expressions were tried"
    );
}

#[test]
fn every_answer_of_celerys_worker_is_read_and_written_again() {
    let captured = capture("pidbox-redis-replies.json");
    for sent in captured["replies"].as_array().unwrap() {
        let Some(answers) = sent["reply"].as_object() else {
            continue;
        };
        let read = Reply::decode(sent["reply"].to_string().as_bytes()).unwrap();
        assert_eq!((read.len(), answers.len()), (1, 1));
        assert_eq!(read[0].value, answers["w1@wirehost"]);
        let again: Value = serde_json::from_slice(&read[0].encode()).unwrap();
        assert_eq!(again, sent["reply"]);
    }
}

#[test]
fn every_event_of_celerys_is_the_same_after_reading_and_writing() {
    let mut known = 0;
    for file in ["events-redis.json", "events-amqp.json"] {
        for (name, sent) in capture(file)["events"].as_object().unwrap() {
            let told = &sent["event"];
            let body = if sent["batched"] == true {
                json!([told])
            } else {
                told.clone()
            };
            let read = event::read(body.to_string().as_bytes()).unwrap();
            assert_eq!(&Value::Object(read[0].clone()), told, "{name}");
            // What apps make up, and elections, are no events of ours to send.
            let Ok(ours) = serde_json::from_value::<event::Stamped>(told.clone()) else {
                let made_up = ["task-progress", "worker-elect", "worker-elect-ack"];
                assert!(made_up.contains(&name.as_str()), "{name} is not known");
                continue;
            };
            known += 1;
            assert_eq!(&serde_json::to_value(&ours).unwrap(), told, "{name}");
            assert_eq!(told["type"], ours.event.name());
            if sent["batched"] == false {
                let key = ours.event.routing_key();
                let channel = sent["channel"].as_str();
                let channel = channel.or(sent["delivery_info"]["routing_key"].as_str());
                assert!(
                    channel.unwrap().ends_with(&key),
                    "{name} travels under {key}"
                );
            }
        }
    }
    assert!(known >= 20, "{known} events were compared");
}

proptest! {
    #[test]
    fn no_bytes_end_a_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Request::decode(&bytes);
        let _ = Reply::decode(&bytes);
        let _ = event::read(&bytes);
    }

    #[test]
    fn no_pattern_ends_a_reader(pattern in ".{0,40}", kind in "(glob|pcre|x)", node in ".{0,20}") {
        let body = json!({"method": "ping", "pattern": pattern, "matcher": kind});
        if let Ok(request) = Request::decode(body.to_string().as_bytes()) {
            let _ = request.audience.includes(&node);
        }
    }
}
