//! Calls that run longer than the server lets a delivery be unacknowledged.
//!
//! RabbitMQ closes a channel whose delivery is unsettled for half an hour, and delivers it again:
//! the call would run twice. From 3.12 on a consumer can ask for more time, and ours do. For older
//! servers a long call's message is moved, well before that time, to a queue that only its own
//! consumer takes from, which starts the time anew. Messages do not get old there while they are
//! held; the moment the consumer dies they are, and the server puts them back where they came from.
//!
//! A copy is published before the first is acknowledged, so no instant is without one. The call
//! goes on; at its end the copy is acknowledged.

use std::time::Duration;

use serde_json::{Map, Value};

use super::codec;
use super::hub::Letter;
use super::names::{Entity, milliseconds};
use super::session::{Session, Source};
use super::settings::Settings;
use super::transport::{Consume, Incoming, LinkError};

/// How much time our consumers ask for, from servers that grant it.
const ASKED: Duration = Duration::from_secs(10 * 24 * 60 * 60);

/// What a consumer asks for.
pub(crate) fn consumer_arguments() -> Map<String, Value> {
    Map::from_iter([("x-consumer-timeout".to_owned(), milliseconds(ASKED).into())])
}

/// How often long calls are looked for.
pub(crate) fn interval(settings: &Settings) -> Duration {
    settings.consumer_timeout / 8
}

impl Session {
    /// Moves what has been held for half the time that the server allows.
    pub(super) async fn keep_what_is_long(&mut self) -> Result<(), LinkError> {
        let limit = self.intake.hub.settings.consumer_timeout / 2;
        let mut letters = Vec::new();
        let mut queues = Vec::new();
        {
            let shelf = self.intake.shelf();
            for tag in shelf.handed_tags() {
                let Some(handed) = shelf.handed(tag).filter(|it| it.since.elapsed() >= limit)
                else {
                    continue;
                };
                let name = shelf.queue(handed.queue).clone();
                // If it ever leaves that queue by itself, its holder has died with it.
                let kept = codec::with_count(&handed.raw.properties, handed.deliveries)
                    .and_then(|properties| codec::with_keeping(properties, tag));
                if let Ok(properties) = kept {
                    queues.push(handed.queue);
                    letters.push(Letter {
                        to: Entity::Kept(name, self.intake.id.clone()),
                        properties,
                        body: handed.raw.body.clone(),
                    });
                }
            }
        }
        for queue in queues {
            self.listen_to_kept(queue).await?;
        }
        if let Err(error) = self.intake.hub.send(letters).await {
            // There is time for some more tries.
            tracing::warn!(%error, "long calls cannot be kept, will try again");
        }
        Ok(())
    }

    async fn listen_to_kept(&mut self, queue: usize) -> Result<(), LinkError> {
        if !self.kept.insert(queue) {
            return Ok(());
        }
        let settings = &self.intake.hub.settings;
        let name = self.intake.shelf().queue(queue).clone();
        let entity = Entity::Kept(name, self.intake.id.clone());
        self.intake
            .hub
            .declare_on(&self.connection, &entity)
            .await?;
        let name = entity.name(settings);
        let tag = format!("celeriac-kept-{queue}");
        let stream = self
            .channel
            .consume(&name, &tag, 0, Consume::default(), &consumer_arguments())
            .await?;
        self.listen(Source::Kept(queue), stream);
        Ok(())
    }

    /// A copy of a long call's message has arrived: it stands for the call from now on.
    pub(super) fn kept_again(&self, incoming: &Incoming) {
        let mut shelf = self.intake.shelf();
        shelf.arrived(incoming.tag);
        let renumbered =
            codec::kept(&incoming.properties).and_then(|tag| shelf.renumber(tag, incoming.tag));
        drop(shelf);
        // The one it stands for; or itself, if the call ended meanwhile.
        let done = renumbered.unwrap_or(incoming.tag);
        self.intake.acknowledge(vec![done]);
    }
}
