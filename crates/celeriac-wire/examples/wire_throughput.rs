//! How many messages and results a second one core turns into bytes and back.
//!
//! `cargo run --release -p celeriac-wire --example wire_throughput`
#![allow(clippy::print_stdout, reason = "it prints its figures")]

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use celeriac_core::task::encode_body;
use celeriac_core::{
    CallOptions, ContentType, Message, Payload, ResultState, StoredResult, TaskId, TaskOptions,
    Trail,
};
use celeriac_wire::envelope::{self, Incoming, Route};
use celeriac_wire::{Body, Envelope, WireMessage, result};
use jiff::Timestamp;

const ROUNDS: u32 = 200_000;

fn main() -> Result<(), Box<dyn Error>> {
    let now = Timestamp::now();
    let body = encode_body(ContentType::Json, &(2, 3))?;
    let mut message = Message::new(
        "wire.add",
        body,
        &CallOptions::default(),
        &TaskOptions::DEFAULT,
        now,
    );
    message.reply_to = Some(TaskId::new().to_string());
    let tag = TaskId::new().to_string();
    let route = Route {
        routing_key: "celery",
        delivery_tag: tag.as_str(),
        ..Route::default()
    };
    let mut bytes = Vec::new();
    envelope::write(&message, &route, now, &mut bytes);
    let stored = StoredResult {
        id: message.headers.id.clone(),
        task: "wire.add".to_owned(),
        state: ResultState::Success,
        value: Some(Payload::encode(ContentType::Json, &5)?),
        error: None,
        attempt: 1,
        stored_at: now,
        expires_at: Timestamp::MAX,
        trail: Trail::default(),
    };
    let encoded = result::encode(&stored)?;

    println!("an envelope of {} bytes", bytes.len());
    let mut out = Vec::new();
    time("write an envelope", || {
        out.clear();
        envelope::write(black_box(&message), &route, now, &mut out);
    });
    time("the same by steps", || {
        let wire = WireMessage::encode(black_box(&message), now);
        black_box(Envelope::to_queue("celery", tag.as_str(), wire).encode());
    });
    time("read an envelope", || {
        black_box(Incoming::read(black_box(&bytes)).is_ok());
    });
    time("the same by steps", || {
        let envelope = Envelope::decode(black_box(&bytes));
        black_box(envelope.is_ok_and(|envelope| envelope.message.decode().is_ok()));
    });
    time("take a body apart", || {
        black_box(Body::decode(black_box(&message.body)).is_ok());
    });
    time("write a result", || {
        black_box(result::encode(black_box(&stored)).is_ok());
    });
    time("read a result", || {
        black_box(result::decode(black_box(&encoded), now).is_ok());
    });
    Ok(())
}

fn time(what: &str, mut once: impl FnMut()) {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        once();
    }
    let each = start.elapsed() / ROUNDS;
    println!("{what:20} {:>6} ns", each.as_nanos());
}
