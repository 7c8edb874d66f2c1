//! Sends a canvas to a broker, whose workers carry it on.

use std::sync::Arc;

use celeriac_core::canvas::{Encoding, FrozenChain};
use celeriac_core::{ContentType, TaskId};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::lower::{Lowered, Place};
use super::send::lineage;
use crate::Origin;
use crate::app::App;
use crate::broker_client::BrokerClient;
use crate::call::Call;
use crate::error::{Error, Result};
use crate::format::BodyFormat;
use crate::handle::Handle;

/// How calls are encoded for a broker: in JSON, until it is known which of them a message is of.
pub(super) fn encoding(limit_bytes: usize, format: BodyFormat) -> Encoding {
    Encoding {
        content_type: ContentType::Json,
        limit_bytes,
        // JSON, which everybody sends, need not be said.
        serializer: Some(format.serializer).filter(|one| *one != ContentType::Json),
        compression: format.compression,
    }
}

/// Sends chains, as the parts of a group if they are one.
///
/// What may start is stored together; on most brokers whole or not at all.
pub(super) async fn send<V>(
    app: &App,
    broker: &Arc<BrokerClient>,
    chains: Vec<FrozenChain>,
    group: Option<&TaskId>,
) -> Result<Vec<Handle<V>>>
where
    V: DeserializeOwned + Send + 'static,
{
    if chains.iter().any(FrozenChain::has_chord) {
        require_chords(app, broker)?;
    }
    let now = Timestamp::now();
    let reply_to = broker.broker().reply_to().await?;
    let mut lowered = Lowered::new(broker.routes().clone(), reply_to);
    let mut calls = Vec::with_capacity(chains.len());
    for (position, chain) in chains.into_iter().enumerate() {
        let last = chain.last();
        let ignored = last.ignores_result();
        calls.push((
            Call::<V>::elsewhere(last.id.clone()),
            ignored,
            lineage(&chain),
        ));
        let place = group.map(|group| Place::part_of(group, position));
        lowered.add(chain, place.unwrap_or_default(), now)?;
    }
    let origin = Origin::current();
    for (_, message) in &mut lowered.messages {
        origin.mark(message);
    }
    open_chords(broker, &lowered.chords).await?;
    broker.publish_again(lowered.messages, None).await?;
    let handles = calls.into_iter().map(|(call, ignored, lineage)| {
        for id in &lineage.all {
            broker.sent(id);
        }
        let (id, control) = (call.id.clone(), call.control.clone());
        broker.follow(id, call.reply(1), 0, control, ignored);
        Handle::of_canvas(call, Some(broker.clone()), lineage)
    });
    Ok(handles.collect())
}

/// Says how many parts each chord has, before any of them is sent: the last one to be counted must
/// find it.
async fn open_chords(broker: &BrokerClient, chords: &[(TaskId, u64)]) -> Result<()> {
    let Some(store) = broker.chords().filter(|_| !chords.is_empty()) else {
        return Ok(());
    };
    for (group, size) in chords {
        store.open(&group.to_string(), *size).await?;
    }
    Ok(())
}

/// Refuses chords where nothing counts their parts.
fn require_chords(app: &App, broker: &BrokerClient) -> Result<()> {
    match broker.chords() {
        Some(_) => Ok(()),
        None => Err(Error::Chord {
            place: app.place().clone(),
            reason: "its results are not kept where parts of a chord could be counted",
        }),
    }
}
