//! One connection to one server.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::login::login;
use super::method::{self, id};
use super::pump::{Pump, Shared};
use super::switchboard::Switchboard;
use super::{Channel, LinkError, socket};
use crate::amqp::settings::Target;

/// How long connecting and logging in may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How long closing politely may take.
const CLOSE: Duration = Duration::from_secs(1);

/// A connection. Clones share it; it is closed when the last of them and of its channels is gone.
#[derive(Debug, Clone)]
pub(crate) struct Connection(pub(super) Arc<Handle>);

/// What clones and channels share; its drop ends the connection.
#[derive(Debug)]
pub(super) struct Handle(pub(super) Arc<Shared>);

impl Handle {
    /// Says that we go, and leaves it to the pump to wait for the answer.
    fn close(&self) {
        let mut switchboard = self.0.switchboard();
        if switchboard.check().is_ok() {
            method::put_close(&mut switchboard.outgoing.bytes, 0, id::CLOSE);
            drop(switchboard);
            self.0.end_within(CLOSE);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

impl Connection {
    /// Connects and logs in. `name` is what people read in lists of connections.
    pub(crate) async fn open(
        target: &Target,
        heartbeat_s: u16,
        name: &str,
    ) -> Result<Self, LinkError> {
        let connecting = async {
            let mut socket = socket::open(target).await?;
            let agreed = login(&mut socket, target, heartbeat_s, name).await?;
            Ok::<_, LinkError>((socket, agreed))
        };
        let connected = timeout(CONNECT, connecting).await;
        let (socket, agreed) = connected.map_err(|_| LinkError::TimedOut("the login"))??;
        let switchboard = Switchboard::new(agreed.channels, agreed.frame_bytes);
        let shared = Arc::new(Shared::new(switchboard));
        tokio::spawn(Pump::new(shared.clone(), socket, agreed).run());
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// A new channel.
    pub(crate) async fn channel(&self) -> Result<Channel, LinkError> {
        Channel::open(self.0.clone()).await
    }

    /// A new channel on which the server confirms what is published.
    pub(crate) async fn confirming(&self) -> Result<Channel, LinkError> {
        let channel = self.channel().await?;
        channel.confirm().await?;
        Ok(channel)
    }

    /// Whether it still stands, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        self.0.0.switchboard().check().is_ok()
    }

    /// Waits until the server takes messages.
    pub(crate) async fn unblocked(&self) {
        let shared = &self.0.0;
        let (mut blocked, mut over) = (shared.blocked.subscribe(), shared.over.subscribe());
        // Of a connection that has ended nothing is worth waiting for.
        tokio::select! {
            biased;
            _ = blocked.wait_for(|blocked| !*blocked) => {}
            _ = over.wait_for(|over| *over) => {}
        }
    }

    /// Ends it politely, or in any case after a second.
    pub(crate) async fn close(&self) {
        self.0.close();
        let mut over = self.0.0.over.subscribe();
        let _ = timeout(CLOSE * 2, over.wait_for(|over| *over)).await;
    }
}
