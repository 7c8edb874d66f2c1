//! What the Redis driver promises beyond the suite, on a real server.

mod faults;
mod hearing;
mod keeping;
mod keys;
mod kills;
mod python;
mod reach;
mod servers;

use std::sync::Arc;

use celeriac_core::{
    BoxFuture, Broker, BrokerUrl, Message, Place, QueueName, StoredResult, Topology,
};
use celeriac_drivers::DriverOptions;
use celeriac_drivers::redis::{RedisStore, open};
use celeriac_testkit::Fixture;
use celeriac_wire::{Envelope, Properties, WireMessage, result};
use jiff::Timestamp;
use redis::Commands;
use serde_json::{Map, Value};

/// The URL of the server that all tests share.
pub(crate) fn server() -> String {
    celeriac_testkit::peers::redis_url()
}

/// A server, and a prefix that nobody else uses.
pub(crate) struct Store {
    /// The URL of the test's own keys.
    pub(crate) url: String,
    pub(crate) prefix: String,
    server: String,
}

/// A place of its own for a test.
pub(crate) async fn connect(test: &str) -> Store {
    Store::new(test, "")
}

/// The same on the oldest server that we work with.
pub(crate) async fn connect_62(test: &str) -> Store {
    Store::on(celeriac_testkit::peers::redis_62_url(), test, "")
}

impl Store {
    /// A place of its own for a test, with further options.
    pub(crate) fn new(test: &str, options: &str) -> Self {
        Self::on(server(), test, options)
    }

    fn on(server: String, test: &str, options: &str) -> Self {
        let prefix = format!("{test}:{}:", uuid::Uuid::new_v4().simple());
        Self {
            url: format!("{server}?global_keyprefix={prefix}&result_keyprefix={prefix}{options}"),
            prefix,
            server,
        }
    }

    /// The same place by another way, or with further options.
    pub(crate) fn url(&self) -> BrokerUrl {
        broker_url(&self.url)
    }

    pub(crate) async fn store(&self) -> Arc<RedisStore> {
        open(&self.url(), &crate::conformance::options())
            .await
            .unwrap()
    }

    /// A connection of the test's own.
    pub(crate) fn client(&self) -> redis::Connection {
        redis::Client::open(self.server.as_str())
            .unwrap()
            .get_connection()
            .unwrap()
    }

    /// A key of the test's own.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A list element with these headers, as a careless producer would push it.
    fn element(headers: &[u8], content_type: &str, body: &[u8]) -> Vec<u8> {
        let properties = Properties {
            delivery_mode: 2,
            content_type: content_type.to_owned(),
            content_encoding: "utf-8".to_owned(),
            ..Properties::default()
        };
        let message = WireMessage {
            headers: Map::from_iter([("here".to_owned(), Value::Null)]),
            properties,
            body: body.to_vec().into(),
        };
        let tag = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, headers).to_string();
        let text = Envelope::to_queue("jobs", tag, message).encode();
        let place = br#"{"here":null}"#;
        let at = text
            .windows(place.len())
            .position(|part| part == place)
            .unwrap();
        [&text[..at], headers, &text[at + place.len()..]].concat()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Best effort: the server is thrown away after the tests.
        let pattern = format!("{}*", self.prefix);
        let Ok(client) = redis::Client::open(self.server.as_str()) else {
            return;
        };
        let Ok(mut connection) = client.get_connection() else {
            return;
        };
        let keys: Vec<Vec<u8>> = connection.keys(pattern).unwrap_or_default();
        if !keys.is_empty() {
            let _: Result<(), _> = connection.del(keys);
        }
    }
}

pub(crate) fn broker_url(text: &str) -> BrokerUrl {
    match text.parse().unwrap() {
        Place::Broker(url) => url,
        place => panic!("{place} is no broker"),
    }
}

impl Fixture for Store {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Broker>> {
        Box::pin(async move { self.store().await as Arc<dyn Broker> })
    }

    fn open_with(&self, topology: Topology) -> BoxFuture<'_, Arc<dyn Broker>> {
        let options = DriverOptions {
            topology: Arc::new(topology),
            ..crate::conformance::options()
        };
        Box::pin(async move { open(&self.url(), &options).await.unwrap() as Arc<dyn Broker> })
    }

    fn insert_raw<'a>(
        &'a self,
        queue: &'a QueueName,
        headers: &'a [u8],
        content_type: &'a str,
        body: &'a [u8],
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let element = Self::element(headers, content_type, body);
            let _: () = self
                .client()
                .lpush(self.key(queue.as_str()), element)
                .unwrap();
        })
    }

    fn kill<'a>(&'a self, consumer: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut client = self.client();
            let known: Vec<(String, String)> =
                client.hgetall(self.key("_celeriac.consumer")).unwrap();
            let named = |(_, particulars): &&(String, String)| {
                let particulars: Value = serde_json::from_str(particulars).unwrap();
                particulars["name"] == consumer
            };
            let (owner, _) = known.iter().find(named).expect("it is registered");
            let mut kill = redis::pipe();
            kill.atomic();
            kill.zrem(self.key("_celeriac.consumers"), owner).ignore();
            kill.hdel(self.key("_celeriac.consumer"), owner).ignore();
            kill.sadd(self.key("_celeriac.buried"), owner).ignore();
            let _: () = kill.query(&mut client).unwrap();
        })
    }

    fn priority(&self, urgency: u8) -> u8 {
        9 - urgency
    }

    fn carried(&self, message: Message) -> Message {
        WireMessage::encode(&message, Timestamp::UNIX_EPOCH)
            .decode()
            .unwrap()
    }

    fn kept(&self, stored: StoredResult) -> StoredResult {
        let bytes = result::encode(&stored).unwrap();
        result::decode(&bytes, Timestamp::UNIX_EPOCH).unwrap()
    }

    fn quarantined(
        &self,
        headers: &[u8],
        content_type: &str,
        body: &[u8],
    ) -> (Vec<u8>, String, Vec<u8>) {
        let element = Self::element(headers, content_type, body);
        if Envelope::decode(&element).is_ok() {
            (headers.to_vec(), content_type.to_owned(), body.to_vec())
        } else {
            (element, String::new(), Vec::new())
        }
    }
}
