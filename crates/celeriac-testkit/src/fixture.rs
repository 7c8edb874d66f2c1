//! What a driver brings to its test, and what the tests make.

use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{
    BoxFuture, Broker, ContentType, Headers, Message, Payload, QueueName, ResultState,
    StoredResult, TaskId, Topology, Trail,
};
use jiff::Timestamp;
use serde_json::Map;

/// One empty store, and the faults a suite puts it through.
pub trait Fixture: Send + Sync {
    /// Another handle to the store, as another process would open it. Bodies of more than 1 MiB
    /// are over its limit.
    fn open(&self) -> BoxFuture<'_, Arc<dyn Broker>>;

    /// As [`open`](Self::open), by a program that defines these queues. Only asked of stores that have
    /// exchanges.
    ///
    /// # Panics
    ///
    /// If the store has none.
    fn open_with(&self, topology: Topology) -> BoxFuture<'_, Arc<dyn Broker>> {
        panic!("this store has no exchanges for {topology:?}")
    }

    /// Puts a message in a queue whose headers are taken as they are.
    fn insert_raw<'a>(
        &'a self,
        queue: &'a QueueName,
        headers: &'a [u8],
        content_type: &'a str,
        body: &'a [u8],
    ) -> BoxFuture<'a, ()>;

    /// The longest name a queue may have, in bytes.
    fn longest_queue_name(&self) -> usize {
        celeriac_core::queue::MAX_NAME_BYTES
    }

    /// Whether what a closed consumer gives back stands in its queue in the order it had, and none
    /// of it counts as delivered: not if the store may deliver while a subscription ends.
    fn gives_back_exactly(&self) -> bool {
        true
    }

    /// Headers that are none, with the content type and the body that come with them, in the form
    /// in which [`insert_raw`](Self::insert_raw) takes them. Dead messages have them to the letter.
    fn malformed(&self) -> Vec<(Vec<u8>, String, Vec<u8>)> {
        let deep = "[".repeat(100_000);
        let headers: [&[u8]; 8] = [
            b"",
            b"not json",
            b"null",
            b"[1,2]",
            b"{}",
            br#"{"task":7,"id":"x"}"#,
            b"{\"task\":\"\xff\",\"id\":\"x\"}",
            deep.as_bytes(),
        ];
        let case = |headers: &[u8]| {
            let json = ContentType::Json.as_str();
            (headers.to_vec(), json.to_owned(), b"[]".to_vec())
        };
        let mut cases: Vec<_> = headers.into_iter().map(case).collect();
        let good = br#"{"task":"t","id":"x"}"#.to_vec();
        cases.push((good, "nobodys".to_owned(), b"\x80\x04.".to_vec()));
        cases
    }

    /// Makes the store believe that the consumer of this name has died, though its handle lives.
    fn kill<'a>(&'a self, consumer: &'a str) -> BoxFuture<'a, ()>;

    /// The priority of an urgency, of which 9 is the most: the same unless this store has it the
    /// other way round.
    fn priority(&self, urgency: u8) -> u8 {
        urgency
    }

    /// A message as it comes out of this store: the same unless its format adds something.
    fn carried(&self, message: Message) -> Message {
        message
    }

    /// A result as it comes out of this store, less what its format does not keep.
    fn kept(&self, result: StoredResult) -> StoredResult {
        result
    }

    /// Headers, content type and body of a dead message that was put in by
    /// [`insert_raw`](Self::insert_raw): the same unless the store cannot tell them apart.
    fn quarantined(
        &self,
        headers: &[u8],
        content_type: &str,
        body: &[u8],
    ) -> (Vec<u8>, String, Vec<u8>) {
        (headers.to_vec(), content_type.to_owned(), body.to_vec())
    }
}

/// Runs a test on a runtime of its own.
pub fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime needs no more than threads")
        .block_on(test);
}

/// What `future` gives, which must not take longer than 20 s: far more than anything here needs.
///
/// # Panics
///
/// If it does.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("it takes no longer than 20 s")
}

/// The queue of this name.
pub fn queue(name: &str) -> QueueName {
    QueueName::new(name).expect("tests use good names")
}

/// A message of `task` with a new id, priority 0 and the arguments `[number]`.
pub fn call(task: &str, number: usize) -> Message {
    message(TaskId::new(), task, number, 0)
}

/// A message with the arguments `[number]`.
pub fn message(id: TaskId, task: &str, number: usize, priority: u8) -> Message {
    let headers = Headers {
        lang: "rs".to_owned(),
        task: task.to_owned(),
        root_id: Some(id.clone()),
        id,
        eta: None,
        expires: None,
        group: None,
        retries: 0,
        timelimit: None,
        parent_id: None,
        origin: None,
        ignore_result: None,
        extra: Map::new(),
    };
    let body = Payload::encode(
        ContentType::Json,
        &((number,), Map::new(), serde_json::Value::Null),
    )
    .expect("numbers have a form in JSON");
    Message {
        headers,
        priority,
        reply_to: None,
        correlation_id: None,
        exchange: None,
        body,
    }
}

/// A result in `state`, which is kept for an hour.
pub fn result(id: &TaskId, state: ResultState, attempt: u32) -> StoredResult {
    let now = Timestamp::from_millisecond(Timestamp::now().as_millisecond())
        .expect("it was a time before");
    StoredResult {
        id: id.clone(),
        task: "shop.charge".to_owned(),
        value: (state == ResultState::Success)
            .then(|| Payload::encode(ContentType::Json, &attempt).expect("it is a number")),
        error: None,
        state,
        attempt,
        stored_at: now,
        expires_at: celeriac_core::message::later(now, Duration::from_secs(3600)),
        trail: Trail::default(),
    }
}
