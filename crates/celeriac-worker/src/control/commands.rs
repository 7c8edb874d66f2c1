//! Which command does what.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::arguments::{Arguments, Refusal, ok};
use super::inspect::report;
use super::{Answer, Control};

/// How long somebody else may take for a command.
const FOREIGN: Duration = Duration::from_secs(60);

impl Control {
    /// Carries out a command and gives the answer; none if there is to be none.
    pub(super) async fn obey(
        &mut self,
        command: &str,
        given: Map<String, Value>,
    ) -> Option<Answer> {
        let command = modern(command);
        let arguments = Arguments::new(command, given);
        if command == "shutdown" {
            self.shut_down();
            return None;
        }
        let text = |name| arguments.get(name).and_then(Value::as_str);
        if command == "hello" && text("from_node") == Some(&*self.node) {
            let stands = self.claim.stands_against(text("instance"));
            return stands.then_some(Answer::Now(Value::Null));
        }
        let done = match command {
            "ping" => Ok(ok("pong")),
            "clock" => Ok(json!({"clock": self.clock.forward()})),
            "active" | "reserved" | "scheduled" | "query_task" | "registered" | "stats"
            | "active_queues" | "revoked" | "hello" => self.inspect(command, &arguments).await,
            "revoke"
            | "terminate"
            | "revoke_by_stamped_headers"
            | "rate_limit"
            | "time_limit"
            | "autoscale"
            | "pool_restart"
            | "pool_grow"
            | "pool_shrink" => self.change(command, &arguments).await,
            "add_consumer" => self.add_consumer(&arguments).await,
            "cancel_consumer" => self.cancel_consumer(&arguments).await,
            "enable_events" => Ok(ok(self.news.enable())),
            "disable_events" => Ok(ok(self.news.disable())),
            "heartbeat" => {
                self.news.beat();
                Ok(Value::Null)
            }
            // A worker that acknowledges an election without taking part in it can end another one.
            "election" => Ok(Value::Null),
            _ => return Some(self.pass_on(command, arguments).await),
        };
        let value = done.unwrap_or_else(|Refusal(value)| value);
        Some(Answer::Now(value))
    }

    /// What is not known here: somebody else may know it.
    async fn pass_on(&self, command: &str, arguments: Arguments) -> Answer {
        let Some(foreign) = self.settings.foreign.clone() else {
            let own = match command {
                "conf" => Ok(self.conf().await),
                "report" => Ok(ok(report())),
                _ => Err(Refusal::exception("KeyError", command)),
            };
            return Answer::Now(own.unwrap_or_else(|Refusal(value)| value));
        };
        let name = command.to_owned();
        Answer::Later(Box::pin(async move {
            let run = foreign.run(name, arguments.into_given());
            match timeout(FOREIGN, run).await {
                Ok(Ok(value)) => value,
                Ok(Err(exception)) => json!({"error": exception}),
                Err(_) => json!({"error": "TimeoutError('the command took too long')"}),
            }
        }))
    }
}

/// Commands by the names that Celery has given them too.
fn modern(command: &str) -> &str {
    match command {
        "dump_active" => "active",
        "dump_reserved" => "reserved",
        "dump_schedule" => "scheduled",
        "dump_tasks" => "registered",
        "dump_revoked" => "revoked",
        "dump_conf" => "conf",
        other => other,
    }
}
