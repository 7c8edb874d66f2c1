//! A part of the shared RabbitMQ for one test, reached through proxies that can be cut.

use std::sync::{Arc, Mutex};

use celeriac_core::{BoxFuture, Broker, BrokerUrl, Place, QueueName, Topology};
use celeriac_drivers::DriverOptions;
use celeriac_drivers::amqp::{self, AmqpBroker};
use celeriac_testkit::Fixture;
use celeriac_testkit::peers::{Fault, SpareRabbitMq, TcpProxy, amqp_url, unique};
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use serde_json::Value;

/// Queues with a prefix of their own; deleted when this is dropped.
pub(crate) struct Amqp {
    server: String,
    prefix: String,
    options: String,
    opened: Mutex<Vec<(TcpProxy, Arc<AmqpBroker>)>>,
}

pub(crate) async fn connect_classic(_: &str) -> Amqp {
    Amqp::with("&max_priority=9")
}

pub(crate) async fn connect_quorum(_: &str) -> Amqp {
    Amqp::with("&queue_type=quorum")
}

pub(crate) fn url(text: &str) -> BrokerUrl {
    match text.parse().unwrap() {
        Place::Broker(url) => url,
        place => panic!("{place} is no broker"),
    }
}

pub(crate) fn driver_options() -> DriverOptions {
    DriverOptions {
        body_limit_bytes: 1 << 20,
        ..DriverOptions::default()
    }
}

impl Amqp {
    /// With these options in the URL, each after a `&`.
    pub(crate) fn with(options: &str) -> Self {
        Self::on(amqp_url(), options)
    }

    /// The same on the server that one test at a time may disturb.
    pub(crate) fn spare(server: &SpareRabbitMq, options: &str) -> Self {
        Self::on(server.url(), options)
    }

    fn on(server: String, options: &str) -> Self {
        let id = unique("");
        // The first part of an id of ours is the time, so the last is what tells them apart.
        let prefix = format!("t{}-", &id[id.len() - 12..]);
        Self {
            server,
            options: format!(
                "?queue_name_prefix={prefix}&control_exchange={prefix}celery&queue_expires=600\
                 &delayed_queue_type=classic{options}"
            ),
            prefix,
            opened: Mutex::default(),
        }
    }

    /// The URL of this part of the server.
    pub(crate) fn url(&self) -> String {
        format!("{}{}", self.server, self.options)
    }

    /// What the name of every queue begins with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What a queue is called on the server.
    pub(crate) fn full_name(&self, queue: &QueueName) -> String {
        format!("{}{queue}", self.prefix)
    }

    /// A handle, through a proxy of its own.
    pub(crate) async fn handle(&self) -> Arc<AmqpBroker> {
        self.handle_of(Topology::default()).await
    }

    /// A handle of a program that defines these queues.
    async fn handle_of(&self, topology: Topology) -> Arc<AmqpBroker> {
        let (proxy, through) = TcpProxy::before_url(&self.url()).await.unwrap();
        let options = DriverOptions {
            topology: Arc::new(topology),
            ..driver_options()
        };
        let broker = amqp::open(&url(&through), &options).await.unwrap();
        let broker = Arc::new(broker);
        self.opened.lock().unwrap().push((proxy, broker.clone()));
        broker
    }

    /// A client that is none of ours.
    pub(crate) async fn stranger(&self) -> lapin::Channel {
        let uri = format!("{}/%2f", self.server.trim_end_matches('/'));
        let connection = Connection::connect(&uri, ConnectionProperties::default());
        connection.await.unwrap().create_channel().await.unwrap()
    }

    /// A handle with more options, and the network it is reached through.
    pub(crate) async fn handle_with(&self, options: &str) -> Arc<AmqpBroker> {
        let (proxy, through) = TcpProxy::before_url(&self.url()).await.unwrap();
        let through = format!("{through}{options}");
        let broker = amqp::open(&url(&through), &driver_options()).await.unwrap();
        let broker = Arc::new(broker);
        self.opened.lock().unwrap().push((proxy, broker.clone()));
        broker
    }

    /// Lets a fault befall the connections of this handle.
    pub(crate) fn strike_handle(&self, handle: &Arc<AmqpBroker>, fault: Fault) {
        let opened = self.opened.lock().unwrap();
        let found = opened
            .iter()
            .find(|(_, broker)| Arc::ptr_eq(broker, handle));
        found.expect("the handle is one of ours").0.strike(fault);
    }

