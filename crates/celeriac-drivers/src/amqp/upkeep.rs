//! What a consumer needs to be there, declared when it begins and then again and again.
//!
//! The server tells nobody of a binding that was deleted: what is published meanwhile is lost, unless
//! its sender asked to be told. So it is made anew every so often, which changes nothing if it stands.

use std::sync::Arc;

use super::failure;
use super::intake::{Intake, jittered};
use super::names::Entity;
use super::transport::{Channel, Connection, LinkError};

/// Declares the queues of a consumer, and binds them.
pub(super) async fn declare_queues(
    intake: &Intake,
    connection: &Connection,
) -> Result<(), LinkError> {
    let queues = intake.shelf().lanes.names();
    for queue in queues {
        let entity = Entity::Tasks(queue);
        intake.hub.declare_on(connection, &entity).await?;
    }
    Ok(())
}

/// Binds the queue by which a consumer hears what is broadcast to all.
pub(super) async fn bind_control(intake: &Intake, channel: &Channel) -> Result<(), LinkError> {
    let settings = &intake.hub.settings;
    let own = settings.own_control(&intake.id);
    for exchange in [settings.pidbox(), settings.control()] {
        channel.declare_exchange(&exchange, "fanout", false).await?;
        channel.bind_queue(&own, &exchange, "").await?;
    }
    Ok(())
}

/// Does both every `declare_interval`, for as long as the connection lasts.
pub(super) async fn run(intake: Arc<Intake>, connection: Connection) {
    let interval = intake.hub.settings.declare_interval;
    let mut told = None;
    loop {
        // Those that were started together do not declare together.
        tokio::time::sleep(interval / 2 + jittered(interval / 2)).await;
        let declaring = async {
            declare_queues(&intake, &connection).await?;
            bind_control(&intake, &connection.channel().await?).await
        };
        match declaring.await {
            Ok(()) => told = None,
            Err(_) if !connection.is_open() => return,
            Err(error) => {
                let error = failure::at(&intake.hub.address(), error);
                let text = error.to_string();
                // Told once, for it is tried every moment.
                if told.as_ref() != Some(&text) {
                    let help = error.help();
                    tracing::warn!(%error, help, "queues cannot be declared and bound again, will try again");
                    told = Some(text);
                }
            }
        }
    }
}
