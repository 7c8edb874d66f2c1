//! What a worker learns from the others at its start: which calls are revoked.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{Address, BrokerError, Bus, Notice, TaskId, Topic};
use celeriac_wire::Clock;
use celeriac_wire::control::{Reply, ReplyTo, Request};
use serde_json::{Map, json};
use tokio::time::timeout;
use tracing::{debug, warn};
use uuid::Uuid;

use super::Control;
use super::inspect::ids_of;
use crate::dispatcher::Operator;

/// How long the others have to answer.
const ANSWER: Duration = Duration::from_secs(1);

/// A worker that asks the others.
struct Newcomer {
    node: String,
    bus: Arc<dyn Bus>,
    clock: Arc<Clock>,
    operator: Operator,
}

impl Control {
    /// Asks the others, and does not wait for them.
    pub(super) fn mingle(&self) {
        let newcomer = Newcomer {
            node: self.node.clone(),
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
            .argument("revoked", json!([]));
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
            let mut namesakes = 0;
            while let Ok(notice) = answers.next().await {
                let before = namesakes;
                namesakes += self.learn(&notice).await;
                // One of them is this worker itself.
                if before < 2 && namesakes >= 2 {
                    self.tell_of_namesake();
                }
            }
        };
        // As many answer as there are, and nobody knows how many that is.
        let _ = timeout(ANSWER, hearing).await;
        Ok(())
    }

    fn tell_of_namesake(&self) {
        let help = "give each worker a name of its own, as `-n NAME@%h` does";
        warn!(
            worker = self.node,
            help,
            "another worker has the same name, and what is asked of it by its name reaches both"
        );
    }

    /// Takes up an answer, and says how many are under this worker's own name.
    async fn learn(&self, notice: &Notice) -> usize {
        let Ok(replies) = Reply::decode(&notice.body) else {
            return 0;
        };
        let namesakes = replies.iter().filter(|reply| reply.node == self.node);
        let namesakes = namesakes.count();
        for reply in replies {
            if let Some(clock) = reply.value.get("clock").and_then(serde_json::Value::as_u64) {
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
        namesakes
    }
}
