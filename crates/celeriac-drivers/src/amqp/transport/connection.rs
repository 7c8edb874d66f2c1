//! One connection to one server.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::ConfirmSelectOptions;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{ConnectionProperties, Event};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Channel, LinkError};
use crate::amqp::settings::Target;

/// How long connecting and logging in may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How long closing politely may take.
const CLOSE: Duration = Duration::from_secs(1);

/// How long the server may take to open a channel.
const OPEN: Duration = Duration::from_secs(10);

/// The largest frame we take, in bytes. The client library keeps room for 64 of them.
const FRAME_BYTES: u32 = 32 * 1024;

/// A connection. Clones share it; it is closed when the last of them and of its channels is gone.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    inner: Arc<lapin::Connection>,
    blocked: watch::Receiver<bool>,
}

impl Connection {
    /// Connects and logs in. `name` is what people read in lists of connections.
    pub(crate) async fn open(
        target: &Target,
        heartbeat_s: u16,
        name: &str,
    ) -> Result<Self, LinkError> {
        let uri = AMQPUri {
            scheme: if target.tls {
                AMQPScheme::AMQPS
            } else {
                AMQPScheme::AMQP
            },
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo {
                    username: target.user.clone(),
                    password: target.password.clone(),
                },
                host: target.host.clone(),
                port: target.port,
            },
            vhost: target.vhost.clone(),
            query: AMQPQueryString {
                frame_max: Some(FRAME_BYTES),
                heartbeat: Some(heartbeat_s),
                ..AMQPQueryString::default()
            },
        };
        let options = ConnectionProperties::default().with_connection_name(name.into());
        let connecting = lapin::Connection::connect_uri(uri, options);
        let connection = timeout(CONNECT, connecting)
            .await
            .map_err(|_| LinkError::TimedOut("the login"))??;
        let mut events = Box::pin(connection.events_listener());
        let (tell, blocked) = watch::channel(false);
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    Event::ConnectionBlocked(reason) => {
                        tracing::warn!(reason, "the server takes no messages for now");
                        tell.send_replace(true);
                    }
                    Event::ConnectionUnblocked => {
                        tell.send_replace(false);
                    }
                    _ => {}
                }
                if tell.is_closed() {
                    return;
                }
            }
        });
        Ok(Self {
            inner: Arc::new(connection),
            blocked,
        })
    }

    /// A new channel.
    pub(crate) async fn channel(&self) -> Result<Channel, LinkError> {
        let opening = self.inner.create_channel();
        let opened = timeout(OPEN, opening)
            .await
            .map_err(|_| LinkError::TimedOut("channel.open"))??;
        Ok(Channel::new(opened))
    }

    /// A new channel on which the server confirms what is published.
    pub(crate) async fn confirming(&self) -> Result<Channel, LinkError> {
        let channel = self.channel().await?;
        let select = channel
            .inner
            .confirm_select(ConfirmSelectOptions::default());
        timeout(OPEN, select)
            .await
            .map_err(|_| LinkError::TimedOut("confirm.select"))??;
        Ok(channel)
    }

    /// Whether it still stands, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        self.inner.status().connected()
    }

    /// Waits until the server takes messages.
    pub(crate) async fn unblocked(&self) {
        let mut blocked = self.blocked.clone();
        // The one that tells ends with the connection, and then nothing is worth waiting for.
        let _ = blocked.wait_for(|blocked| !*blocked).await;
    }

    /// Ends it politely, or in any case after a second.
    pub(crate) async fn close(&self) {
        let _ = timeout(CLOSE, self.inner.close(200, "OK".into())).await;
    }
}
