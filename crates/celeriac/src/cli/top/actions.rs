//! What an operator wants done, done.

use std::time::Duration;

use celeriac_core::TaskId;
use celeriac_wire::control::{Audience, Request};
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;

use super::Site;
use super::fleet::News;
use super::screen::Action;
use crate::cli::remote::ask;

/// How long answers are waited for.
const ANSWER: Duration = Duration::from_secs(1);

/// Does it, and tells what came of it.
pub(super) async fn carry_out(action: Action, site: Site, tell: Sender<News>) {
    let done = attempt(&action, &site).await;
    let said = match done {
        Ok(said) => format!("{action}: {said}"),
        Err(error) => format!("{action}: {error}"),
    };
    // It has been left meanwhile.
    let _ = tell.send(News::Said(said)).await;
}

async fn attempt(action: &Action, site: &Site) -> Result<String, String> {
    let request = match action {
        Action::Retry(number) => {
            let retried = site.broker.retry_dead(&[*number]).await;
            let retried = retried.map_err(|error| error.to_string())?;
            return Ok(format!("{retried} sent again"));
        }
        Action::Revoke(id) if site.bus.is_none() => {
            let revoked = site.broker.revoke(&[TaskId::from(id.as_str())]).await;
            return revoked
                .map(|()| "revoked".to_owned())
                .map_err(|error| error.to_string());
        }
        Action::Revoke(id) => Request::new("revoke").argument("task_id", json!([id])),
        Action::Terminate(id) => Request::new("terminate")
            .argument("task_id", json!([id]))
            .argument("signal", "SIGTERM"),
        Action::Pause(queue) => Request::new("cancel_consumer").argument("queue", queue.as_str()),
        Action::Resume(queue) => Request::new("add_consumer").argument("queue", queue.as_str()),
        Action::Limit(task, rate) => Request::new("rate_limit")
            .argument("task_name", task.as_str())
            .argument("rate_limit", rate.as_str()),
        Action::Stop(worker) => Request::new("shutdown").to(Audience::Nodes(vec![worker.clone()])),
    };
    let Some(bus) = &site.bus else {
        return Err("this broker has no remote control; Redis and RabbitMQ have".to_owned());
    };
    let replies = ask(&**bus, request, ANSWER, None).await;
    let replies = replies.map_err(|error| error.to_string())?;
    if matches!(action, Action::Stop(_)) {
        return Ok("told".to_owned());
    }
    let said: Vec<_> = replies
        .iter()
        .map(|reply| format!("{} {}", reply.node, brief(&reply.value)))
        .collect();
    if said.is_empty() {
        return Err("no worker answered".to_owned());
    }
    Ok(said.join("; "))
}

/// An answer in a few words.
fn brief(value: &Value) -> String {
    let said = value
        .get("ok")
        .or_else(|| value.get("error"))
        .unwrap_or(value);
    said.as_str()
        .map_or_else(|| said.to_string(), str::to_owned)
}