    /// Ends the faults of this handle.
    pub(crate) fn heal(&self, handle: &Arc<AmqpBroker>) {
        let opened = self.opened.lock().unwrap();
        let found = opened
            .iter()
            .find(|(_, broker)| Arc::ptr_eq(broker, handle));
        found.expect("the handle is one of ours").0.heal();
    }

    /// Lets a fault befall the connections of the handle that has this consumer.
    pub(crate) fn strike(&self, consumer: &str, fault: Fault) {
        let opened = self.opened.lock().unwrap();
        let found = opened.iter().find(|(_, broker)| {
            let here = broker.consumers_here();
            here.iter().any(|name| name == consumer)
        });
        found.expect("the consumer is one of ours").0.strike(fault);
    }
}

impl Drop for Amqp {
    fn drop(&mut self) {
        let opened = std::mem::take(&mut *self.opened.lock().unwrap());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (url, brokers) = (self.url(), opened);
        tokio::task::block_in_place(|| {
            runtime.block_on(async {
                let Ok(cleaner) = amqp::open(&super::fixture::url(&url), &driver_options()).await
                else {
                    return;
                };
                for (_, broker) in &brokers {
                    // What is left of a test that failed expires by itself.
                    let _ = cleaner.delete_what_it_knows(broker).await;
                }
            });
        });
    }
}

impl Fixture for Amqp {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Broker>> {
        Box::pin(async move { self.handle().await as Arc<dyn Broker> })
    }

    fn open_with(&self, topology: Topology) -> BoxFuture<'_, Arc<dyn Broker>> {
        Box::pin(async move { self.handle_of(topology).await as Arc<dyn Broker> })
    }

    fn longest_queue_name(&self) -> usize {
        255 - self.prefix.len()
    }

    fn insert_raw<'a>(
        &'a self,
        queue: &'a QueueName,
        headers: &'a [u8],
        content_type: &'a str,
        body: &'a [u8],
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let headers: Value = serde_json::from_slice(headers).unwrap();
            let AMQPValue::FieldTable(table) = field(&headers) else {
                panic!("headers are a map");
            };
            let properties = BasicProperties::default()
                .with_headers(table)
                .with_content_type(content_type.into());
            let broker = self.handle().await;
            broker.declare(queue).await.unwrap();
            let channel = self.stranger().await;
            channel
                .confirm_select(lapin::options::ConfirmSelectOptions::default())
                .await
                .unwrap();
            channel
                .basic_publish(
                    "".into(),
                    self.full_name(queue).as_str().into(),
                    BasicPublishOptions::default(),
                    body,
                    properties,
                )
                .await
                .unwrap()
                .await
                .unwrap();
        })
    }

    /// A quorum queue may deliver to a subscription that it has ended.
    fn gives_back_exactly(&self) -> bool {
        !self.options.contains("&queue_type=quorum")
    }

    /// AMQP itself refuses what has no headers or is not made like any.
    fn malformed(&self) -> Vec<(Vec<u8>, String, Vec<u8>)> {
        let headers = [
            "{}",
            r#"{"id":"x"}"#,
            r#"{"task":"t"}"#,
            r#"{"id":"x","task":7}"#,
            r#"{"id":[["x"]],"task":"t"}"#,
            r#"{"eta":1795202908,"id":"x","task":"t"}"#,
            r#"{"expires":"soon","id":"x","task":"t"}"#,
            r#"{"id":"x","retries":-1,"task":"t"}"#,
        ];
        let case = |headers: &str| {
            let json = "application/json".to_owned();
            (headers.as_bytes().to_vec(), json, b"[]".to_vec())
        };
        let mut cases: Vec<_> = headers.into_iter().map(case).collect();
        let good = br#"{"id":"x","task":"t"}"#.to_vec();
        cases.push((good, "nobodys".to_owned(), vec![0x80, 4, b'.']));
        cases
    }

    fn kill<'a>(&'a self, consumer: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.strike(consumer, Fault::Cut) })
    }
}

fn field(value: &Value) -> AMQPValue {
    match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(flag) => AMQPValue::Boolean(*flag),
        Value::Number(number) => AMQPValue::LongLongInt(number.as_i64().unwrap()),
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(field).collect();
            AMQPValue::FieldArray(FieldArray::from(items))
        }
        Value::Object(map) => {
            let mut table = FieldTable::default();
            for (name, value) in map {
                table.insert(name.as_str().into(), field(value));
            }
            AMQPValue::FieldTable(table)
        }
    }
}
