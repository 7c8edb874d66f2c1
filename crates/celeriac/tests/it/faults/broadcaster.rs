//! One who broadcasts to workers what he likes.

use lapin::options::{BasicPublishOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};

use super::ground::{Ground, Kind, publish};

/// The exchange of commands.
pub(super) const PIDBOX: &str = "celery.pidbox";

/// See the module.
pub(super) enum Broadcaster {
    /// With the channel that workers listen to.
    Redis(redis::Connection, String),
    Amqp(Channel),
}

impl Broadcaster {
    pub(super) async fn new(ground: &Ground) -> Self {
        match ground.kind {
            Kind::Redis => Self::Redis(Ground::redis(), ground.key(&format!("/0.{PIDBOX}"))),
            Kind::Amqp => {
                let channel = ground.channel().await;
                let (options, none) = (ExchangeDeclareOptions::default(), FieldTable::default());
                let kind = lapin::ExchangeKind::Fanout;
                // As workers have it, or this fails.
                let declared = channel.exchange_declare(PIDBOX.into(), kind, options, none);
                declared.await.unwrap();
                Self::Amqp(channel)
            }
        }
    }

    /// Sends it bare, and where Redis has an envelope, in one too.
    pub(super) async fn send(&mut self, body: &[u8]) {
        match self {
            Self::Redis(connection, channel) => {
                for payload in [body, &enveloped(body)] {
                    let mut tell = redis::cmd("PUBLISH");
                    let heard: u64 = tell.arg(&*channel).arg(payload).query(connection).unwrap();
                    assert!(heard > 0, "nobody listens");
                }
            }
            Self::Amqp(channel) => {
                for properties in [json(), BasicProperties::default()] {
                    publish(channel, PIDBOX, "", properties, body).await;
                }
            }
        }
    }

    /// Sends commands as fast as the server takes them.
    pub(super) async fn flood(&mut self, commands: &[String]) {
        match self {
            Self::Redis(connection, channel) => {
                let mut tell = redis::pipe();
                for command in commands {
                    let envelope = enveloped(command.as_bytes());
                    tell.publish(&*channel, envelope).ignore();
                }
                let _: () = tell.query(connection).unwrap();
            }
            Self::Amqp(channel) => {
                let mut sent = Vec::with_capacity(commands.len());
                for command in commands {
                    let options = BasicPublishOptions::default();
                    let (to, key) = (PIDBOX.into(), "".into());
                    let confirm =
                        channel.basic_publish(to, key, options, command.as_bytes(), json());
                    sent.push(confirm.await.unwrap());
                }
                for confirm in sent {
                    confirm.await.unwrap();
                }
            }
        }
    }
}

fn json() -> BasicProperties {
    BasicProperties::default().with_content_type("application/json".into())
}

fn enveloped(body: &[u8]) -> Vec<u8> {
    let body = base64_simd::STANDARD.encode_to_string(body);
    format!(
        r#"{{"body": "{body}", "content-type": "application/json", "content-encoding": "utf-8", "headers": {{}}, "properties": {{"body_encoding": "base64", "delivery_tag": "x", "delivery_info": {{"exchange": "{PIDBOX}", "routing_key": ""}}}}}}"#
    )
    .into_bytes()
}
