//! What a worker learns from the others at its start: which calls are revoked, and whether its name is
//! taken.

use std::error::Error;
use std::sync::Arc;

use celeriac_core::{Address, BrokerError, Bus, Notice, TaskId, Topic};
use celeriac_wire::Clock;
use celeriac_wire::control::{Audience, Reply, ReplyTo, Request};
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use tracing::debug;
use uuid::Uuid;

use super::Control;
use super::claim::{CONTESTED, Claim};
use super::inspect::ids_of;
use crate::dispatcher::Operator;

/// A worker that asks the others.
struct Newcomer {
    node: String,
    claim: Claim,
    /// Those who may have its name, or all.
    audience: Audience,
    bus: Arc<dyn Bus>,
    clock: Arc<Clock>,
    operator: Operator,
}

impl Control {
    /// Asks the others, if it is to, and does not wait for them.
    pub(super) fn mingle(&self) {
        let audience = match (self.settings.mingle, self.settings.shares_name) {
            (true, _) => Audience::All,
            (false, false) => Audience::Nodes(vec![self.node.clone()]),
            (false, true) => return,
        };
        let newcomer = Newcomer {
            node: self.node.clone(),
            claim: self.claim.clone(),
            audience,
            bus: self.bus.clone(),
            clock: self.clock.clone(),
            operator: self.operator.clone(),
        };
        tokio::spawn(async move {
            if let Err(error) = newcomer.ask().await {
                debug!(
                    error = &error as &dyn Error,
                    "the other workers were not asked"
                );
            }
        });
    }
}

impl Newcomer {
    async fn ask(self) -> Result<(), BrokerError> {
        let key = Uuid::new_v4().to_string();
        let mut answers = self.bus.listen(Topic::Answers(key.clone())).await?;
        let mut hello = Request::new("hello")
            .argument("from_node", self.node.as_str())
            .argument("revoked", json!([]))
            .argument("instance", self.claim.instance())
            .to(self.audience.clone());
        hello.ticket = Some(key.clone());
        hello.reply_to = Some(ReplyTo {
            exchange: self.bus.answers(),
            routing_key: key,
        });
        let headers = Map::from_iter([
            ("clock".to_owned(), json!(self.clock.forward())),
            ("expires".to_owned(), json!(0)),
        ]);
        let notice = Notice::json(headers, hello.encode());
        self.bus.send(Address::Workers, notice).await?;
        let hearing = async {
            let mut denied = false;
            while let Ok(notice) = answers.next().await {
                // A worker does not answer itself.
                if self.learn(&notice).await && !denied {
                    denied = true;
                    self.claim.is_denied();
                }
            }
        };
        // As many answer as there are, and nobody knows how many that is.
        let _ = timeout(CONTESTED, hearing).await;
        Ok(())
    }

    /// Takes up an answer, and says whether it came from under this worker's own name.
    async fn learn(&self, notice: &Notice) -> bool {
        let Ok(replies) = Reply::decode(&notice.body) else {
            return false;
        };
        let denied = replies.iter().any(|reply| reply.node == self.node);
        for reply in replies {
            if let Some(clock) = reply.value.get("clock").and_then(Value::as_u64) {
                self.clock.adjust(clock);
            }
            let ids: Vec<TaskId> = ids_of(reply.value.get("revoked"));
            if !ids.is_empty() {
                let learnt = self
                    .operator
                    .ask(move |dispatcher| dispatcher.revoke_calls(&ids, None));
                learnt.await;
            }
        }
        denied
    }
}
