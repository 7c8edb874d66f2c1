//! Declares queues and exchanges as they must be, and binds them.
//!
//! What is there and was declared otherwise is used as it is. That is remembered, because each
//! declaration of ours that is refused stands in the server's log as an error.

use std::collections::HashSet;

use super::hub::Hub;
use super::intake::lock;
use super::names::{Entity, Lead};
use super::transport::{Channel, Connection, LinkError, code};

/// What is there and not as we would have it, by its name on the server.
#[derive(Debug, Default)]
pub(crate) struct Misfits {
    queues: HashSet<String>,
    /// Those that Celery would give a queue.
    exchanges: HashSet<String>,
}

impl Hub {
    /// Declares a queue with what leads to it, or an exchange with all its queues that are defined.
    pub(crate) async fn declare_on(
        &self,
        connection: &Connection,
        entity: &Entity,
    ) -> Result<(), LinkError> {
        match entity {
            Entity::Exchange(to) => self.declare_exchange(connection, &to.exchange).await,
            queue => self.declare_queue(connection, queue).await,
        }
    }

    /// Declares an exchange of tasks with the queues that are defined for it; one of somebody else's
    /// must be there.
    async fn declare_exchange(
        &self,
        connection: &Connection,
        exchange: &str,
    ) -> Result<(), LinkError> {
        let topology = self.settings.topology.now();
        let name = format!("{}{exchange}", self.settings.prefix);
        let channel = connection.channel().await?;
        let Some(kind) = topology.kind(exchange) else {
            return channel.look_at_exchange(&name).await;
        };
        channel.declare_exchange(&name, kind.as_str(), true).await?;
        let bound: HashSet<_> = topology.bound_to(exchange).map(|it| it.0).collect();
        for queue in bound {
            let definition = topology.queue(queue);
            if definition.is_some_and(|definition| !definition.is_broadcast()) {
                let queue = Entity::Tasks(queue.clone());
                self.declare_queue(connection, &queue).await?;
            }
        }
        Ok(())
    }

    async fn declare_queue(
        &self,
        connection: &Connection,
        entity: &Entity,
    ) -> Result<(), LinkError> {
        let leads = match entity {
            Entity::Tasks(queue) => self.settings.leads_to(queue),
            _ => Vec::new(),
        };
        let leads = self.declare_leads(connection, leads).await?;
        let Some(channel) = self.declare_itself(connection, entity).await? else {
            return Ok(());
        };
        let name = entity.name(&self.settings);
        for lead in leads {
            let binding = channel.bind_queue(&name, &lead.exchange, &lead.routing_key);
            binding.await?;
        }
        Ok(())
    }

    /// Declares a queue, and gives a channel on which it can be bound; none if others declare it.
    async fn declare_itself(
        &self,
        connection: &Connection,
        entity: &Entity,
    ) -> Result<Option<Channel>, LinkError> {
        let Some((flags, arguments)) = entity.declaration(&self.settings) else {
            return Ok(None);
        };
        let name = entity.name(&self.settings);
        // A refusal ends the channel, so each question has its own.
        let mut channel = connection.channel().await?;
        if lock(&self.misfits).queues.contains(&name) {
            match channel.look_at(&name).await {
                Ok(_) => return Ok(Some(channel)),
                Err(error) if error.is_code(code::NOT_FOUND) => {
                    lock(&self.misfits).queues.remove(&name);
                    channel = connection.channel().await?;
                }
                Err(error) => return Err(error),
            }
        }
        match channel.declare_queue(&name, flags, &arguments).await {
            Ok(_) => Ok(Some(channel)),
            Err(LinkError::Refused { code, text }) if code == code::PRECONDITION_FAILED => {
                channel = connection.channel().await?;
                channel.look_at(&name).await?;
                self.tell_of_misfit(name, &text);
                Ok(Some(channel))
            }
            Err(error) => Err(error),
        }
    }

    fn tell_of_misfit(&self, queue: String, reason: &str) {
        tracing::warn!(
            queue,
            reason,
            help = "declare it alike everywhere, or delete it when it is empty",
            "the queue was declared with other arguments, it is used as it is"
        );
        lock(&self.misfits).queues.insert(queue);
    }

    /// Declares the exchanges that lead to a queue, and gives those that are ours to bind to.
    async fn declare_leads(
        &self,
        connection: &Connection,
        mut leads: Vec<Lead>,
    ) -> Result<Vec<Lead>, LinkError> {
        leads.retain(|lead| !lock(&self.misfits).exchanges.contains(&lead.exchange));
        let mut ours = Vec::with_capacity(leads.len());
        for lead in leads {
            let channel = connection.channel().await?;
            let kind = lead.kind.as_str();
            match channel.declare_exchange(&lead.exchange, kind, true).await {
                Ok(()) => ours.push(lead),
                Err(error) if lead.is_own && error.is_code(code::PRECONDITION_FAILED) => {
                    let exchange = lead.exchange;
                    tracing::debug!(exchange, %error, "the queue's exchange is somebody else's");
                    lock(&self.misfits).exchanges.insert(exchange);
                }
                Err(error @ LinkError::Refused { .. }) if lead.is_own => {
                    let exchange = lead.exchange;
                    tracing::debug!(exchange, %error, "the queue's exchange cannot be declared");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(ours)
    }
}
